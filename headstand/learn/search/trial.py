"""A head that was tried, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstand.errors import HeadstandError
from headstand.learn import head as heads
from headstand.recipe import Head
from headstand.stats import Outcomes


class SearchError(HeadstandError):
    """A search that cannot go on: a head that cannot be, or an earlier run that is not there."""


@dataclass(frozen=True)
class Trial:
    """One head that was tried.

    `stage` is its stage or job and `number` its place there, both from 1; `values` are what the search set, by
    parameter; `val_accuracy` and `val_loss` are those of the best `epoch` (from 1); `curve` is the validation accuracy
    of every epoch; `pruned`, whether it was stopped early; `seconds`, what it took (where several trained side by side,
    the time since the one before was done); `right`, which validation photos the head classified correctly, as `packed`
    writes it; empty if unknown.
    """

    stage: int
    number: int
    values: dict[str, Any]
    head: Head
    val_accuracy: float
    val_loss: float
    epoch: int
    curve: tuple[float, ...] = ()
    pruned: bool = False
    seconds: float = field(default=0.0, compare=False)
    right: str = field(default="", repr=False)

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Higher is better, as for epochs (`headstand.learn.head.rank`)."""
        return heads.rank({"val_accuracy": self.val_accuracy, "val_loss": self.val_loss})

    @property
    def objective(self) -> float:
        """What a search climbs (`headstand.learn.head.objective`)."""
        return heads.objective({"val_accuracy": self.val_accuracy, "val_loss": self.val_loss})

    def outcomes(self, photos: int) -> Outcomes:
        """The head's outcomes on `photos` validation photos, by photo if they are known."""
        if not self.right:
            return Outcomes.counted(self.val_accuracy, photos)
        return Outcomes.of(np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8), count=photos).astype(bool))

    @property
    def words(self) -> str:
        """What the search set, in a line."""
        return " ".join(f"{name}={shown(value)}" for name, value in self.values.items())


def packed(right: np.ndarray) -> str:
    """`bool [N]` as hexadecimal digits of a bit for each photo: 6 KB for 24,000 photos."""
    return np.packbits(right).tobytes().hex()


def shown(value: Any) -> str:
    """A searched value as people write it."""
    if isinstance(value, tuple | list):
        return "+".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best(trials: Sequence[Trial]) -> Trial | None:
    """The first of the best among those that were trained to the end; None where there is none."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: trial.rank, default=None)
