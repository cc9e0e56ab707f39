"""Learning rate schedules of head training."""

from collections.abc import Sequence

import numpy as np

from headstand import recipe as recipes

WAIT = 2
"""Epochs without a lower validation loss after which `plateau` lowers the learning rate.

It is small because heads train for 10 to 30 epochs.
"""

FACTOR = 0.5
"""Factor by which `plateau` multiplies the learning rate."""


def rates(head: recipes.Head, steps: int, history: Sequence[dict[str, float]]) -> np.ndarray:
    """Returns the learning rates of the next epoch's steps, `float32 [steps]`.

    Cosine decays from the recipe's rate to zero over all epochs (Loshchilov & Hutter 2017, without restarts).

    Args:
        head: `schedule`, `learning_rate` and `epochs` are read.
        steps: steps in an epoch.
        history: the metrics of the epochs so far; `plateau` reads `val_loss`.
    """
    if head.schedule == "cosine":
        done = np.arange(len(history) * steps, (len(history) + 1) * steps) / (head.epochs * steps)
        return (head.learning_rate * (1 + np.cos(np.pi * done)) / 2).astype(np.float32)
    rate = head.learning_rate
    if head.schedule == "plateau":
        rate *= FACTOR ** _plateaus([figures["val_loss"] for figures in history])
    return np.full(steps, rate, np.float32)


def _plateaus(losses: Sequence[float]) -> int:
    """Returns how many times `WAIT` epochs passed without a loss lower than all before."""
    lowest, waited, count = np.inf, 0, 0
    for loss in losses:
        waited += 1
        if loss < lowest:
            lowest, waited = loss, 0
        if waited == WAIT:
            waited, count = 0, count + 1
    return count
