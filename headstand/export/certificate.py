"""Parity certificate of an export: the record in the bundle, in NAME.parity.json and on the model card."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstand.export.candidates import ConvertedModel, ParityResult, figures
from headstand.export.latency import Latency
from headstand.export.parity import Parity
from headstand.export.photo_samples import ParitySamples
from headstand.export.trained import TrainedModel
from headstand.serve.bundle import FAILED, PASSED

_RENAMED = {"asked": "required", "unseen": "before_refit"}
"""Keys of earlier versions, as in the certificates under `models/`, with their present names."""


def certificate(
    trained: TrainedModel,
    candidate: ConvertedModel,
    samples: ParitySamples,
    result: ParityResult,
    before_refit: ParityResult | None = None,
    warnings: Sequence[str] = (),
    confidence: dict[str, Any] | None = None,
    known: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the certificate that goes into the bundle.

    It contains nothing machine-specific, so that the same model always gives the same bytes.

    Args:
        trained: the model that was converted.
        candidate: its conversion.
        samples: the photos of the comparison.
        result: the comparison on `samples.certifying`.
        before_refit: the same comparison for the model from before a refit, which was not trained on those photos.
        warnings: warnings about the accuracy on those photos.
        confidence: the served file's confidence threshold and its guarantee; None without a threshold.
        known: the served file's threshold for unknown inputs, and the shares that it accepts; None without a detector.
    """
    unmet_before = before_refit.criteria.unmet if before_refit else ()
    unmet = [*result.criteria.unmet, *(f"before the refit: {each}" for each in unmet_before)]
    return {
        "verdict": FAILED if unmet else PASSED,
        "format": candidate.kind,
        "required": result.criteria.required,
        "missing": unmet,
        "warnings": list(warnings),
        "photos": samples.certifying.name,
        "seen_in_training": samples.trained_on_certifying,
        **_figures(result.parity),
        "before_refit": _figures(before_refit.parity) if before_refit else None,
        "confidence": confidence,
        "known": known,
        "checkpoint": trained.digest,
        "model": hashlib.sha256(candidate.flatbuffer).hexdigest(),
    }


def _figures(parity: Parity) -> dict[str, Any]:
    accuracy = parity.accuracy
    return {
        "count": parity.count,
        "agreement": parity.agreement,
        "largest_difference": parity.largest_difference,
        "mean_difference": parity.mean_difference,
        "accuracy": accuracy
        and {
            "trained": accuracy.trained,
            "served": accuracy.served,
            "lost": accuracy.lost / parity.count,
            "interval": list(accuracy.interval),
        },
        "detection": parity.detection and asdict(parity.detection),
    }


def read_certificate(path: Path) -> dict[str, Any]:
    """Returns the content of a NAME.parity.json, also of one that an earlier version wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON.
    """
    return {_RENAMED.get(key, key): value for key, value in json.loads(path.read_text(encoding="utf-8")).items()}


def whole(
    record: dict[str, Any],
    bundle: bytes,
    latency: tuple[Latency, Latency],
    parity: Parity,
    candidates: Sequence[ConvertedModel],
    chosen_on: str,
    versions: dict[str, str],
) -> dict[str, Any]:
    """Returns the content of NAME.parity.json: the certificate plus machine- and file-specific figures.

    Args:
        record: the certificate in the bundle.
        bundle: the bundle's bytes.
        latency: median latencies on one thread and on two.
        parity: source of the photos with the largest differences.
        candidates: the candidates of the format choice.
        chosen_on: name of the sample that the format was chosen on.
        versions: versions of the packages used.
    """
    return {
        **record,
        "bundle": hashlib.sha256(bundle).hexdigest(),
        "bytes": len(bundle),
        "milliseconds": {"1 thread": round(latency[0].milliseconds, 3), "2 threads": round(latency[1].milliseconds, 3)},
        "worst": [{"photo": photo, "difference": difference} for photo, difference in parity.worst],
        "disagreeing": [asdict(each) for each in parity.disagreeing],
        "choice": {"photos": chosen_on, "candidates": [figures(each) for each in candidates]},
        "versions": versions,
    }
