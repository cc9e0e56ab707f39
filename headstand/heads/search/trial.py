"""A trial of the search: one head with its settings and results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstand import heads as heads
from headstand.errors import HeadstandError
from headstand.recipe import Head
from headstand.stats import Outcomes


class SearchError(HeadstandError):
    """Raised when a search cannot continue: invalid head settings, or a run to warm-start from is missing."""


@dataclass(frozen=True)
class Trial:
    """One trained head with the settings and results of its training.

    Attributes:
        stage: number of the stage or job, from 1.
        number: number of the trial in its stage or job, from 1.
        values: the values that the search set, by parameter.
        head: the head with these values.
        val_accuracy: validation accuracy of the best epoch.
        val_loss: validation loss of the best epoch.
        epoch: the best epoch, from 1.
        curve: validation accuracy of every epoch.
        pruned: whether the trial was stopped early.
        seconds: training time; for heads trained in parallel, the time since the previous one was finished.
        right: which validation photos the head classified correctly, encoded by `packed`; empty if unknown.
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
        """Sort key, higher is better, as for epochs (`headstand.heads.rank`)."""
        return heads.rank({"val_accuracy": self.val_accuracy, "val_loss": self.val_loss})

    @property
    def objective(self) -> float:
        """The value that a search maximises (`headstand.heads.objective`)."""
        return heads.objective({"val_accuracy": self.val_accuracy, "val_loss": self.val_loss})

    def outcomes(self, photos: int) -> Outcomes:
        """Returns the head's outcomes on `photos` validation photos, by photo if they are known."""
        if not self.right:
            return Outcomes.counted(self.val_accuracy, photos)
        return Outcomes.of(np.unpackbits(np.frombuffer(bytes.fromhex(self.right), np.uint8), count=photos).astype(bool))

    @property
    def words(self) -> str:
        """The values that the search set, in one line."""
        return " ".join(f"{name}={shown(value)}" for name, value in self.values.items())


def packed(right: np.ndarray) -> str:
    """Returns `bool [N]` as a hexadecimal bit string with one bit per photo: 6 KB for 24,000 photos."""
    return np.packbits(right).tobytes().hex()


def shown(value: Any) -> str:
    """Returns a searched value as text: `100+50` or `none` for a list or tuple, four significant digits for a float."""
    if isinstance(value, tuple | list):
        return "+".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def best(trials: Sequence[Trial]) -> Trial | None:
    """Returns the best trial that was not pruned, the first among equals; None if there is none."""
    return max((trial for trial in trials if not trial.pruned), key=lambda trial: trial.rank, default=None)
