"""Cross-validation of heads: the log loss and accuracy of a head on photos that it was not trained on."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from headstand import recipe as recipes
from headstand import threads
from headstand.heads import linear, network
from headstand.heads.fitting import FeatureSplit, Fit, class_weights, refit
from headstand.recipe.search_space import with_overrides
from headstand.stats import wilson

FOLDS = 5
"""Number of folds."""

MOST = 20_000
"""Largest number of rows, views included, for which a head is trained once for each fold."""

PATIENCE = 2
"""Penalties that are no better, after which weaker ones are not tried."""

Folds = list[tuple[np.ndarray, np.ndarray]]
"""Training and held-out rows of each fold, as indices."""


@dataclass(frozen=True)
class CrossValidated:
    """A head with its predictions for held-out photos.

    Attributes:
        head: the head; for logistic regression with the selected L2 penalty as `weight_decay`.
        folds: number of folds; 1 if the validation split alone was held out.
        losses: log loss of each held-out photo, `float64 [N]`.
        correct: whether each held-out photo is classified correctly, `bool [N]`.
        spread: standard deviation of the folds' accuracies; 0 for a single fold.
        seconds: duration.
    """

    head: recipes.Head
    folds: int
    losses: np.ndarray = field(repr=False)
    correct: np.ndarray = field(repr=False)
    spread: float
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of held-out photos that are classified correctly."""
        return float(self.correct.mean())

    @property
    def record(self) -> dict[str, object]:
        """Figures for reports: accuracy with its 95 % interval and spread, log loss with its standard error."""
        return {
            "head": self.head.model_dump(mode="json"),
            "folds": self.folds,
            "photos": len(self.losses),
            "accuracy": self.accuracy,
            "interval": wilson(int(self.correct.sum()), len(self.correct)),
            "spread": self.spread,
            "log_loss": float(self.losses.mean()),
            "standard_error": standard_error(self.losses),
            "seconds": round(self.seconds, 3),
        }


def standard_error(values: np.ndarray) -> float:
    """Returns the standard error of the mean; 0 for fewer than two values."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def split_folds(train: FeatureSplit, validation: FeatureSplit, groups: np.ndarray, seed: int) -> Folds:
    """Returns folds of the rows of train and validation together; near duplicates are in one fold.

    With more than `MOST` rows, or fewer groups than folds, validation is the only held-out fold.

    Args:
        train: training split, the first rows.
        validation: validation split, the rows after them.
        groups: group of near duplicates of each row, `int [N]`.
        seed: of the assignment of groups to folds.
    """
    labels = np.concatenate([train.labels, validation.labels])
    rows, views = np.arange(len(labels)), 0 if train.views is None else len(train.views)
    if len(labels) * (1 + views) > MOST or len(np.unique(groups)) < FOLDS:
        return [(rows[: len(train.labels)], rows[len(train.labels) :])]
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        found = list(splitter.split(labels, labels, groups))
    return [fold for fold in found if len(fold[0]) and len(fold[1])]


def logistic_regression(head: recipes.Head, data: FeatureSplit, folds: Folds, classes: int) -> CrossValidated:
    """Cross-validates logistic regression and selects the L2 penalty.

    From the strongest penalty to the weakest, one replaces the one selected so far if its log loss is lower by more
    than one standard error; the path ends after `PATIENCE` penalties in a row that do not.

    Args:
        head: its class weights are used, and its `weight_decay` as the only penalty if its optimizer is `lbfgs`.
        data: train and validation together; each view of a photo is a row that is trained on and not held out.
        folds: from `split_folds`.
        classes: number of classes.

    Raises:
        FeatureValueError: features are not finite.
    """
    began = time.perf_counter()
    # The weight decay of another optimizer has another meaning.
    penalty = head.weight_decay if head.optimizer == "lbfgs" else None
    start = with_overrides(head, {"optimizer": "lbfgs", "weight_decay": penalty})
    strengths = linear.STRENGTHS if penalty is None else linear.strengths(penalty)
    weights = class_weights(data.labels, classes, head.class_weights)
    held_out = np.concatenate([fold[1] for fold in folds])
    repeats = 1 if data.views is None else 1 + len(data.views)
    path = linear.cross_validate(data.components, data.labels, weights, strengths, folds, repeats)
    chosen, probabilities, losses, waited = strengths[0], np.zeros((0, classes)), np.zeros(0), 0
    for strength, found in zip(strengths, path, strict=True):
        compared = linear.log_losses(found[held_out], data.labels[held_out])
        waited += 1
        if penalty is not None or not len(losses) or lower(compared, losses):
            chosen, probabilities, losses, waited = strength, found, compared, 0
        if waited == PATIENCE:
            break
    selected = start.model_copy(update={"weight_decay": chosen})
    return _result(selected, probabilities, data.labels, folds, time.perf_counter() - began)


def validated(head: recipes.Head, fit: Fit, validation: FeatureSplit) -> CrossValidated:
    """Returns the figures of a head that was trained on train for the photos of validation."""
    probabilities = network.probabilities(fit.model, validation.features)
    fold = np.arange(0), np.arange(len(validation.labels))
    return _result(head, probabilities, validation.labels, [fold], 0.0)


def trained(
    head: recipes.Head, selected: Fit, data: FeatureSplit, folds: Folds, classes: int, seed: int
) -> CrossValidated:
    """Cross-validates a head that is trained for the epochs that were selected for it; arguments as in `heads.refit`.

    The folds are trained in parallel.
    """
    began = time.perf_counter()
    result = np.zeros((len(data.labels), classes), np.float32)

    def fold(rows: tuple[np.ndarray, np.ndarray]) -> None:
        views = None if data.views is None else data.views[:, rows[0]]
        split = FeatureSplit(np.asarray(data.features[rows[0]]), data.labels[rows[0]], views)
        fitted = refit(head, split, classes, seed, selected)
        result[rows[1]] = network.probabilities(fitted.model, data.features[rows[1]])

    list(threads.parallel(fold, folds))
    return _result(head, result, data.labels, folds, time.perf_counter() - began)


def better(network_: CrossValidated, linear_: CrossValidated) -> bool:
    """Returns whether a head's log loss is lower than that of logistic regression by more than one standard error.

    The standard error is that of the paired difference on the same photos; otherwise the simpler head is selected
    (Breiman et al. 1984, the rule of one standard error).
    """
    if not np.isfinite(network_.losses).all():
        return False
    return lower(network_.losses, linear_.losses)


def lower(losses: np.ndarray, others: np.ndarray) -> bool:
    """Returns whether losses of the same photos are lower on average by more than one standard error."""
    difference = others - losses
    return float(difference.mean()) > standard_error(difference)


def _result(
    head: recipes.Head, probabilities: np.ndarray, labels: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]],
    seconds: float,
) -> CrossValidated:  # fmt: skip
    held_out = np.concatenate([fold[1] for fold in folds])
    correct = probabilities.argmax(axis=1) == labels
    return CrossValidated(
        head=head,
        folds=len(folds),
        losses=linear.log_losses(probabilities[held_out], labels[held_out]),
        correct=correct[held_out],
        spread=float(np.std([correct[fold[1]].mean() for fold in folds])) if len(folds) > 1 else 0.0,
        seconds=seconds,
    )
