"""Converts a trained model to a bundle and writes it if it gives the same predictions."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstand import __version__, files
from headstand.evaluation import unknown_inputs
from headstand.evaluation.calibration import Threshold, threshold
from headstand.export import accuracy, bundle_writer, onnx_file, photo_samples, trained
from headstand.export.candidates import (
    ConversionTrials,
    ConvertedModel,
    Log,
    ParityResult,
    fastest,
    table,
    timed,
)
from headstand.export.certificate import certificate, read_certificate, whole
from headstand.export.latency import Clock, latencies
from headstand.export.parity import Parity, ParityError
from headstand.export.photo_samples import ParitySamples, PhotoSample
from headstand.export.trained import TrainedModel
from headstand.export_formats import BEST, ONNX
from headstand.recipe import Evaluation
from headstand.report.card import card
from headstand.report.record import CARD
from headstand.runs import REPORT, read_report
from headstand.serve.bundle import LABELS

REPRESENTATIVE = 300
"""Default number of photos for the quantization ranges."""

_GOOD, _SOME = 0.9, 200
"""Accuracy below which other values of `--preprocess` are evaluated, and the largest number of photos for that."""


@dataclass(frozen=True)
class Export:
    """Result of an export: the files written and the comparison with the trained model.

    Attributes:
        bundle: path of the bundle.
        certificate: path of the certificate.
        labels: path of the labels.
        kind: format of the bundle.
        sample: name of the sample that the bundle was certified on.
        result: comparison on that sample.
        before_refit: the same comparison for the model from before a refit, which was not trained on the photos; None
            without one.
        size: size of the bundle in bytes.
        warnings: warnings about the accuracy on labelled photos.
    """

    bundle: Path
    certificate: Path
    labels: Path
    kind: str
    sample: str
    result: ParityResult
    before_refit: ParityResult | None
    size: int
    warnings: tuple[str, ...] = ()

    @property
    def parity(self) -> Parity:
        return self.result.parity

    @property
    def unmet(self) -> tuple[str, ...]:
        """Acceptance criteria that are not met; empty if the export passed."""
        return (*self.result.criteria.unmet, *(self.before_refit.criteria.unmet if self.before_refit else ()))

    @property
    def summary(self) -> str:
        """Lines for the terminal: parity, accuracy if the photos are labelled, warnings, files."""
        parity, score = self.parity, self.parity.accuracy
        lost = f", {score.lost} fewer correct" if score and score.lost else ""
        accuracies = (
            f"accuracy   {score.served:.4f} on these photos, {score.trained:.4f} before conversion\n" if score else ""
        )
        warnings = "".join(f"warning    {each}\n" for each in self.warnings)
        verdict = f"FAILED ({'; '.join(self.unmet)}), written because of --force" if self.unmet else "passed"
        return (
            f"parity     {parity.count} {self.sample} photos, same top class on {parity.agreement:.2%}, "
            f"largest difference of a probability {parity.largest_difference:.1e}{lost}: {verdict}\n"
            f"{accuracies}{warnings}"
            f"written    {self.bundle} ({self.kind}, {self.size / 2**20:.1f} MiB), {self.certificate}, {self.labels}"
        )


def export(path: Path, kind: str = "float32", **options: Any) -> Export:
    """Converts a Headstand checkpoint, compares it on its own dataset and writes the bundle next to it.

    Args:
        path: the checkpoint.
        kind: see `convert`.
        options: further arguments of `convert`.

    Raises:
        HeadstandError: the file is not a Headstand checkpoint, its dataset is not prepared here, the conversion fails,
            or it does not pass; nothing is written then.
    """
    model = trained.read(path)
    samples = photo_samples.prepared(model.about)
    report, before_refit = _report(path), None
    if report:
        options.setdefault("target", report["recipe"]["evaluation"]["confidence_target"])
    if report and report["refitted"] == path.name:
        # Fingerprints do not show this for inputs other than photos.
        on_certifying = samples.trained_on_certifying or report["recipe"]["finetune"]["refit"] == "all"
        samples = replace(samples, trained_on_choosing=True, trained_on_certifying=on_certifying)
        if (selected := path.with_name(report["checkpoint"])).is_file():
            before_refit = trained.read(selected)
    found = convert(model, samples, path.with_suffix(".tflite"), kind, before_refit=before_refit, **options)
    # The model card describes the bundle that is served.
    if report and kind != ONNX and path.name in (report["checkpoint"], report["refitted"]):
        files.write(path.with_name(CARD), card(report, read_certificate(found.certificate), path.stem))
    return found


def convert(
    model: TrainedModel,
    samples: ParitySamples,
    path: Path,
    kind: str = "float32",
    *,
    before_refit: TrainedModel | None = None,
    target: float = Evaluation().confidence_target,
    representative: int = REPRESENTATIVE,
    force: bool = False,
    log: Log = lambda line: None,
    clock: Clock = latencies,
    others: Mapping[str, keras.Model] | None = None,
) -> Export:
    """Writes a model as a bundle if the conversion passes, with NAME.parity.json and `labels.txt` next to it.

    An ONNX model is written in place of the bundle as NAME.onnx, with NAME.onnx.parity.json.

    Args:
        model: the model to convert.
        samples: photos to compare on.
        path: of the bundle; an existing file is replaced.
        kind: one of `headstand.export_formats.FORMATS`, `BEST` or `ONNX`.
        before_refit: the model from before a refit, trained in the same way on fewer photos. If given, the format is
            chosen with it, since it was not trained on the photos of the choice, and its conversion must pass too.
        target: accuracy that confident predictions should have.
        representative: largest number of photos for the quantization ranges.
        force: write the bundle even if it fails, with the verdict FAILED; services refuse it by default.
        log: called with one line of progress per step.
        clock: measures latencies.
        others: the model under other values of `--preprocess`, by that value, to detect a wrong choice; None for a
            model that contains its preprocessing.

    Raises:
        ConversionError: the model cannot be converted.
        ParityError: the conversion does not pass; nothing is written and existing files are kept.
    """
    if kind == ONNX:  # it has the probabilities alone
        model = replace(model, detector=None)
        before_refit = replace(before_refit, detector=None) if before_refit else None
    if before_refit:
        samples = replace(samples, trained_on_choosing=False)
    trials = ConversionTrials(before_refit or model, samples, representative, log)
    candidates = trials.candidates(kind)
    if kind == BEST:
        candidates = timed(candidates, clock)
        for line in table(candidates):
            log(line)
    chosen = _chosen(candidates, samples.choosing, force)
    assert chosen.result
    outputs = chosen.result.outputs
    confidence = _confidence(trials, outputs, target)
    known = _known(trials, chosen, outputs)
    result_before = None
    if before_refit:
        result_before = _certified(trials, chosen, known, force)
        trials = ConversionTrials(model, samples, representative, log)
        chosen = trials.convert(chosen.kind)
    result = _certified(trials, chosen, known, force)
    warnings = _warnings(trials, samples.certifying, others)
    record = certificate(model, chosen, samples, result, result_before, warnings, confidence, known)
    metadata = {**_metadata(model, chosen, confidence, known), "certificate": record}
    pack = onnx_file.pack if kind == ONNX else bundle_writer.pack
    data = pack(chosen.flatbuffer, model.about.labels, metadata)
    (measured,) = timed([chosen], clock)
    assert measured.latency
    text = whole(record, data, measured.latency, result.parity, candidates, samples.choosing.name, metadata["versions"])
    # The certificate is written first, so that an interrupted export never leaves a bundle without one.
    suffix = ".parity.json"
    if kind == ONNX:  # beside a bundle of the same name
        path, suffix = path.with_suffix(".onnx"), ".onnx.parity.json"
    beside = files.write(path.with_suffix(suffix), json.dumps(text, indent=1) + "\n")
    files.write(path, data)
    labels = _write_labels(path, model.about.labels)
    return Export(
        path, beside, labels, chosen.kind, samples.certifying.name, result, result_before, len(data), warnings
    )


def _report(path: Path) -> dict[str, Any] | None:
    """Returns the report of the run in a checkpoint's folder; None if there is none."""
    return read_report(path.parent) if path.with_name(REPORT).is_file() else None


def _warnings(
    trials: ConversionTrials, sample: PhotoSample, others: Mapping[str, keras.Model] | None
) -> tuple[str, ...]:
    """Returns warnings about the trained model's accuracy on labelled photos; empty without labels."""
    if sample.labels is None:
        return ()
    labels = trials.trained.about.labels
    expected = trials.expected(sample)[:, : len(labels)]
    correct = expected.argmax(axis=1) == sample.labels
    if not others or correct.mean() >= _GOOD:
        return tuple(accuracy.warnings(expected, sample.labels, labels, others and {}))
    # Photos are sorted by class, so evenly spaced ones cover all classes.
    some = np.unique(np.linspace(0, len(correct) - 1, _SOME).astype(int))
    few = PhotoSample(f"{len(some)} {sample.name}", tuple(sample.paths[index] for index in some), sample.labels[some])
    given = {name: ConversionTrials(replace(trials.trained, model=model), trials.samples, 0, print).expected(few)
             for name, model in others.items()}  # fmt: skip
    return tuple(accuracy.warnings(expected[some], sample.labels[some], labels, given))


def _write_labels(path: Path, labels: tuple[str, ...]) -> Path:
    """Writes `labels.txt`, one label per line, next to a bundle; NAME.labels.txt if that name holds something else."""
    text = ("\n".join(labels) + "\n").encode()
    beside = path.with_name(LABELS)
    if beside.exists() and (not beside.is_file() or beside.read_bytes() != text):
        beside = path.with_suffix(f".{LABELS}")
    return files.write(beside, text)


def _confidence(trials: ConversionTrials, outputs: np.ndarray, target: float) -> dict[str, Any] | None:
    """Returns the confidence threshold of the served file with its guarantee, fitted to that file's own outputs.

    `outputs`, `float [N, columns]`, are those for `samples.choosing`.

    If there is a model from before a refit, the threshold is fitted to that model's conversion into the same format,
    since the refitted model was trained on the photos. A threshold fitted to training photos would be too optimistic:
    then the trained model's threshold is kept without a guarantee. None if the trained model has no threshold, like a
    foreign one.
    """
    value, sample = trials.trained.about.threshold, trials.samples.choosing
    if value is None:
        return None
    if trials.samples.trained_on_choosing or sample.labels is None:
        fitted = Threshold(value, target, None, len(sample.paths), len(sample.paths))
        return {**fitted.record, "fitted_to": None}
    probabilities = outputs[:, : len(trials.trained.about.labels)]
    return {**threshold(probabilities, sample.labels, target).record, "fitted_to": sample.name}


def _known(trials: ConversionTrials, chosen: ConvertedModel, outputs: np.ndarray) -> dict[str, Any] | None:
    """Returns the threshold of the served file for unknown inputs, fitted as the one in `_confidence`.

    `accepted` is the share of photos that it accepts: of those that it was fitted to, and of generated pictures, which
    show nothing. None without a detector.
    """
    if not trials.trained.detector:
        return None
    sample = trials.samples.choosing
    value, scores = trials.known_threshold(outputs), {sample.name: outputs[:, -1]}
    if trials.trained.input.kind == "photos":
        with tempfile.TemporaryDirectory() as folder:
            pictures = photo_samples.generated(Path(folder), trials.trained.about.size).choosing
            scores[pictures.name] = trials.outputs(chosen, pictures)[:, -1]
    return {
        **unknown_inputs.record(value, scores),
        "fitted_to": None if trials.samples.trained_on_choosing else sample.name,
    }


def _certified(
    trials: ConversionTrials, chosen: ConvertedModel, known: dict[str, Any] | None, force: bool
) -> ParityResult:
    """Returns the comparison of the chosen conversion on the certification sample; `known` is from `_known`.

    Raises:
        ParityError: the conversion does not pass and `force` is off.
    """
    sample = trials.samples.certifying
    result = trials.compare(chosen, sample, known["value"] if known else None)
    if not result.criteria.passed and not force:
        raise ParityError(_refusal(chosen, result, sample))
    return result


def _chosen(candidates: list[ConvertedModel], sample: PhotoSample, force: bool) -> ConvertedModel:
    """Returns the candidate to certify: the fastest that passes, or the only one.

    Raises:
        ParityError: no candidate passed on the photos of the format choice, and `force` is off.
    """
    # If not even the first, float32, passes, its error message is the most useful one.
    chosen = fastest(candidates) or candidates[0]
    assert chosen.result
    if not chosen.passed and not force:
        raise ParityError(_refusal(chosen, chosen.result, sample))
    return chosen


def _refusal(chosen: ConvertedModel, result: ParityResult, sample: PhotoSample) -> str:
    """Returns the error message for a conversion that does not pass."""
    parity, criteria = result.parity, result.criteria
    worst = [f"{photo} by {difference:.2g}" for photo, difference in parity.worst]
    changed = [f"{each.photo} {each.served} instead of {each.trained}" for each in parity.disagreeing[:5]]
    return (
        f"the {chosen.kind} model predicts differently from the trained one, so nothing was written: of "
        f"{parity.count} {sample.name} photos {len(parity.disagreeing)} get another class, and probabilities differ by "
        f"up to {parity.largest_difference:.2g}. It fails because {'; '.join(criteria.unmet)}; required: "
        f"{criteria.required}. Largest differences: {'; '.join(worst)}."
        + (f" Other classes: {'; '.join(changed)}." if changed else "")
        + " --format float32 changes the model least; --force writes the bundle anyway, marked as failed"
    )


def _metadata(
    model: TrainedModel, chosen: ConvertedModel, confidence: dict[str, Any] | None, known: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the bundle's metadata without the certificate."""
    return {
        "name": model.about.name,
        "input": model.input.metadata("uint8" if chosen.kind == "int8" else "float32"),
        "temperature": model.about.temperature,
        "threshold": confidence["value"] if confidence else None,
        "known_threshold": known["value"] if known else None,
        "checkpoint": model.digest,
        "data": model.about.data or None,
        "versions": _versions(chosen.kind),
    }


def _versions(kind: str) -> dict[str, str]:
    packages = ("tensorflow", "keras", *(("tf2onnx", "onnxruntime") if kind == ONNX else ("ai-edge-litert",)))
    return {"headstand": __version__, **{package: version(package) for package in packages}}
