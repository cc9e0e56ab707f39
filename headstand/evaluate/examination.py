"""A model's answers to a sample, judged as training judges them."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from headstand import __version__
from headstand.evaluate.model import Model, ModelError
from headstand.evaluate.photos import Sample
from headstand.learn import seen
from headstand.learn.answers import decoded
from headstand.learn.evaluation.calibration import Sure, sure
from headstand.learn.evaluation.mistakes import Mistake, mistakes
from headstand.learn.evaluation.score import Evaluation, evaluate
from headstand.learn.evaluation.slices import Slice, slices
from headstand.learn.features import BATCH
from headstand.learn.seen import Leak


@dataclass(frozen=True)
class Examination:
    """What a model is worth on a sample.

    `trained` and `examined` are the photos that have near twins among those that the model or its starting weights
    learnt from, and among those that its own figures were taken with; None where that is not known.
    """

    model: Model
    sample: Sample
    scores: Evaluation
    sure: Sure
    slices: tuple[Slice, ...]
    mistakes: tuple[Mistake, ...]
    trained: Leak | None
    examined: Leak | None

    @property
    def record(self) -> dict[str, Any]:
        """All of it as JSON: model, photos, scores with 95 % intervals, calibration, slices, mistakes, notes."""
        about, sample = self.model.about, self.sample
        return {
            "model": {
                "path": str(self.model.path),
                "sha256": self.model.sha256,
                **{key: getattr(about, key) for key in ("name", "labels", "size", "backbone", "data")},
            },
            "photos": {
                "folder": str(sample.folder),
                "split": sample.split or None,
                "count": len(sample.photos),
                "left_out": [list(one) for one in sample.left_out],
            },
            "scores": {**asdict(self.scores), "calibrated": self.scores.reliability.calibrated},
            "calibration": {
                "temperature": about.temperature,
                "threshold": about.threshold or 0.0,
                "sure": asdict(self.sure),
            },
            "slices": [asdict(one) for one in self.slices],
            "mistakes": [{**asdict(one), "photo": one.photo.path} for one in self.mistakes],
            "trained": self.trained and asdict(self.trained),
            "examined": self.examined and asdict(self.examined),
            "notes": self.notes,
            "versions": {"headstand": __version__},
        }

    @property
    def remarks(self) -> list[str]:
        """Calibration, sure answers, slices unlike the whole and notes: a line each, for the terminal."""
        error, (low, high) = self.scores.reliability.ece, self.scores.reliability.band
        lines = [f"calibration error {error:.3f}; of a perfectly calibrated model {low:.3f} to {high:.3f}"]
        if self.model.about.threshold and self.sure.interval:
            low, high = self.sure.interval
            lines.append(
                f"sure answers      {self.sure.coverage:.0%}, those from {self.model.about.threshold:.2f} on; of them "
                f"{self.sure.accuracy:.3f} ({low:.3f} to {high:.3f}) are right"
            )
        for one in self.slices:
            if one.apart:
                low, high = one.interval
                lines.append(
                    f"unlike the whole  {one.by} {one.value}: accuracy {one.accuracy:.3f} ({low:.3f} to {high:.3f}), "
                    f"{one.count} photos"
                )
        return [*lines, *(note if note.startswith("WARNING") else f"note              {note}" for note in self.notes)]

    @property
    def notes(self) -> list[str]:
        """What a reader must know before believing the figures."""
        notes, count = [], len(self.sample.photos)
        if self.trained is None:
            notes.append(
                "what the model was trained on is not known, as its checkpoint does not lie beside it: photos that it "
                "has learnt from may be among these"
            )
        elif self.trained.photos:
            notes.append(
                f"WARNING: {_of(self.trained, count)} near twins among those that the model learnt from"
                + _without(self.trained)
            )
        if self.sample.own and self.sample.split == "test":
            notes.append("the test split is scored again, after the run itself did it: choose nothing by it")
        elif self.sample.own and self.sample.split == "validation":
            notes.append("epoch, temperature and threshold were chosen on these photos: other ones fare a little worse")
        elif self.examined and self.examined.photos:
            notes.append(
                f"{_of(self.examined, count)} near twins among the model's own validation and test photos"
                + _without(self.examined)
            )
        if left_out := self.sample.left_out:
            told = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
            notes.append(f"{len(left_out)} files left out: {told}{'; ...' * (len(left_out) > 3)}")
        if lacking := [name for name in self.model.about.labels if not self.scores.per_class[name]["count"]]:
            notes.append(
                f"no photos of {', '.join(lacking[:10])}{' ...' * (len(lacking) > 10)}: nothing is known of "
                f"{'that class' if len(lacking) == 1 else 'those classes'}"
            )
        return notes


def examine(model: Model, sample: Sample) -> Examination:
    """Put each photo of a sample to a model.

    Raises:
        ImageError: a photo is damaged.
        HeadstandError: the model answers something that is no number.
    """
    about, labels = model.about, sample.labels
    probabilities = _answers(model, sample)
    right = probabilities.argmax(axis=1) == labels

    def twins(photos: tuple[str, ...]) -> Leak | None:
        return seen.among(photos, sample.folder, sample.photos, right) if model.history else None

    return Examination(
        model,
        sample,
        evaluate(probabilities, labels, about.labels),
        sure(probabilities, labels, about.threshold or 0.0),
        tuple(slices(sample.photos, right)),
        tuple(mistakes(sample.photos, probabilities, labels, about.labels)),
        twins(about.seen),
        # Of the model's own dataset that is known without looking.
        None if sample.own else twins(about.examined),
    )


def _answers(model: Model, sample: Sample) -> np.ndarray:
    """Probabilities `float32 [N, classes]`."""
    answers = []
    with tqdm(total=len(sample.photos), desc="asking", unit="photo", disable=None, leave=False) as bar:
        for start in range(0, len(sample.photos), BATCH):
            batch = sample.photos[start : start + BATCH]
            answers.append(model.answer(decoded(sample.folder, batch, model.input)))
            bar.update(len(batch))
    probabilities = np.concatenate(answers)
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{model.path} gives probabilities that are not numbers; train it again")
    return probabilities


def _of(leak: Leak, count: int) -> str:
    number = len(leak.photos)
    return f"{'all' if number == count else number} {count if number == count else f'of the {count}'} photos have"


def _without(leak: Leak) -> str:
    return "" if leak.accuracy_without is None else f"; without them the accuracy is {leak.accuracy_without:.4f}"
