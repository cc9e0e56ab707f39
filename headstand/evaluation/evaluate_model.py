"""Evaluates a model on a sample of photos, with the same metrics as a training run."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from headstand import __version__
from headstand.evaluation import leakage
from headstand.evaluation.calibration import ConfidentShare, confident_share, sentences
from headstand.evaluation.error_analysis import Mistake, Slice, mistakes, slices
from headstand.evaluation.evaluated_model import EvaluatedModel, ModelError
from headstand.evaluation.evaluation_set import EvaluationSet
from headstand.evaluation.leakage import Leak
from headstand.evaluation.metrics import SplitMetrics, evaluate
from headstand.evaluation.predictions import decoded
from headstand.features import BATCH


@dataclass(frozen=True)
class EvaluationResult:
    """Results of evaluating a model on a sample of photos.

    Attributes:
        model: the model.
        sample: the photos with their labels.
        scores: metrics with 95 % intervals.
        confident_share: share and accuracy of the confident predictions.
        slices: accuracy by properties of the photos.
        mistakes: the most confident wrong predictions.
        training_leak: photos with near duplicates among those that the model or its pretrained weights were trained
            on; None if these are not known.
        evaluation_leak: photos with near duplicates among the validation and test photos of the model's training run;
            None if these are not known, or if the sample is a split of the same dataset.
    """

    model: EvaluatedModel
    sample: EvaluationSet
    scores: SplitMetrics
    confident_share: ConfidentShare
    slices: tuple[Slice, ...]
    mistakes: tuple[Mistake, ...]
    training_leak: Leak | None
    evaluation_leak: Leak | None

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
                "left_out": [list(file) for file in sample.left_out],
            },
            "scores": {**asdict(self.scores), "calibrated": self.scores.reliability.calibrated},
            "calibration": {
                "temperature": about.temperature,
                "threshold": about.threshold or 0.0,
                "confident": asdict(self.confident_share),
            },
            "slices": [asdict(one) for one in self.slices],
            "mistakes": [
                {**asdict(one), "photo": one.photo.path, "original": one.photo.original_name} for one in self.mistakes
            ],
            "training_leak": self.training_leak and asdict(self.training_leak),
            "evaluation_leak": self.evaluation_leak and asdict(self.evaluation_leak),
            "notes": self.notes,
            "versions": {"headstand": __version__},
        }

    @property
    def calibration(self) -> list[str]:
        """Sentences on calibration error, temperature and confident predictions."""
        calibration = {"temperature": self.model.about.temperature, "threshold": self.model.about.threshold}
        return sentences(asdict(self.scores), calibration, asdict(self.confident_share), "these photos")

    @property
    def remarks(self) -> list[str]:
        """Lines for the terminal: calibration, slices that differ beyond noise, and notes."""
        lines = self.calibration
        for one in self.slices:
            if one.differs:
                low, high = one.interval
                lines.append(
                    f"differs from the other photos: {one.by} {one.value}, accuracy {one.accuracy:.3f} ({low:.3f} to "
                    f"{high:.3f}), {one.count} photos"
                )
        return [*lines, *(note if note.startswith("WARNING") else f"note              {note}" for note in self.notes)]

    @property
    def notes(self) -> list[str]:
        """Sentences that limit how far the metrics can be relied on, such as leakage and missing classes."""
        notes, count = [], len(self.sample.photos)
        if self.training_leak is None:
            notes.append(
                "the model's training photos are not known, since its checkpoint is not in the same folder: these "
                "photos may contain them"
            )
        elif self.training_leak.photos:
            notes.append(
                f"WARNING: {_of(self.training_leak, count)} near duplicates among those that the model was trained on"
                + _without(self.training_leak)
            )
        if self.sample.own and self.sample.split == "test":
            notes.append("the training run has scored this test split already: do not select models by these metrics")
        elif self.sample.own and self.sample.split == "validation":
            notes.append("epoch, temperature and threshold were selected on these photos: the metrics are optimistic")
        elif self.evaluation_leak and self.evaluation_leak.photos:
            notes.append(
                f"{_of(self.evaluation_leak, count)} near duplicates among the model's own validation and test photos"
                + _without(self.evaluation_leak)
            )
        if left_out := self.sample.left_out:
            listed = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
            notes.append(f"{len(left_out)} files left out: {listed}{'; ...' * (len(left_out) > 3)}")
        if missing := [name for name in self.model.about.labels if not self.scores.per_class[name]["count"]]:
            notes.append(
                f"no photos of {', '.join(missing[:10])}{' ...' * (len(missing) > 10)}: "
                f"{'that class was' if len(missing) == 1 else 'those classes were'} not evaluated"
            )
        return notes


def evaluate_model(model: EvaluatedModel, sample: EvaluationSet) -> EvaluationResult:
    """Returns the results of a model on a sample of photos.

    Raises:
        ImageError: a photo is damaged.
        HeadstandError: a probability is not finite.
    """
    about, labels = model.about, sample.labels
    probabilities = _predict(model, sample)
    right = probabilities.argmax(axis=1) == labels

    def leak(fingerprints: tuple[str, ...]) -> Leak | None:
        return leakage.among(fingerprints, sample.folder, sample.photos, right) if model.history else None

    return EvaluationResult(
        model,
        sample,
        evaluate(probabilities, labels, about.labels),
        confident_share(probabilities, labels, about.threshold or 0.0),
        tuple(slices(sample.photos, right)),
        tuple(mistakes(sample.photos, probabilities, labels, about.labels)),
        leak(about.training_fingerprints),
        # For the model's own dataset, `EvaluationResult.notes` states the reuse of a split without a comparison.
        None if sample.own else leak(about.evaluation_fingerprints),
    )


def _predict(model: EvaluatedModel, sample: EvaluationSet) -> np.ndarray:
    """Returns the probabilities of a model for the photos of a sample, `float32 [N, classes]`."""
    batches = []
    with tqdm(total=len(sample.photos), desc="predicting", unit="photo", disable=None, leave=False) as bar:
        for start in range(0, len(sample.photos), BATCH):
            batch = sample.photos[start : start + BATCH]
            batches.append(model.predict(decoded(sample.folder, batch, model.input)))
            bar.update(len(batch))
    probabilities = np.concatenate(batches)
    if not np.isfinite(probabilities).all():
        raise ModelError(f"{model.path} returns probabilities that are not finite; train it again")
    return probabilities


def _of(leak: Leak, count: int) -> str:
    number = len(leak.photos)
    return f"{'all' if number == count else number} {count if number == count else f'of the {count}'} photos have"


def _without(leak: Leak) -> str:
    return "" if leak.accuracy_without is None else f"; without them the accuracy is {leak.accuracy_without:.4f}"
