from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from headstand import heads
from headstand.heads import FeatureSplit, Fit
from headstand.recipe import Head

EMPTY = FeatureSplit(np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


class Scores:
    """Replacement of the training: metrics by a rule, and the heads that were trained.

    The rule returns a head's validation accuracy and loss; the accuracy rises to it linearly, epoch by epoch.
    """

    def __init__(self, rule: Callable[[Head], tuple[float, float]]) -> None:
        self.rule = rule
        self.heads: list[Head] = []
        self.epochs: list[int] = []
        self.crash_at: int | None = None

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> "Scores":
        monkeypatch.setattr(heads, "fit", self.fit)
        monkeypatch.setattr(heads, "fit_many", self.fit_many)
        return self

    def fit(self, head: Head, *data: Any, selection: str = "accuracy") -> Fit:
        after_epoch = data[4] if len(data) > 4 else None
        if len(self.heads) + 1 == self.crash_at:
            raise KeyboardInterrupt
        self.heads.append(head)
        self.epochs.append(0)
        accuracy, loss = self.rule(head)
        history = []
        for epoch in range(1, head.epochs + 1):
            share = epoch / head.epochs
            history.append({"val_accuracy": accuracy * share, "val_loss": loss})
            self.epochs[-1] = epoch
            if after_epoch:
                after_epoch(epoch, history[-1])
        return Fit(history, head.epochs, EMPTY.labels == 0, lambda: None)

    def fit_many(
        self,
        many: Sequence[Head],
        train: FeatureSplit,
        validation: FeatureSplit,
        classes: int,
        seed: int,
        after_fit: Any,
        selection: str = "accuracy",
    ) -> list[Fit]:
        fits = []
        for index, head in enumerate(many):
            fits.append(self.fit(head, train, validation, classes, seed))
            after_fit(index, fits[-1])
        return fits
