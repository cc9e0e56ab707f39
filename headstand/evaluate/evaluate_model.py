"""Evaluates a model on a sample of photos, with the same metrics as a training run."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from headstand import __version__
from headstand.evaluate.model import EvaluatedModel, ModelError
from headstand.evaluate.photos import EvaluationSet
from headstand.evaluation import leakage
from headstand.evaluation.calibration import ConfidentShare, confident_share, error_described
from headstand.evaluation.leakage import Leak
from headstand.evaluation.mistakes import Mistake, mistakes
from headstand.evaluation.predictions import decoded
from headstand.evaluation.score import SplitMetrics, evaluate
from headstand.evaluation.slices import Slice, slices
from headstand.features import BATCH


@dataclass(frozen=True)
class EvaluationResult:
    """Results of evaluating a model on a sample of photos.

    Attributes:
        model: the model.
        sample: the photos with their labels.
        scores: metrics with 95 % intervals.
        sure: share and accuracy of the confident predictions.
        slices: accuracy by properties of the photos.
        mistakes: the most confident wrong predictions.
        trained: photos with near duplicates among those that the model or its pretrained weights were trained on; None
            if these are not known.
        examined: photos with near duplicates among the validation and test photos of the model's training run; None if
            these are not known, or if the sample is a split of the same dataset.
    """

    model: EvaluatedModel
    sample: EvaluationSet
    scores: SplitMetrics
    confident_share: ConfidentShare
    slices: tuple[Slice, ...]
    mistakes: tuple[Mistake, ...]
    trained: Leak | None
    examined: Leak | None

    @property
    def record(self) -> dict[str, Any]:
        """The results for `evaluation.json`: model, photos, metrics, calibration, slices, mistakes, notes."""
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
                "sure": asdict(self.confident_share),
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
        """Lines for the terminal: calibration, confident predictions, slices that differ beyond noise, and notes."""
        lines = [error_described(asdict(self.scores.reliability), self.scores.count)]
        confident, threshold = self.confident_share, self.model.about.threshold
        if threshold and confident.interval:
            low, high = confident.interval
            lines.append(
                f"confident predictions: {confident.coverage:.0%}, with a probability of {threshold:.2f} or more; "
                f"of these {confident.accuracy:.3f} ({low:.3f} to {high:.3f}) are right"
            )
        for one in self.slices:
            if one.apart:
                low, high = one.interval
                lines.append(
                    f"unlike the others {one.by} {one.value}: accuracy {one.accuracy:.3f} ({low:.3f} to {high:.3f}), "
                    f"{one.count} photos"
                )
        return [*lines, *(note if note.startswith("WARNING") else f"note              {note}" for note in self.notes)]

    @property
    def notes(self) -> list[str]:
        """Sentences that limit how far the metrics can be relied on, such as leakage and missing classes."""
        notes, count = [], len(self.sample.photos)
        if self.trained is None:
            notes.append(
                "the model's training photos are not known, since its checkpoint is not in the same folder: they may "
                "be among these photos"
            )
        elif self.trained.photos:
            notes.append(
                f"WARNING: {_of(self.trained, count)} near duplicates among those that the model was trained on"
                + _without(self.trained)
            )
        if self.sample.own and self.sample.split == "test":
            notes.append("the run has scored this test split before: do not choose anything by these figures")
        elif self.sample.own and self.sample.split == "validation":
            notes.append("epoch, temperature and threshold were chosen on these photos: expect a little less on others")
        elif self.examined and self.examined.photos:
            notes.append(
                f"{_of(self.examined, count)} near duplicates among the model's own validation and test photos"
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


def evaluate_model(model: EvaluatedModel, sample: EvaluationSet) -> EvaluationResult:
    """Returns the results of a model on a sample of photos.

    Raises:
        ImageError: a photo is damaged.
        HeadstandError: a probability is not finite.
    """
    about, labels = model.about, sample.labels
    probabilities = _answers(model, sample)
    right = probabilities.argmax(axis=1) == labels

    def twins(photos: tuple[str, ...]) -> Leak | None:
        return leakage.among(photos, sample.folder, sample.photos, right) if model.history else None

    return EvaluationResult(
        model,
        sample,
        evaluate(probabilities, labels, about.labels),
        confident_share(probabilities, labels, about.threshold or 0.0),
        tuple(slices(sample.photos, right)),
        tuple(mistakes(sample.photos, probabilities, labels, about.labels)),
        twins(about.seen),
        # For the model's own dataset, `EvaluationResult.notes` states the reuse of a split without a comparison.
        None if sample.own else twins(about.examined),
    )


def _answers(model: EvaluatedModel, sample: EvaluationSet) -> np.ndarray:
    """Returns the probabilities of a model for the photos of a sample, `float32 [N, classes]`."""
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
