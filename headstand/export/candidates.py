"""Converts a trained model to one or all formats and compares each conversion with the trained model."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from headstand.export import bundle, convert, metadata
from headstand.export.acceptance import FORMATS, AcceptanceCriteria, judge
from headstand.export.convert import ConversionError
from headstand.export.latency import Latency, latencies
from headstand.export.parity import Parity, answers, compared, outputs
from headstand.export.photo_samples import ParitySamples, PhotoSample
from headstand.export.quantize import REMEDIES, QuantizationVariant, calibration, int8
from headstand.export.trained import TrainedModel
from headstand.features import compiled
from headstand.quiet import quiet
from headstand.serve.bundle import LABELS
from headstand.serve.classifier import Classifier

BEST = "best"
"""Value of `kind` that selects the fastest format that passes the acceptance criteria."""

LEVEL = 1.05
"""Ratio up to which two latencies count as equal."""

Tell = Callable[[str], None]
Clock = Callable[[Sequence[bytes], int], Sequence[Latency]]


@dataclass(frozen=True)
class ParityResult:
    """Comparison of a converted model with the trained one, and the acceptance criteria applied.

    `outputs`, `float [N, classes]`, are the converted model's probabilities.
    """

    parity: Parity
    gate: AcceptanceCriteria
    outputs: np.ndarray = field(compare=False, repr=False)


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model.

    Attributes:
        kind: one of `headstand.export.acceptance.FORMATS`.
        remedy: quantization variant; None for all formats but int8.
        flatbuffer: the `.tflite` bytes.
        judged: comparison on `ParitySamples.choosing`; None if there was nothing to choose.
        latency: median latencies on one thread and on two; None if not measured.
    """

    kind: str
    remedy: QuantizationVariant | None
    flatbuffer: bytes
    judged: ParityResult | None = None
    latency: tuple[Latency, Latency] | None = None

    @property
    def made(self) -> str:
        """Name of the quantization variant; "converted" for formats without one."""
        return self.remedy.name if self.remedy else "converted"

    @property
    def passed(self) -> bool:
        return self.judged is None or self.judged.gate.passed


class ConversionTrials:
    """Converts one trained model and compares the conversions with it."""

    def __init__(self, trained: TrainedModel, evidence: ParitySamples, representative: int, tell: Tell) -> None:
        """Compiles the trained model and stores what all conversions share.

        Args:
            trained: the model.
            evidence: photos for calibration and comparison.
            representative: largest number of photos for the quantization ranges.
            tell: called with one progress line per step.
        """
        self.trained, self.evidence = trained, evidence
        self._representative, self._tell = representative, tell
        call = compiled(trained.model)
        self._call: Callable[[np.ndarray], np.ndarray] = lambda pixels: np.asarray(call(tf.constant(pixels)))
        self._known: dict[str, np.ndarray] = {}
        self._pixels: np.ndarray | None = None

    def make(self, kind: str) -> list[ConvertedModel]:
        """Returns the conversions to one format, or to all formats for "best".

        If there is a choice of formats or quantization variants, each conversion is compared with the trained model on
        `evidence.choosing`. Quantization variants are tried in order until one passes.

        Raises:
            ConversionError: the model cannot be converted, or the format does not suit the model's input.
        """
        photos = self.trained.input.kind == "photos"
        formats = FORMATS if photos else tuple(one for one in FORMATS if one != "int8")
        if kind not in (BEST, *formats):
            raise ConversionError(
                f"{kind} takes pixels of 8 bits, and {self.trained.name} takes {self.trained.input.kind}: give another "
                f"--format ({', '.join(formats)} or {BEST})"
            )
        if kind not in (BEST, "int8"):
            return [self.convert(kind)]
        made = []
        for one in formats if kind == BEST else (kind,):
            for remedy in REMEDIES if one == "int8" else (None,):
                candidate = self.convert(one, remedy)
                judged = self.judged(candidate, self.evidence.choosing)
                made.append(replace(candidate, judged=judged))
                verdict = "passes" if judged.gate.passed else "; ".join(judged.gate.missing)
                self._tell(f"{'':10} on {judged.parity.count} {self.evidence.choosing.name} photos: {verdict}")
                if judged.gate.passed:
                    break
        return made

    def convert(self, kind: str, remedy: QuantizationVariant | None = None) -> ConvertedModel:
        """Returns the conversion to one format.

        Args:
            kind: one of `headstand.export.acceptance.FORMATS`.
            remedy: quantization variant for int8; None for all other formats.

        Raises:
            ConversionError: the model cannot be converted.
        """
        model, start = self.trained.model, time.perf_counter()
        if remedy:
            flatbuffer = int8(model, self._calibration(), remedy)
        else:
            flatbuffer = {"float32": convert.float32, "float16": convert.float16, "dynamic": convert.dynamic}[kind](
                model
            )
        made = ConvertedModel(
            kind, remedy, metadata.describe(flatbuffer, self.trained.name, LABELS, self.trained.input)
        )
        self._tell(f"{kind:10} {made.made}, {len(made.flatbuffer) / 1e6:.1f} MB in {time.perf_counter() - start:.0f} s")
        return made

    def answers(self, sample: PhotoSample) -> np.ndarray:
        """Returns the trained model's probabilities for a sample, `float [N, classes]`, computed once and cached.

        Raises:
            ParityError: a photo is missing or damaged.
        """
        expected = self._known.get(sample.name)
        if expected is None:
            expected = answers(self._call, sample, self.trained.input, len(self.trained.labels))
            self._known[sample.name] = expected
        return expected

    def judged(self, candidate: ConvertedModel, sample: PhotoSample) -> ParityResult:
        """Returns the comparison of a converted model with the trained one, both run from the encoded photo files.

        Raises:
            HeadstandError: a photo is missing or damaged, or the converted model cannot be run.
        """
        expected = self.answers(sample)
        given = self.outputs(candidate, sample)
        parity = compared(expected, given, sample, self.trained.labels)
        return ParityResult(parity, judge(candidate.kind, parity), given)

    def outputs(self, candidate: ConvertedModel, sample: PhotoSample) -> np.ndarray:
        """Returns a converted model's probabilities `float [N, classes]` for a sample, computed from the photo files.

        Raises:
            HeadstandError: a photo is missing or damaged, or the converted model cannot be run.
        """
        record = {"name": self.trained.name, "input": {"kind": self.trained.input.kind, "size": self.trained.size}}
        data = bundle.pack(candidate.flatbuffer, self.trained.labels, record)
        with tempfile.TemporaryDirectory() as folder:
            # The comparison reads a real file with the services' own code.
            trial = bundle.write(Path(folder) / "trial.tflite", data)
            with quiet():  # LiteRT logs the delegate it creates
                served = Classifier(trial)
            return outputs(served, sample, self.trained.labels)

    def _calibration(self) -> np.ndarray:
        if self._pixels is None:
            self._pixels = calibration(self.evidence.calibration, self.trained.size, self._representative)
        return self._pixels


def timed(candidates: Sequence[ConvertedModel], clock: Clock = latencies) -> list[ConvertedModel]:
    """Returns the candidates with their latencies, which are measured in alternation."""
    flatbuffers = [each.flatbuffer for each in candidates]
    pairs = zip(clock(flatbuffers, 1), clock(flatbuffers, 2), strict=True)
    return [replace(each, latency=pair) for each, pair in zip(candidates, pairs, strict=True)]


def fastest(candidates: Sequence[ConvertedModel]) -> ConvertedModel | None:
    """Returns the passing candidate that is fastest on one thread; the smallest of those within `LEVEL` of it.

    Returns None if no candidate passes.
    """
    passing = [(each, each.latency[0].milliseconds) for each in candidates if each.passed and each.latency]
    if not passing:
        return None
    limit = min(time for _, time in passing) * LEVEL
    return min((each for each, time in passing if time <= limit), key=lambda each: len(each.flatbuffer))


def record(candidate: ConvertedModel) -> dict[str, Any]:
    """Returns a candidate's figures as a JSON-compatible record for NAME.parity.json."""
    parity = candidate.judged.parity if candidate.judged else None
    accuracy = parity.accuracy if parity else None
    return {
        "format": candidate.kind,
        "made": candidate.made,
        "bytes": len(candidate.flatbuffer),
        "milliseconds": [round(each.milliseconds, 3) for each in candidate.latency] if candidate.latency else None,
        "agreement": parity.agreement if parity else None,
        "largest_difference": parity.largest_difference if parity else None,
        "accuracy": accuracy.served if accuracy else None,
        "lost": accuracy.lost if accuracy else None,
        "missing": list(candidate.judged.gate.missing) if candidate.judged else [],
    }


def table(candidates: Sequence[ConvertedModel]) -> list[str]:
    """Returns the candidates as lines of a text table, with a header."""
    return [f"{'format':10}{'MB':>6}{'1 thread':>11}{'2 threads':>11}{'agree':>9}{'accuracy':>10}{'lost':>6}"] + [
        _line(candidate) for candidate in candidates
    ]


def _line(candidate: ConvertedModel) -> str:
    shown = record(candidate)
    times = [f"{each:.2f} ms" for each in shown["milliseconds"] or ()] or ["", ""]
    cells = [
        f"{candidate.kind:10}{shown['bytes'] / 1e6:6.1f}{times[0]:>11}{times[1]:>11}",
        "" if shown["agreement"] is None else f"{shown['agreement']:9.2%}",
        "" if shown["accuracy"] is None else f"{shown['accuracy']:10.4f}{shown['lost']:6d}",
    ]
    words = candidate.made if candidate.passed else f"{candidate.made}; FAILS: {'; '.join(shown['missing'])}"
    return "".join(cells) + "  " + words
