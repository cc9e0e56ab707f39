"""Whether probabilities mean what they say, and making them do so."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from headstand.learn import checkpoint
from headstand.learn.evaluation.intervals import Interval, wilson

BINS = 15
"""Bins of equal width for the expected calibration error, as Guo et al. 2017 take them."""

DRAWS = 2000
"""Simulated test splits for the band of a perfectly calibrated model."""

LIMITS = (0.05, 20.0)
"""Temperatures that are tried."""

FEWEST = 20
"""Fewest confident validation answers that a threshold is chosen by."""


@dataclass(frozen=True)
class Calibration:
    """What is done to a model after its training, chosen on validation.

    `temperature`: the logits are divided by it. `threshold`: an answer whose highest probability is lower is "not
    sure"; 0 where every answer is sure.
    """

    temperature: float
    threshold: float


def calibrate(probabilities: np.ndarray, labels: np.ndarray, sure: float) -> Calibration:
    """Choose temperature and threshold.

    Args:
        probabilities: `float [N, classes]`, the model's on validation.
        labels: class indices `int [N]`.
        sure: share of the confident answers that shall be right, see `threshold`.
    """
    chosen = temperature(probabilities, labels)
    return Calibration(chosen, threshold(tempered(probabilities, chosen), labels, sure))


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature, within `LIMITS`, with the least log loss (Guo et al. 2017, "On calibration").

    A photo counts 1 / (N + 2) for the other classes (after Platt 1999): without it a validation split without mistakes
    would have every answer claim to be certain, and 12 photos do not show that.
    """
    logs = _logs(probabilities)
    count, classes = probabilities.shape
    others = 1 / (count + 2) / (classes - 1)
    targets = np.full((count, classes), others)
    targets[np.arange(count), labels] = 1 - others * (classes - 1)

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        top = scaled.max(axis=1, keepdims=True)
        total = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=1))
        return float((total - (scaled * targets).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded")
    return float(np.exp(found.x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities `float32 [N, classes]` that logits divided by the temperature give."""
    scaled = _logs(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def threshold(probabilities: np.ndarray, labels: np.ndarray, sure: float) -> float:
    """The lowest top probability above which answers are right as often as is asked.

    Asked is a share of `sure`, and at most half the mistakes a photo that there are over all: a good model too can say
    where it is less so.

    Returns:
        The threshold; 0 where there are no mistakes at all, or too few answers to tell. Where no threshold reaches
        what is asked, the one that comes nearest.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    if right.all() or len(right) < FEWEST:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    # Between equal confidences no threshold can pass.
    last = np.append(confidence[order][:-1] > confidence[order][1:], True)
    able = np.flatnonzero(last & (np.arange(1, len(order) + 1) >= FEWEST))
    asked = max(sure, 1 - (1 - right.mean()) / 2)
    enough = able[accuracy[able] >= asked]
    place = enough.max() if len(enough) else able[np.argmax(accuracy[able])]
    return float(confidence[order][place])


@dataclass(frozen=True)
class Sure:
    """The confident answers of a split: their share, the accuracy over them with its 95 % interval, and over the rest.

    An accuracy is None where there are no such answers.
    """

    coverage: float
    accuracy: float | None
    interval: Interval | None
    accuracy_of_others: float | None


def sure(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> Sure:
    """Judge the answers whose top probability reaches the threshold."""
    right = probabilities.argmax(axis=1) == labels
    chosen = probabilities.max(axis=1) >= threshold
    some, others = right[chosen], right[~chosen]
    return Sure(
        coverage=float(chosen.mean()),
        accuracy=float(some.mean()) if len(some) else None,
        interval=wilson(int(some.sum()), len(some)) if len(some) else None,
        accuracy_of_others=float(others.mean()) if len(others) else None,
    )


def fold(model: keras.Model, temperature: float) -> None:
    """Divide the model's logits by the temperature: kernel and bias of the layer `logits`, so no client need know."""
    layer = model.get_layer("logits")
    layer.set_weights([values / np.float32(temperature) for values in layer.get_weights()])


def settle(path: Path, calibration: Calibration) -> None:
    """Fold a calibration into a checkpoint and note it there, in one step; one that has been settled stays as it is.

    Raises:
        CheckpointError: it cannot be read or written.
    """
    about = checkpoint.about(path)
    if about.threshold is None:
        model = checkpoint.load(path)
        fold(model, calibration.temperature)
        checkpoint.save(model, path, replace(about, **asdict(calibration)))


def of(path: Path) -> Calibration:
    """What a settled checkpoint was given."""
    about = checkpoint.about(path)
    return Calibration(about.temperature, about.threshold or 0.0)


@dataclass(frozen=True)
class Reliability:
    """How far stated and real accuracy lie apart.

    `ece`: the expected calibration error over `BINS` bins; `band`: where that of a perfectly calibrated model with the
    same confidences lies in 95 % of test splits of this size; `bins`: for each bin that holds answers its mean
    confidence, accuracy and count; `brier`: mean squared distance of the probabilities from the truth, 0..2;
    `coverage`: share of answers, the most confident first, and the accuracy over them.
    """

    ece: float
    band: Interval
    bins: list[tuple[float, float, int]]
    brier: float
    coverage: list[tuple[float, float]]

    @property
    def calibrated(self) -> bool:
        """Whether chance alone explains the error."""
        return self.ece <= self.band[1]


def reliability(probabilities: np.ndarray, labels: np.ndarray, seed: int = 0) -> Reliability:
    """Judge probabilities `float [N, classes]` against class indices `int [N]`; `seed` is the simulation's."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    drawn = np.random.default_rng(seed).random((DRAWS, len(labels))) < confidence
    simulated = _error(drawn, confidence, bins)
    low, high = np.percentile(simulated, [2.5, 97.5])
    truth = np.eye(probabilities.shape[1])[labels]
    order = np.argsort(-confidence, kind="stable")
    shares = np.arange(1, len(labels) + 1) / len(labels)
    steps = np.unique(np.linspace(0, len(labels) - 1, 101).round().astype(int))
    accuracy = np.cumsum(right[order]) / np.arange(1, len(labels) + 1)
    return Reliability(
        ece=float(_error(right[None], confidence, bins)[0]),
        band=(float(low), float(high)),
        bins=[
            (float(confidence[bins == k].mean()), float(right[bins == k].mean()), int((bins == k).sum()))
            for k in np.unique(bins)
        ],
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        coverage=[(float(shares[k]), float(accuracy[k])) for k in steps],
    )


def _error(right: np.ndarray, confidence: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """The calibration error of each row of `right`, `bool [R, N]`: gaps of the bins, weighted by their counts."""
    members = np.eye(BINS)[bins]
    return np.abs((right - confidence) @ members).sum(axis=1) / len(confidence)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    # The smallest float32 above 0: a softmax that rounds to 0 has no logarithm.
    return np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
