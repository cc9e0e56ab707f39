"""Calibration of probabilities: temperature scaling, confidence threshold, expected calibration error."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from headstand.heads import checkpoint
from headstand.stats import LEVEL, Interval, blocks, lower_bound, wilson

BINS = 15
"""Number of bins of equal width in the expected calibration error, as in Guo et al. 2017."""

DRAWS = 2000
"""Number of simulated test splits for the range of calibration errors of a perfectly calibrated model."""

LIMITS = (0.05, 20.0)
"""Range of the fitted temperature."""

CLOSE = 1.05
"""Factor within which a fitted temperature counts as equal to an end of `LIMITS`."""

FEWEST = 20
"""Minimum number of photos above a confidence threshold for a bound of their accuracy."""

CANDIDATES = 10
"""Number of candidate thresholds: those that accept 10 %, 20 %, ... and all of the photos. Their lower bounds hold
simultaneously at `LEVEL` (Bonferroni), so that selecting one on the same photos keeps the guarantee valid."""


@dataclass(frozen=True)
class Calibration:
    """Temperature and confidence threshold of a model, fitted on the validation split.

    `temperature` divides the logits. A prediction whose highest probability is below `threshold` is not confident; with
    0 every prediction is confident.
    """

    temperature: float
    threshold: float


def calibrate(probabilities: np.ndarray, labels: np.ndarray, target: float) -> Calibration:
    """Returns temperature and confidence threshold, fitted to predictions on the validation split.

    A temperature at an end of its range is replaced by 1: no temperature calibrates such a model, and the diagnosis
    reports it.

    Args:
        probabilities: outputs for the validation photos, `float [N, classes]`.
        labels: class indices, `int [N]`.
        target: required accuracy of the confident predictions, see `threshold`.
    """
    fitted = temperature(probabilities, labels)
    if at_limit(fitted):
        fitted = 1.0
    return Calibration(fitted, threshold(tempered(probabilities, fitted), labels, target).value)


def at_limit(temperature: float) -> bool:
    """Returns whether a fitted temperature lies at an end of `LIMITS`, so that the true optimum lies outside."""
    low, high = LIMITS
    return temperature <= low * CLOSE or temperature >= high / CLOSE


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature within `LIMITS` with the lowest log loss (Guo et al. 2017, "On calibration").

    Targets are smoothed by 1 / (N + 2) (after Platt 1999). Without smoothing, the fit on a validation split without
    mistakes would make every probability 1, for which 12 photos are no evidence.

    Args:
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
    """
    logs = _logs(probabilities)
    count, classes = probabilities.shape
    others = 1 / (count + 2) / (classes - 1)
    targets = np.full((count, classes), others)
    targets[np.arange(count), labels] = 1 - others * (classes - 1)

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - (scaled * targets).sum(axis=1)).mean())

    found = minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded")
    return float(np.exp(found.x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns probabilities `float32 [N, classes]` after division of the logits by the temperature."""
    return softmax(_logs(probabilities) / temperature, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Threshold:
    """Confidence threshold with a lower bound of the accuracy of predictions that reach it.

    The bound holds for photos of the same kind as those that the threshold was fitted to.

    Attributes:
        value: lowest top probability of a confident prediction.
        target: required accuracy of the confident predictions.
        at_least: lower bound of their accuracy; None if there were too few photos for a bound.
        accepted: number of fitting photos that reach the threshold.
        photos: number of fitting photos.
        level: confidence level of the bound.
    """

    value: float
    target: float
    at_least: float | None
    accepted: int
    photos: int
    level: float = LEVEL

    @property
    def reached(self) -> bool:
        """Whether the lower bound reaches the target."""
        return self.at_least is not None and self.at_least >= self.target

    @property
    def record(self) -> dict[str, Any]:
        """All fields and `reached` as a dictionary, for reports and metadata."""
        return {**asdict(self), "reached": self.reached}


def threshold(probabilities: np.ndarray, labels: np.ndarray, target: float) -> Threshold:
    """Returns the confidence threshold, fitted to the outputs of the model that is used or served.

    Selects the lowest of `CANDIDATES` thresholds for which a one-sided lower confidence bound (Clopper & Pearson 1934)
    of the accuracy reaches `target`. If none does, selects the one with the highest bound; the result contains it.

    Args:
        probabilities: outputs for photos that the model was not trained on, `float [N, classes]`.
        labels: class indices, `int [N]`.
        target: required accuracy of the confident predictions.
    """
    ordered = np.sort(probabilities.max(axis=1).astype(np.float64))[::-1]
    count = len(ordered)
    candidates: list[Threshold] = []
    for share in range(CANDIDATES, 0, -1):
        index = -(-count * share // CANDIDATES) - 1
        # A threshold cannot separate equal confidences. The first candidate is 0, which accepts every input.
        value = 0.0 if share == CANDIDATES else _below(ordered, index)
        candidate = guarantee(probabilities, labels, value, target)
        if candidate.at_least is not None:
            candidates.append(candidate)
    if not candidates:
        return Threshold(0.0, target, None, count, count)
    highest = max(candidates, key=lambda candidate: candidate.at_least or 0.0)
    return next((candidate for candidate in candidates if candidate.reached), highest)


def guarantee(probabilities: np.ndarray, labels: np.ndarray, value: float, target: float) -> Threshold:
    """Returns a threshold with the lower bound of its accuracy, valid for a threshold selected on these photos.

    Args:
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
        value: the threshold.
        target: required accuracy of the confident predictions.
    """
    right = probabilities.argmax(axis=1) == labels
    accepted = right[probabilities.max(axis=1) >= value]
    bound = None
    if len(accepted) >= FEWEST:
        bound = lower_bound(int(accepted.sum()), len(accepted), 1 - (1 - LEVEL) / CANDIDATES)
    return Threshold(value, target, bound, len(accepted), len(right))


def described(guarantee: Mapping[str, Any], photos: str = "validation") -> str:
    """Returns sentences that state the guaranteed accuracy of a confidence threshold.

    Args:
        guarantee: a `Threshold.record`.
        photos: name of the split that the threshold was fitted to.
    """
    value, at_least, count = guarantee["value"], guarantee["at_least"], guarantee["photos"]
    if at_least is None:
        if value:
            return (
                f"Predictions with a probability below {value:.2f} are not confident. No minimum accuracy is known for "
                "the others."
            )
        return f"Every prediction counts as confident: {count} {photos} photos are too few to fit a threshold."
    confident = f"Predictions with a probability of {value:.2f} or more are" if value else "Every prediction counts as"
    text = (
        f"{confident} confident: with {guarantee['level']:.0%} confidence, their accuracy on photos of the same kind "
        f"is at least {at_least:.1%} ({guarantee['accepted']} of {count} {photos} photos reach the threshold)."
    )
    if not guarantee["reached"]:
        text += f" This lower bound is below the target of {guarantee['target']:.1%}; more photos may raise it."
    return text


def sentences(
    metrics: Mapping[str, Any], calibration: Mapping[str, Any], confident: Mapping[str, Any], photos: str
) -> list[str]:
    """Returns sentences on calibration error, temperature, guaranteed and measured accuracy above the threshold.

    Args:
        metrics: a `SplitMetrics` as a dictionary.
        calibration: `temperature`, `threshold` and, for a training run, `guarantee` (a `Threshold.record`).
        confident: a `ConfidentShare` of the same photos as a dictionary.
        photos: description of the photos, such as "the test split".
    """
    temperature, threshold, guarantee = (calibration.get(key) for key in ("temperature", "threshold", "guarantee"))
    found = [error_described(metrics["reliability"], metrics["count"])]
    if temperature == 1:
        found.append("No temperature was applied to the logits.")
    else:
        found.append(f"The model divides its logits by a temperature of {temperature:.3f}, fitted on validation.")
    if guarantee:
        found.append(described(guarantee))
    if threshold and confident["accuracy"] is not None:
        low, high = confident["interval"]
        others = confident["accuracy_of_others"]
        found.append(
            f"On {photos}, {confident['coverage']:.0%} of the predictions have a probability of {threshold:.2f} or "
            f"more; their accuracy is {confident['accuracy']:.3f} ({low:.3f} to {high:.3f})"
            + ("." if others is None else f", that of the others {others:.3f}.")
        )
    return found


def _below(ordered: np.ndarray, index: int) -> float:
    """Returns a threshold slightly below the confidence at an index and above the next lower confidence.

    The margin prevents rounding from moving photos across the threshold.

    Args:
        ordered: confidences in descending order, `float64 [N]`.
        index: index of the confidence.
    """
    confidence = float(ordered[index])
    lower = ordered[ordered < confidence]
    return confidence - min(1e-4, (confidence - float(lower[0])) / 2 if len(lower) else 1e-4)


@dataclass(frozen=True)
class ConfidentShare:
    """Share and accuracy of the confident predictions of a split, and the accuracy of the other predictions.

    `interval` is the 95 % Wilson interval of `accuracy`. Accuracy and interval are None without such predictions.
    """

    coverage: float
    accuracy: float | None
    interval: Interval | None
    accuracy_of_others: float | None


def confident_share(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> ConfidentShare:
    """Returns share and accuracy of the predictions whose highest probability reaches the threshold.

    Args:
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
        threshold: lowest top probability of a confident prediction.
    """
    right = probabilities.argmax(axis=1) == labels
    reached = probabilities.max(axis=1) >= threshold
    confident, others = right[reached], right[~reached]
    return ConfidentShare(
        coverage=float(reached.mean()),
        accuracy=float(confident.mean()) if len(confident) else None,
        interval=wilson(int(confident.sum()), len(confident)) if len(confident) else None,
        accuracy_of_others=float(others.mean()) if len(others) else None,
    )


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Saves a calibration in a checkpoint atomically; a checkpoint that has one is not changed.

    Raises:
        CheckpointError: the file cannot be read or written.
    """
    if checkpoint.metadata(path).threshold is None:
        checkpoint.calibrate(path, calibration.temperature, calibration.threshold)


def of(path: Path) -> Calibration:
    """Returns the calibration saved in a checkpoint."""
    metadata = checkpoint.metadata(path)
    return Calibration(metadata.temperature, metadata.threshold or 0.0)


@dataclass(frozen=True)
class Reliability:
    """Calibration metrics: how far predicted probabilities differ from the measured accuracy.

    Attributes:
        ece: expected calibration error over `BINS` bins.
        band: range of that error for a perfectly calibrated model with the same confidences, in 95 % of test splits of
            this size.
        bins: mean confidence, accuracy and count of each bin that is not empty.
        brier: Brier score, the mean squared distance of the probabilities from the one-hot labels, 0..2.
        coverage: shares of the photos, the most confident first, each with the accuracy over that share.
    """

    ece: float
    band: Interval
    bins: list[tuple[float, float, int]]
    brier: float
    coverage: list[tuple[float, float]]

    @property
    def calibrated(self) -> bool:
        """Whether random variation alone can explain the error: it does not exceed the upper end of `band`."""
        return self.ece <= self.band[1]


def reliability(probabilities: np.ndarray, labels: np.ndarray, seed: int = 0) -> Reliability:
    """Returns calibration metrics of probabilities.

    Args:
        probabilities: `float [N, classes]`.
        labels: class indices, `int [N]`.
        seed: seed of the simulated test splits.
    """
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
    """Returns sentences that state the calibration error and whether random variation alone can explain it.

    Args:
        reliability: a `Reliability` as a dictionary.
        count: number of photos that it was measured on.
    """
    error, most = reliability["ece"], reliability["band"][1]
    verdict = "no sign of miscalibration" if error <= most else "a sign of miscalibration, do not rely on them"
    return (
        f"Predicted probabilities and measured accuracy differ by {error:.3f} on average (expected calibration error, "
        f"ECE). On {count} photos random variation alone causes an ECE of up to {most:.3f}: this is {verdict}."
    )


def _error(right: np.ndarray, confidence: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Returns the expected calibration error of R sets of outcomes, `[R]`: gaps of the bins, weighted by their counts.

    Args:
        right: correct predictions, measured or simulated, `bool [R, N]`.
        confidence: highest probability of each photo, `float64 [N]`.
        bins: bin index of each photo, `int [N]`.
    """
    members = np.eye(BINS)[bins]
    return np.abs((right - confidence) @ members).sum(axis=1) / len(confidence)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    # A softmax output may round to 0, whose logarithm is infinite; `tiny` is the smallest normal float32.
    return np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
