"""Converts a trained model to one or all formats and compares each conversion with the trained model."""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from headstand import files
from headstand.evaluation import unknown_inputs
from headstand.export import bundle_writer, joining, onnx_file, tflite_conversion
from headstand.export.acceptance import AcceptanceCriteria, check
from headstand.export.latency import Clock, Latency, latencies
from headstand.export.parity import Parity, compare, served_outputs, trained_outputs
from headstand.export.photo_samples import ParitySamples, PhotoSample
from headstand.export.quantize import calibration, int8
from headstand.export.tflite_conversion import ConversionError
from headstand.export.trained import TrainedModel
from headstand.export_formats import BEST, FORMATS, ONNX
from headstand.features import compiled
from headstand.quiet import quiet
from headstand.serve.bundle import LABELS
from headstand.serve.classifier import Classifier

LEVEL = 1.05
"""Ratio up to which two latencies count as equal."""

Log = Callable[[str], None]
"""Function that receives one line of progress."""


@dataclass(frozen=True)
class ParityResult:
    """Comparison of a converted model with the trained one, and the acceptance criteria applied.

    `outputs`, `float [N, columns]`, are those of `ConversionTrials.outputs`.
    """

    parity: Parity
    criteria: AcceptanceCriteria
    outputs: np.ndarray = field(compare=False, repr=False)


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model.

    Attributes:
        kind: one of `FORMATS`, or `ONNX`.
        flatbuffer: the `.tflite` bytes, or those of an ONNX model.
        result: comparison on `ParitySamples.choosing`; None if it was not compared.
        latency: median latencies on one thread and on two; None if not measured.
    """

    kind: str
    flatbuffer: bytes
    result: ParityResult | None = None
    latency: tuple[Latency, Latency] | None = None

    @property
    def passed(self) -> bool:
        return self.result is None or self.result.criteria.passed


class ConversionTrials:
    """Converts one trained model and compares the conversions with it."""

    def __init__(self, trained: TrainedModel, samples: ParitySamples, representative: int, log: Log) -> None:
        """Compiles the trained model and stores what all conversions share.

        Args:
            trained: the model.
            samples: photos for calibration and comparison.
            representative: largest number of photos for the quantization ranges.
            log: called with one line of progress per step.
        """
        self.trained, self.samples = trained, samples
        self._representative, self._log = representative, log
        self._model, output = trained.model, trained.model.output
        self._score: keras.Model | None = None
        if trained.detector:
            self._model, self._score = unknown_inputs.with_features(trained.model), trained.detector.network()
            probabilities, features = self._model.outputs
            output = keras.layers.Concatenate()([probabilities, self._score(features)])
        call = compiled(keras.Model(self._model.input, output))
        self._call: Callable[[np.ndarray], np.ndarray] = lambda pixels: np.asarray(call(tf.constant(pixels)))
        self._expected: dict[str, np.ndarray] = {}
        self._pixels: np.ndarray | None = None

    def candidates(self, kind: str) -> list[ConvertedModel]:
        """Returns the conversions to one format, or to all formats for "best".

        Each conversion is compared with the trained model on `samples.choosing`.

        Raises:
            ConversionError: the model cannot be converted, or the format does not suit the model's input.
        """
        taken = self.trained.input.kind
        formats = FORMATS if taken == "photos" else tuple(one for one in FORMATS if one != "int8")
        if kind not in (BEST, ONNX, *formats):
            raise ConversionError(
                f"{kind} takes pixels of 8 bits, and {self.trained.about.name} takes {taken}: choose another "
                f"--format ({', '.join(formats)}, {ONNX} or {BEST})"
            )
        found = []
        for one in formats if kind == BEST else (kind,):
            candidate = self.convert(one)
            result = self.compare(candidate, self.samples.choosing)
            found.append(replace(candidate, result=result))
            verdict = "passes" if result.criteria.passed else "; ".join(result.criteria.unmet)
            self._log(f"{'':10} on {result.parity.count} {self.samples.choosing.name} photos: {verdict}")
        return found

    def convert(self, kind: str) -> ConvertedModel:
        """Returns the conversion to one format.

        Args:
            kind: one of `FORMATS`, or `ONNX`.

        Raises:
            ConversionError: the model cannot be converted.
        """
        model, start = self._model, time.perf_counter()
        if kind == "int8":
            flatbuffer = int8(model, self._calibration())
        else:
            converters = {
                "float32": tflite_conversion.float32,
                "float16": tflite_conversion.float16,
                "dynamic": tflite_conversion.dynamic,
                ONNX: onnx_file.float32,
            }
            flatbuffer = converters[kind](model)
        if self._score:
            flatbuffer = joining.join(flatbuffer, self._converted_score, [1], "similarity")
        described = flatbuffer
        if kind != ONNX:
            described = bundle_writer.describe(flatbuffer, self.trained.about.name, LABELS, self.trained.input)
        found = ConvertedModel(kind, described)
        self._log(f"{kind:10} {len(described) / 1e6:.1f} MB in {time.perf_counter() - start:.0f} s")
        return found

    def expected(self, sample: PhotoSample) -> np.ndarray:
        """Returns the trained model's outputs for a sample as `outputs` does, computed once and cached.

        Raises:
            ParityError: a photo is missing or damaged.
        """
        if sample.name not in self._expected:
            self._expected[sample.name] = trained_outputs(
                self._call, sample, self.trained.input, len(self.trained.about.labels) + (self._score is not None)
            )
        return self._expected[sample.name]

    def compare(self, candidate: ConvertedModel, sample: PhotoSample, known: float | None = None) -> ParityResult:
        """Returns the comparison of a converted model with the trained one, both run from the encoded photo files.

        Args:
            candidate: the converted model.
            sample: the photos.
            known: its threshold of unknown inputs; by default that from `known_threshold` for these outputs.

        Raises:
            HeadstandError: a photo is missing or damaged, or the converted model cannot be run.
        """
        expected = self.expected(sample)  # first: its error names a damaged photo
        outputs = self.outputs(candidate, sample)
        thresholds = None
        if self._known is not None:
            thresholds = self._known, self.known_threshold(outputs) if known is None else known
        parity = compare(expected, outputs, sample, self.trained.about.labels, thresholds)
        return ParityResult(parity, check(candidate.kind, parity), outputs)

    def outputs(self, candidate: ConvertedModel, sample: PhotoSample) -> np.ndarray:
        """Returns a converted model's outputs for a sample, computed from the photo files.

        Returns:
            `float [N, classes]`, the probabilities, with one more column, the similarity, if there is a detector.

        Raises:
            HeadstandError: a photo is missing or damaged, or the converted model cannot be run.
        """
        about = self.trained.about
        if candidate.kind == ONNX:
            run = onnx_file.runner(candidate.flatbuffer)
            return trained_outputs(run, sample, self.trained.input, len(about.labels))
        metadata = {
            "name": about.name,
            "input": {"kind": self.trained.input.kind, "size": about.size},
            "known_threshold": self._known,
        }
        data = bundle_writer.pack(candidate.flatbuffer, about.labels, metadata)
        with tempfile.TemporaryDirectory() as folder:
            # The comparison reads a real file with the services' own code.
            path = files.write(Path(folder) / "candidate.tflite", data)
            with quiet():  # LiteRT logs the delegate it creates
                served = Classifier(path)
            return served_outputs(served, sample, about.labels)

    def known_threshold(self, outputs: np.ndarray) -> float:
        """Returns the threshold of unknown inputs of a converted model, from its outputs for `samples.choosing`.

        It accepts the same share as the trained model's. If the trained model was trained on these photos, which are
        then too similar to its prototypes, it has the trained model's threshold.
        """
        assert self._known is not None
        return self._known if self.samples.trained_on_choosing else unknown_inputs.threshold(outputs[:, -1])

    @functools.cached_property
    def _converted_score(self) -> bytes:
        return tflite_conversion.float32(self._score)

    @property
    def _known(self) -> float | None:
        return self.trained.detector.threshold if self.trained.detector else None

    def _calibration(self) -> np.ndarray:
        if self._pixels is None:
            self._pixels = calibration(self.samples.calibration, self.trained.about.size, self._representative)
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


def figures(candidate: ConvertedModel) -> dict[str, Any]:
    """Returns a candidate's figures as a JSON-compatible record for NAME.parity.json."""
    parity = candidate.result.parity if candidate.result else None
    accuracy = parity.accuracy if parity else None
    return {
        "format": candidate.kind,
        "bytes": len(candidate.flatbuffer),
        "milliseconds": [round(each.milliseconds, 3) for each in candidate.latency] if candidate.latency else None,
        "agreement": parity.agreement if parity else None,
        "largest_difference": parity.largest_difference if parity else None,
        "accuracy": accuracy.served if accuracy else None,
        "lost": accuracy.lost if accuracy else None,
        "missing": list(candidate.result.criteria.unmet) if candidate.result else [],
    }


def table(candidates: Sequence[ConvertedModel]) -> list[str]:
    """Returns the candidates as lines of a text table, with a header."""
    return [f"{'format':10}{'MB':>6}{'1 thread':>11}{'2 threads':>11}{'agree':>9}{'accuracy':>10}{'lost':>6}"] + [
        _line(candidate) for candidate in candidates
    ]


def _line(candidate: ConvertedModel) -> str:
    shown = figures(candidate)
    times = [f"{each:.2f} ms" for each in shown["milliseconds"] or ()] or ["", ""]
    cells = [
        f"{candidate.kind:10}{shown['bytes'] / 1e6:6.1f}{times[0]:>11}{times[1]:>11}",
        "" if shown["agreement"] is None else f"{shown['agreement']:9.2%}",
        "" if shown["accuracy"] is None else f"{shown['accuracy']:10.4f}{shown['lost']:6d}",
    ]
    verdict = "" if candidate.passed else f"  FAILS: {'; '.join(shown['missing'])}"
    return f"{''.join(cells)}{verdict}"
