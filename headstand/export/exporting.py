"""Export: a trained model in, a bundle out that was seen to answer the same."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from headstand import __version__, images
from headstand.export import accuracy, bundle, evidence, trained
from headstand.export.candidates import BEST, Bench, Candidate, Clock, Judged, fastest, table, timed
from headstand.export.certificate import certificate, whole
from headstand.export.evidence import Evidence, Sample
from headstand.export.latency import latencies
from headstand.export.parity import Parity, ParityError
from headstand.export.trained import Trained
from headstand.heatmaps import JOINTS
from headstand.learn import checkpoint
from headstand.learn.evaluation.calibration import Threshold, threshold
from headstand.learn.report.card import card
from headstand.learn.report.record import CARD
from headstand.learn.run import REPORT
from headstand.recipe import Evaluation
from headstand.serve.bundle import LABELS

REPRESENTATIVE = 300
"""Photos that quantisation takes its ranges from, unless said otherwise."""

_GOOD, _SOME = 0.9, 200
"""Below this accuracy other values of `--preprocess` are tried, on as many photos at most."""


@dataclass(frozen=True)
class Export:
    """The bundle that was written, its certificate beside it, and how it compares to the trained model."""

    bundle: Path
    certificate: Path
    labels: Path
    kind: str
    photos: str
    """Name of the photos that it was certified on."""
    judged: Judged
    unseen: Judged | None
    """The same of the twin that has not seen the photos."""
    size: int
    """The bundle's bytes."""
    warnings: tuple[str, ...] = ()
    """What its accuracy on labelled photos gives reason to doubt."""

    @property
    def parity(self) -> Parity:
        return self.judged.parity

    @property
    def missing(self) -> tuple[str, ...]:
        """What it does not fulfil; nothing: it passed."""
        return (*self.judged.gate.missing, *(self.unseen.gate.missing if self.unseen else ()))

    @property
    def words(self) -> str:
        """Lines for the terminal: parity, accuracy where the photos are labelled, warnings, files."""
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
    """Convert a Headstand checkpoint, judged by the data it was trained on; the bundle is written beside it.

    Args:
        path: the checkpoint.
        kind: as `convert`.
        how: as `convert`.

    Raises:
        HeadstandError: the file is no Headstand checkpoint, its data is not prepared here, the conversion fails, or
            it does not pass; nothing is written then.
    """
    photos = evidence.prepared(checkpoint.about(path))
    model, twin = trained.read(path), trained.twin(path)
    how.setdefault("target", _target(path))
    made = convert(
        model, photos, path.with_suffix(".tflite"), kind, twin=twin, learned=_learned(path, photos, twin), **how
    )
    _tell_card(path, made)
    return made


def convert(
    model: Trained,
    photos: Evidence,
    path: Path,
    kind: str = "float32",
    *,
    twin: Trained | None = None,
    target: float = Evaluation().sure,
    learned: bool = False,
    representative: int = REPRESENTATIVE,
    force: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    clock: Clock = latencies,
    others: Mapping[str, keras.Model] | None = None,
) -> Export:
    """Write a model as a bundle if it answers alike, with its certificate NAME.parity.json and `labels.txt` beside it.

    Args:
        model: what is converted.
        photos: what it is judged by.
        path: of the bundle; what it held is replaced.
        kind: one of `headstand.export.formats.FORMATS`, or "best": the fastest that passes.
        twin: a model that was made in the same way from fewer photos: where there is one, the format is chosen by it,
            since it has not seen the photos that formats are chosen by, and its conversion must pass too.
        target: accuracy that confident answers should have.
        learned: whether the model learned from the photos that formats are chosen by, and there is no twin: a threshold
            fitted to them would promise too much.
        representative: most photos that quantisation takes its ranges from.
        force: write it also where it does not pass, with FAILED inside: the services refuse it unless told.
        tell: is given a line for each step.
        clock: times models.
        others: the model under other values of `--preprocess`, by these values, to find out which one is right; None
            for a model that has its preprocessing inside.

    Raises:
        ConversionError: the model cannot be converted.
        ParityError: it does not pass; nothing is written then, and what was there stays.
    """
    bench = Bench(twin or model, photos, representative, tell)
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
        bench = Bench(model, photos, representative, tell)
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
    # The certificate goes first: a bundle without one would be the worse half of an interrupted export.
    bundle.write(beside, (json.dumps(told, indent=1) + "\n").encode())
    bundle.write(path, data)
    labels = _write_labels(path, model.labels)
    return Export(path, beside, labels, chosen.kind, photos.certifying.name, judged, unseen, len(data), warnings)


def _warnings(bench: Bench, sample: Sample, others: Mapping[str, keras.Model] | None) -> tuple[str, ...]:
    """What the trained model's accuracy on labelled photos gives reason to doubt."""
    if sample.labels is None:
        return ()
    expected = bench.answers(sample)
    right = expected.argmax(axis=1) == sample.labels
    if not others or right.mean() >= _GOOD:
        return tuple(accuracy.warnings(expected, sample.labels, bench.trained.labels, others and {}))
    # Photos are in the order of their classes, so that some of each are taken.
    some = np.unique(np.linspace(0, len(right) - 1, _SOME).astype(int))
    few = Sample(f"{len(some)} {sample.name}", tuple(sample.paths[place] for place in some), sample.labels[some])
    given = {name: Bench(replace(bench.trained, model=model), bench.evidence, 0, print).answers(few)
             for name, model in others.items()}  # fmt: skip
    return tuple(accuracy.warnings(expected[some], sample.labels[some], bench.trained.labels, given))


def _write_labels(path: Path, labels: tuple[str, ...]) -> Path:
    """Write `labels.txt` beside a bundle, a label a line; NAME.labels.txt where that holds something else."""
    text = ("\n".join(labels) + "\n").encode()
    beside = path.with_name(LABELS)
    if beside.exists() and (not beside.is_file() or beside.read_bytes() != text):
        beside = path.with_suffix(f".{LABELS}")
    return bundle.write(beside, text)


def _target(path: Path) -> float:
    """The accuracy of confident answers that the checkpoint's run was asked for; the default if there is no report."""
    report = path.parent / REPORT
    if not report.is_file():
        return Evaluation().sure
    return float(json.loads(report.read_text(encoding="utf-8"))["recipe"]["evaluation"]["sure"])


def _learned(path: Path, photos: Evidence, twin: Trained | None) -> bool:
    """Whether a model learned from the photos that formats are chosen by, and nothing is left that did not."""
    if twin:
        return False
    about, report = checkpoint.about(path), path.parent / REPORT
    if report.is_file() and json.loads(report.read_text(encoding="utf-8"))["refitted"] == path.name:
        return True
    return 2 * len(set(about.examined) & set(about.seen)) >= len(photos.choosing.paths)


def _confidence(bench: Bench, chosen: Candidate, target: float, learned: bool) -> dict[str, Any] | None:
    """The confidence threshold of the served file and what it guarantees, fitted to that file's own outputs.

    If there is a model from before a refit, the threshold is fitted to that model's conversion into the same format:
    the refitted one has learned from the photos. None if the trained model has no threshold, like a foreign one.
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


def _judged(bench: Bench, chosen: Candidate, force: bool) -> Judged:
    """How the chosen format does on the photos that it is certified on.

    Raises:
        ParityError: it does not pass, and nobody forces it.
    """
    sample = bench.evidence.certifying
    judged = bench.judged(chosen, sample)
    if not judged.gate.passed and not force:
        raise ParityError(_refusal(chosen, judged, sample))
    return judged


def _tell_card(path: Path, made: Export) -> None:
    """Let the card of the run that the checkpoint comes from tell of the conversion too."""
    report = path.parent / REPORT
    if report.is_file():
        record = json.loads(report.read_text(encoding="utf-8"))
        if path.name in (record["checkpoint"], record["refitted"]):
            told = json.loads(made.certificate.read_text(encoding="utf-8"))
            bundle.write(path.parent / CARD, card(record, told, path.stem).encode())


def _chosen(tried: list[Candidate], kind: str, sample: Sample, force: bool) -> Candidate:
    """The one to certify.

    Raises:
        ParityError: none passed on the photos that formats are chosen by.
    """
    if kind == BEST:
        # Where not even float32 passes, its refusal tells most.
        return fastest(tried) or tried[0]
    last = tried[-1]
    if last.judged and not last.judged.gate.passed and not force:
        raise ParityError(_refusal(last, last.judged, sample))
    return last


def _refusal(chosen: Candidate, judged: Judged, sample: Sample) -> str:
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


def _record(model: Trained, chosen: Candidate, confidence: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "input": _input(model, chosen),
        "temperature": model.temperature,
        "threshold": confidence["value"] if confidence else None,
        "checkpoint": model.digest,
        "data": model.data,
        "versions": _versions(),
    }


def _input(model: Trained, chosen: Candidate) -> dict[str, Any]:
    """What has to be handed to the model, for its metadata."""
    taken = model.input
    if taken.kind == "heatmaps":
        return {
            "kind": taken.kind,
            "size": taken.size,
            "shape": list(taken.shape),
            "dtype": "float32",
            "joints": list(JOINTS),
            "decoder": taken.decoder,
        }
    return {
        "size": model.size,
        "dtype": "uint8" if chosen.kind == "int8" else "float32",
        "range": [0, 255],
        "resize": "squash to a square, bilinear with antialiasing",
        "decoder": images.DECODER,
    }


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "keras", "ai-edge-litert")
    return {"headstand": __version__, **{package: version(package) for package in packages}}
