"""Converts a trained model to a bundle and writes it if it gives the same predictions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstand import __version__
from headstand.evaluation.calibration import Threshold, threshold
from headstand.export import accuracy, bundle, photo_samples, trained
from headstand.export.candidates import (
    BEST,
    Clock,
    ConversionTrials,
    ConvertedModel,
    ParityResult,
    fastest,
    table,
    timed,
)
from headstand.export.certificate import certificate, whole
from headstand.export.latency import latencies
from headstand.export.parity import Parity, ParityError
from headstand.export.photo_samples import ParitySamples, PhotoSample
from headstand.export.trained import TrainedModel
from headstand.heads import checkpoint
from headstand.recipe import Evaluation
from headstand.report.card import card
from headstand.report.record import CARD
from headstand.runs import REPORT
from headstand.serve.bundle import LABELS

REPRESENTATIVE = 300
"""Default number of photos for the quantization ranges."""

_GOOD, _SOME = 0.9, 200
"""Accuracy below which other values of `--preprocess` are tried, and the largest number of photos for that."""


@dataclass(frozen=True)
class Export:
    """Result of an export: the files written and the comparison with the trained model."""

    bundle: Path
    certificate: Path
    labels: Path
    kind: str
    photos: str
    """Name of the sample that the bundle was certified on."""
    judged: ParityResult
    unseen: ParityResult | None
    """The same comparison for the model from before a refit, which was not trained on the photos; None without one."""
    size: int
    """Size of the bundle in bytes."""
    warnings: tuple[str, ...] = ()
    """Warnings about the accuracy on labelled photos."""

    @property
    def parity(self) -> Parity:
        return self.judged.parity

    @property
    def missing(self) -> tuple[str, ...]:
        """Acceptance criteria that are not met; empty if the export passed."""
        return (*self.judged.gate.missing, *(self.unseen.gate.missing if self.unseen else ()))

    @property
    def words(self) -> str:
        """Summary for the terminal: parity, accuracy if the photos are labelled, warnings, files."""
        parity, score = self.parity, self.parity.accuracy
        lost = f", {score.lost} fewer right" if score and score.lost else ""
        known = (
            f"accuracy   {score.served:.4f} on these photos, {score.trained:.4f} before conversion\n" if score else ""
        )
        doubts = "".join(f"warning    {each}\n" for each in self.warnings)
        verdict = f"FAILED ({'; '.join(self.missing)}), written since forced" if self.missing else "passed"
        return (
            f"parity     {parity.count} {self.photos} photos, same top class on {parity.agreement:.2%}, "
            f"largest difference of a probability {parity.largest_difference:.1e}{lost}: {verdict}\n"
            f"{known}{doubts}"
            f"written    {self.bundle} ({self.kind}, {self.size / 2**20:.1f} MiB), {self.certificate}, {self.labels}"
        )


def export(path: Path, kind: str = "float32", **how: Any) -> Export:
    """Converts a Headstand checkpoint, compares it on its own dataset and writes the bundle next to it.

    Args:
        path: the checkpoint.
        kind: see `convert`.
        how: further arguments of `convert`.

    Raises:
        HeadstandError: the file is not a Headstand checkpoint, its dataset is not prepared here, the conversion fails,
            or it does not pass; nothing is written then.
    """
    photos = photo_samples.prepared(checkpoint.metadata(path))
    model, twin = trained.read(path), trained.twin(path)
    how.setdefault("target", _target(path))
    made = convert(
        model, photos, path.with_suffix(".tflite"), kind, twin=twin, learned=_learned(path, photos, twin), **how
    )
    _tell_card(path, made)
    return made


def convert(
    model: TrainedModel,
    photos: ParitySamples,
    path: Path,
    kind: str = "float32",
    *,
    twin: TrainedModel | None = None,
    target: float = Evaluation().sure,
    learned: bool = False,
    representative: int = REPRESENTATIVE,
    force: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    clock: Clock = latencies,
    others: Mapping[str, keras.Model] | None = None,
) -> Export:
    """Writes a model as a bundle if the conversion passes, with NAME.parity.json and `labels.txt` next to it.

    Args:
        model: the model to convert.
        photos: photos to compare on.
        path: of the bundle; an existing file is replaced.
        kind: one of `headstand.export.acceptance.FORMATS`, or "best" for the fastest that passes.
        twin: the model from before a refit, trained in the same way on fewer photos. If given, the format is chosen
            with it, since it was not trained on the photos of the choice, and its conversion must pass too.
        target: accuracy that confident predictions should have.
        learned: whether the model was trained on the photos of the format choice and there is no `twin`: a threshold
            fitted to them would be too optimistic.
        representative: largest number of photos for the quantization ranges.
        force: write the bundle even if it fails, with the verdict FAILED; services refuse it by default.
        tell: called with one progress line per step.
        clock: measures latencies.
        others: the model under other values of `--preprocess`, by that value, to detect a wrong choice; None for a
            model that contains its preprocessing.

    Raises:
        ConversionError: the model cannot be converted.
        ParityError: the conversion does not pass; nothing is written and existing files are kept.
    """
    bench = ConversionTrials(twin or model, photos, representative, tell)
    tried = bench.make(kind)
    if kind == BEST:
        tried = timed(tried, clock)
        for line in table(tried):
            tell(line)
    chosen = _chosen(tried, kind, photos.choosing, force)
    confidence = _confidence(bench, chosen, target, learned)
    unseen = None
    if twin:
        unseen = _judged(bench, chosen, force)
        bench = ConversionTrials(model, photos, representative, tell)
        chosen = bench.convert(chosen.kind, chosen.remedy)
    judged = _judged(bench, chosen, force)
    warnings = _warnings(bench, photos.certifying, others)
    certified = certificate(model, chosen, photos, judged, unseen, warnings, confidence)
    data = bundle.pack(
        chosen.flatbuffer, model.labels, {**_record(model, chosen, confidence), "certificate": certified}
    )
    (measured,) = timed([chosen], clock)
    assert measured.latency
    choice = tried if tried[0].judged else []
    told = whole(certified, data, measured.latency, judged.parity, choice, photos.choosing.name, _versions())
    beside = path.with_suffix(".parity.json")
    # The certificate is written first, so that an interrupted export never leaves a bundle without one.
    bundle.write(beside, (json.dumps(told, indent=1) + "\n").encode())
    bundle.write(path, data)
    labels = _write_labels(path, model.labels)
    return Export(path, beside, labels, chosen.kind, photos.certifying.name, judged, unseen, len(data), warnings)


def _warnings(
    bench: ConversionTrials, sample: PhotoSample, others: Mapping[str, keras.Model] | None
) -> tuple[str, ...]:
    """Returns warnings about the trained model's accuracy on labelled photos; empty without labels."""
    if sample.labels is None:
        return ()
    expected = bench.answers(sample)
    right = expected.argmax(axis=1) == sample.labels
    if not others or right.mean() >= _GOOD:
        return tuple(accuracy.warnings(expected, sample.labels, bench.trained.labels, others and {}))
    # Photos are sorted by class, so evenly spaced ones cover all classes.
    some = np.unique(np.linspace(0, len(right) - 1, _SOME).astype(int))
    few = PhotoSample(f"{len(some)} {sample.name}", tuple(sample.paths[place] for place in some), sample.labels[some])
    given = {name: ConversionTrials(replace(bench.trained, model=model), bench.evidence, 0, print).answers(few)
             for name, model in others.items()}  # fmt: skip
    return tuple(accuracy.warnings(expected[some], sample.labels[some], bench.trained.labels, given))


def _write_labels(path: Path, labels: tuple[str, ...]) -> Path:
    """Writes `labels.txt`, one label per line, next to a bundle; NAME.labels.txt if that name holds something else."""
    text = ("\n".join(labels) + "\n").encode()
    beside = path.with_name(LABELS)
    if beside.exists() and (not beside.is_file() or beside.read_bytes() != text):
        beside = path.with_suffix(f".{LABELS}")
    return bundle.write(beside, text)


def _target(path: Path) -> float:
    """Returns the confidence target of the checkpoint's run; the default if there is no report."""
    report = path.parent / REPORT
    if not report.is_file():
        return Evaluation().sure
    return float(json.loads(report.read_text(encoding="utf-8"))["recipe"]["evaluation"]["sure"])


def _learned(path: Path, photos: ParitySamples, twin: TrainedModel | None) -> bool:
    """Returns whether the model was trained on the photos of the format choice and no model from before a refit exists.

    Without a refit in the report it is True if at least half as many evaluation fingerprints are among the training
    fingerprints as there are photos for the choice.
    """
    if twin:
        return False
    about, report = checkpoint.metadata(path), path.parent / REPORT
    if report.is_file() and json.loads(report.read_text(encoding="utf-8"))["refitted"] == path.name:
        return True
    return 2 * len(set(about.examined) & set(about.seen)) >= len(photos.choosing.paths)


def _confidence(bench: ConversionTrials, chosen: ConvertedModel, target: float, learned: bool) -> dict[str, Any] | None:
    """Returns the confidence threshold of the served file with its guarantee, fitted to that file's own outputs.

    If there is a model from before a refit, the threshold is fitted to that model's conversion into the same format,
    since the refitted model was trained on the photos. None if the trained model has no threshold, like a foreign one.
    """
    value, sample = bench.trained.threshold, bench.evidence.choosing
    if value is None:
        return None
    if learned or sample.labels is None:
        fitted = Threshold(value, target, None, len(sample.paths), len(sample.paths))
    else:
        outputs = chosen.judged.outputs if chosen.judged else bench.outputs(chosen, sample)
        fitted = threshold(outputs, sample.labels, target)
    return {**fitted.record, "fitted_to": None if learned or sample.labels is None else sample.name}


def _judged(bench: ConversionTrials, chosen: ConvertedModel, force: bool) -> ParityResult:
    """Returns the comparison of the chosen conversion on the certification sample.

    Raises:
        ParityError: the conversion does not pass and `force` is off.
    """
    sample = bench.evidence.certifying
    judged = bench.judged(chosen, sample)
    if not judged.gate.passed and not force:
        raise ParityError(_refusal(chosen, judged, sample))
    return judged


def _tell_card(path: Path, made: Export) -> None:
    """Rewrites the model card of the checkpoint's run with the certificate, if the run has a report."""
    report = path.parent / REPORT
    if report.is_file():
        record = json.loads(report.read_text(encoding="utf-8"))
        if path.name in (record["checkpoint"], record["refitted"]):
            told = json.loads(made.certificate.read_text(encoding="utf-8"))
            bundle.write(path.parent / CARD, card(record, told, path.stem).encode())


def _chosen(tried: list[ConvertedModel], kind: str, sample: PhotoSample, force: bool) -> ConvertedModel:
    """Returns the candidate to certify.

    Raises:
        ParityError: no candidate passed on the photos of the format choice.
    """
    if kind == BEST:
        # If not even float32 passes, its error message is the most useful one.
        return fastest(tried) or tried[0]
    last = tried[-1]
    if last.judged and not last.judged.gate.passed and not force:
        raise ParityError(_refusal(last, last.judged, sample))
    return last


def _refusal(chosen: ConvertedModel, judged: ParityResult, sample: PhotoSample) -> str:
    """Returns the error message for a conversion that does not pass."""
    parity, gate = judged.parity, judged.gate
    apart = [f"{photo} by {difference:.2g}" for photo, difference in parity.worst]
    others = [f"{each.photo} {each.served} for {each.trained}" for each in parity.disagreeing[:5]]
    return (
        f"the {chosen.kind} model answers differently from the trained one, so nothing was written: of {parity.count} "
        f"{sample.name} photos {len(parity.disagreeing)} get another class, and probabilities differ by up to "
        f"{parity.largest_difference:.2g}. It fails, since {'; '.join(gate.missing)}; required: {gate.asked}. "
        f"Furthest off: {'; '.join(apart)}."
        + (f" Other classes: {'; '.join(others)}." if others else "")
        + " --format float32 changes least; --force writes it nevertheless, marked as failed"
    )


def _record(model: TrainedModel, chosen: ConvertedModel, confidence: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the bundle's metadata without the certificate."""
    return {
        "name": model.name,
        "input": model.input.metadata("uint8" if chosen.kind == "int8" else "float32"),
        "temperature": model.temperature,
        "threshold": confidence["value"] if confidence else None,
        "checkpoint": model.digest,
        "data": model.data,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "keras", "ai-edge-litert")
    return {"headstand": __version__, **{package: version(package) for package in packages}}
