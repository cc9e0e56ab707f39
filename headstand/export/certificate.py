"""What an export was measured to do, as a record: inside the bundle, in NAME.parity.json, on the model's card."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from headstand.export.candidates import Candidate, Judged, record
from headstand.export.evidence import Evidence
from headstand.export.latency import Latency
from headstand.export.parity import Parity
from headstand.export.trained import Trained
from headstand.serve.bundle import FAILED, PASSED


def certificate(
    trained: Trained,
    candidate: Candidate,
    evidence: Evidence,
    judged: Judged,
    unseen: Judged | None = None,
    warnings: Sequence[str] = (),
    confidence: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The certificate as it goes into the bundle.

    It has nothing that belongs to one machine, so that the same model always gives the same bytes.

    Args:
        trained: the model that was converted.
        candidate: what became of it.
        evidence: the photos.
        judged: how it compares on `evidence.certifying`.
        unseen: the same of a twin that has not seen those photos.
        warnings: what the accuracy on those photos gives reason to doubt.
        confidence: what the confidence threshold of the served file guarantees; None if there is no threshold.
    """
    missing = [*judged.gate.missing, *(f"unseen: {each}" for each in (unseen.gate.missing if unseen else ()))]
    return {
        "verdict": FAILED if missing else PASSED,
        "format": candidate.kind,
        "made": candidate.made,
        "asked": judged.gate.asked,
        "missing": missing,
        "warnings": list(warnings),
        "photos": evidence.certifying.name,
        "seen_in_training": evidence.seen,
        **_figures(judged.parity),
        "unseen": _figures(unseen.parity) if unseen else None,
        "confidence": confidence,
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
    }


def whole(
    certified: dict[str, Any],
    bundle: bytes,
    latency: tuple[Latency, Latency],
    parity: Parity,
    tried: Sequence[Candidate],
    chosen_on: str,
    versions: dict[str, str],
) -> dict[str, Any]:
    """NAME.parity.json: the certificate, and what belongs to this machine and these files.

    Args:
        certified: the certificate in the bundle.
        bundle: the file's bytes.
        latency: its medians on one thread and on two.
        parity: names the photos that are furthest off.
        tried: the candidates that it was chosen from; empty where there was no choice.
        chosen_on: name of the photos that it was chosen by.
        versions: of the packages that made it.
    """
    return {
        **certified,
        "bundle": hashlib.sha256(bundle).hexdigest(),
        "bytes": len(bundle),
        "milliseconds": {"1 thread": round(latency[0].milliseconds, 3), "2 threads": round(latency[1].milliseconds, 3)},
        "worst": [{"photo": photo, "difference": difference} for photo, difference in parity.worst],
        "disagreeing": [asdict(each) for each in parity.disagreeing],
        "choice": {"photos": chosen_on, "candidates": [record(each) for each in tried]} if tried else None,
        "versions": versions,
    }
