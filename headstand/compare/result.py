"""The measurements of an entry, and the journal that keeps them across a kill."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstand.compare.entry import Entry
from headstand.stats import Outcomes


@dataclass(frozen=True)
class Score:
    """How a trained head did on the validation photos.

    `interval` is Wilson's of 95 %; `right` holds a 1 or a 0 for each photo; `features` are the seconds that the
    backbone took for training and validation photos, all of them only where `cached` of the `photos` is 0.
    """

    val_accuracy: float
    interval: tuple[float, float]
    val_loss: float
    epoch: int
    right: str = field(repr=False)
    features: float
    cached: int
    photos: int
    head: float

    @property
    def outcomes(self) -> Outcomes:
        """Which validation photos the head classified correctly."""
        return Outcomes.of(np.frombuffer(self.right.encode(), np.uint8) == ord("1"))

    @property
    def seconds(self) -> float:
        """Training time: features and head."""
        return self.features + self.head


@dataclass(frozen=True)
class Weight:
    """The converted model: `size` in bytes, `milliseconds` a photo (median, one thread), and with which weights.

    `share` is how much of one processor the measuring got; below 1 others were in its way.
    """

    size: int
    milliseconds: float
    share: float
    trained: bool

    @property
    def megabytes(self) -> float:
        return self.size / 1e6


@dataclass(frozen=True)
class Result:
    """An entry with what could be measured of it, and the reasons where something could not."""

    entry: Entry
    score: Score | None
    weight: Weight | None
    reasons: tuple[str, ...] = ()


class Journal:
    """A line for each entry that was measured whole; the others are tried again when the comparison goes on."""

    def __init__(self, path: Path, entries: tuple[Entry, ...]) -> None:
        """Read what is there; a line that a kill cut short is passed over."""
        self._path = path
        self.results: dict[Entry, Result] = {}
        known = {_key(entry): entry for entry in entries}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                record = json.loads(line)
                entry = known[record["entry"]]
                score = {**record["score"], "interval": tuple(record["score"]["interval"])}
                self.results[entry] = Result(entry, Score(**score), Weight(**record["weight"]))
            except (ValueError, KeyError, TypeError):
                continue
        if text and not text.endswith("\n"):
            path.write_text(text + "\n", encoding="utf-8")

    def add(self, result: Result) -> None:
        """Keep a result."""
        self.results[result.entry] = result
        if not (result.score and result.weight):
            return
        record = {"entry": _key(result.entry), "score": asdict(result.score), "weight": asdict(result.weight)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as JSON has it."""
    sections = {name: getattr(entry, name).model_dump(mode="json") for name in ("backbone", "augmentation", "head")}
    return {"variant": entry.variant, **sections}


def _key(entry: Entry) -> str:
    return json.dumps(plain(entry), sort_keys=True)
