"""Calibration of probabilities: temperature scaling, the confidence threshold, and how well both work."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from headstand.learn import checkpoint
from headstand.stats import LEVEL, Interval, blocks, lower_bound, wilson

BINS = 15
"""Bins of equal width of the expected calibration error, as in Guo et al. 2017."""

DRAWS = 2000
"""Simulated test splits for the range of errors of a perfectly calibrated model."""

LIMITS = (0.05, 20.0)
"""Range in which the temperature is fitted."""

CLOSE = 1.05
"""Factor within which a fitted temperature counts as an end of `LIMITS`."""

FEWEST = 20
"""Fewest accepted photos that a confidence threshold is fitted to."""

CANDIDATES = 10
"""Candidate thresholds: those that accept 10 %, 20 %, ... and all of the photos. Their lower bounds hold together at
`LEVEL` (Bonferroni), so that choosing among them on the same photos does not spoil the guarantee."""


@dataclass(frozen=True)
class Calibration:
    """What is applied to a model after training, fitted on validation.

    `temperature` divides the logits. An answer whose highest probability is below `threshold` is not confident; with 0
    every answer is confident.
    """

    temperature: float
    threshold: float


def calibrate(probabilities: np.ndarray, labels: np.ndarray, target: float) -> Calibration:
    """Fit temperature and confidence threshold.

    A temperature at an end of its range is not applied: no temperature calibrates such a model, and the diagnosis
    reports it.

    Args:
        probabilities: `float [N, classes]` of the validation photos.
        labels: class indices `int [N]`.
        target: accuracy that the confident answers should have, see `threshold`.
    """
    fitted = temperature(probabilities, labels)
    if at_limit(fitted):
        fitted = 1.0
    return Calibration(fitted, threshold(tempered(probabilities, fitted), labels, target).value)


def at_limit(temperature: float) -> bool:
    """Whether a fitted temperature lies at an end of `LIMITS`, so that the true optimum lies outside."""
    low, high = LIMITS
    return temperature <= low * CLOSE or temperature >= high / CLOSE


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature within `LIMITS` with the lowest log loss (Guo et al. 2017, "On calibration").

    Targets are smoothed by 1 / (N + 2) (after Platt 1999): on a validation split without mistakes the lowest loss would
    otherwise make every answer certain, and 12 photos are no evidence of that.
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
    """Probabilities `float32 [N, classes]` after dividing the logits by the temperature."""
    scaled = _logs(probabilities) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Threshold:
    """A confidence threshold and what it guarantees.

    At confidence `level`, at least the share `at_least` of the answers whose highest probability reaches `value` is
    right, on photos of the same kind as the `photos` that it was fitted to, `accepted` of which reach it. `at_least` is
    None if there were too few photos for a bound. `target` is the accuracy that was asked for.
    """

    value: float
    target: float
    at_least: float | None
    accepted: int
    photos: int
    level: float = LEVEL

    @property
    def reached(self) -> bool:
        """Whether the guarantee is as high as the target."""
        return self.at_least is not None and self.at_least >= self.target

    @property
    def record(self) -> dict[str, Any]:
        """All of it for reports and metadata."""
        return {**asdict(self), "reached": self.reached}


def threshold(probabilities: np.ndarray, labels: np.ndarray, target: float) -> Threshold:
    """Fit the confidence threshold to the outputs of the model that is used or served.

    The lowest of `CANDIDATES` thresholds is taken whose accepted photos have an accuracy of at least `target` by a
    one-sided lower confidence bound (Clopper & Pearson 1934). If no threshold reaches the target, the one with the
    highest bound is taken; the result states what it guarantees.

    Args:
        probabilities: `float [N, classes]` on photos that the model did not learn from.
        labels: class indices `int [N]`.
        target: accuracy that the confident answers should have.
    """
    ordered = np.sort(probabilities.max(axis=1).astype(np.float64))[::-1]
    count = len(ordered)
    found: list[Threshold] = []
    for share in range(CANDIDATES, 0, -1):
        place = -(-count * share // CANDIDATES) - 1
        # No threshold can separate equal confidences, and the last candidate accepts every photo, whatever it shows.
        value = 0.0 if share == CANDIDATES else _below(ordered, place)
        one = guarantee(probabilities, labels, value, target)
        if one.at_least is not None:
            found.append(one)
    if not found:
        return Threshold(0.0, target, None, count, count)
    return next((one for one in found if one.reached), max(found, key=lambda one: one.at_least or 0.0))


def guarantee(probabilities: np.ndarray, labels: np.ndarray, value: float, target: float) -> Threshold:
    """What a threshold guarantees that was chosen on these photos.

    Args:
        probabilities: `float [N, classes]`.
        labels: class indices `int [N]`.
        value: the threshold.
        target: accuracy that was asked for.
    """
    right = probabilities.argmax(axis=1) == labels
    accepted = right[probabilities.max(axis=1) >= value]
    bound = None
    if len(accepted) >= FEWEST:
        bound = lower_bound(int(accepted.sum()), len(accepted), 1 - (1 - LEVEL) / CANDIDATES)
    return Threshold(value, target, bound, len(accepted), len(right))


def described(guarantee: Mapping[str, Any], photos: str = "validation") -> str:
    """What a threshold guarantees, in sentences.

    Args:
        guarantee: `Threshold.record`.
        photos: name of the photos that it was fitted to.
    """
    value, at_least, count = guarantee["value"], guarantee["at_least"], guarantee["photos"]
    if at_least is None:
        if value:
            return (
                f"Answers below a probability of {value:.2f} are not confident; nothing is guaranteed for the others."
            )
        return f"Every answer counts as confident: {count} {photos} photos are too few to fit a threshold."
    confident = f"Answers with a probability of {value:.2f} or more are" if value else "Every answer counts as"
    text = (
        f"{confident} confident: with {guarantee['level']:.0%} confidence, at least {at_least:.1%} of them are right "
        f"on photos of the same kind ({guarantee['accepted']} of {count} {photos} photos reach the threshold)."
    )
    if not guarantee["reached"]:
        text += f" So few photos do not guarantee the target of {guarantee['target']:.1%}."
    return text


def _below(ordered: np.ndarray, place: int) -> float:
    """A value a little below a confidence, above the next lower one: rounding does not move photos across it."""
    here = float(ordered[place])
    lower = ordered[ordered < here]
    return here - min(1e-4, (here - float(lower[0])) / 2 if len(lower) else 1e-4)


@dataclass(frozen=True)
class Sure:
    """The confident answers of a split: their share, their accuracy with its 95 % interval, and the others' accuracy.

    An accuracy is None if there are no such answers.
    """

    coverage: float
    accuracy: float | None
    interval: Interval | None
    accuracy_of_others: float | None


def sure(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> Sure:
    """Measure the answers whose highest probability reaches the threshold."""
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
    """Divide the weights of the layer `logits` by the temperature, so that clients need not know of it."""
    layer = model.get_layer("logits")
    layer.set_weights([values / np.float32(temperature) for values in layer.get_weights()])


def settle(path: Path, calibration: Calibration) -> None:
    """Save a calibration in a checkpoint, in one step; a checkpoint that has one stays as it is.

    Raises:
        CheckpointError: it cannot be read or written.
    """
    about = checkpoint.about(path)
    if about.threshold is None:
        model = checkpoint.load(path)
        fold(model, calibration.temperature)
        checkpoint.save(model, path, replace(about, **asdict(calibration)))


def of(path: Path) -> Calibration:
    """The calibration that a checkpoint was saved with."""
    about = checkpoint.about(path)
    return Calibration(about.temperature, about.threshold or 0.0)


@dataclass(frozen=True)
class Reliability:
    """How far stated probabilities and measured accuracy lie apart.

    `ece`: expected calibration error over `BINS` bins; `band`: range of that error for a perfectly calibrated model
    with the same confidences in 95 % of test splits of this size; `bins`: mean confidence, accuracy and count of each
    bin that is not empty; `brier`: mean squared distance of the probabilities from the truth, 0..2; `coverage`: shares
    of the photos, the most confident first, and the accuracy over each.
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
    """Compare probabilities `float [N, classes]` with class indices `int [N]`; `seed` is that of the simulation."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rng = np.random.default_rng(seed)
    simulated = [
        _error(rng.random((draws, len(labels))) < confidence, confidence, bins) for draws in blocks(DRAWS, len(labels))
    ]
    low, high = np.percentile(np.concatenate(simulated), [2.5, 97.5])
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


def error_described(reliability: Mapping[str, Any], count: int) -> str:
    """The calibration error and whether chance alone explains it, in sentences.

    Args:
        reliability: a `Reliability` as a dictionary.
        count: photos that it was measured on.
    """
    error, most = reliability["ece"], reliability["band"][1]
    verdict = "no sign of miscalibration" if error <= most else "a sign of miscalibration: do not rely on them"
    return (
        f"Stated probabilities and measured accuracy differ by {error:.3f} on average (expected calibration error). On "
        f"{count} photos chance alone makes up to {most:.3f}, so this is {verdict}."
    )


def _error(right: np.ndarray, confidence: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """The calibration error of each row of `right`, `bool [R, N]`: gaps of the bins, weighted by their counts."""
    members = np.eye(BINS)[bins]
    return np.abs((right - confidence) @ members).sum(axis=1) / len(confidence)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    # A softmax that rounds to 0 has no logarithm; this is the smallest positive float32.
    return np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
