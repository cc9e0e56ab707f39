"""Measurements of an entry, and the journal file that preserves them if a comparison is interrupted."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstand.compare.entry import ComparisonEntry
from headstand.stats import Outcomes


@dataclass(frozen=True)
class HeadScore:
    """Validation accuracy and training time of a head.

    Attributes:
        val_accuracy: accuracy of the best epoch on the validation split.
        interval: 95 % Wilson interval of the accuracy.
        val_loss: loss of the best epoch on the validation split.
        epoch: the best epoch, from 1.
        right: `1` (correct) or `0` for each validation photo.
        features: seconds of feature extraction, without those photos whose features were cached.
        cached: number of photos whose features were cached.
        photos: number of training and validation photos, counting augmented views.
        head: seconds of head training.
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
        """Correct predictions on the validation photos."""
        return Outcomes.of(np.frombuffer(self.right.encode(), np.uint8) == ord("1"))

    @property
    def seconds(self) -> float:
        """Seconds of feature extraction and head training."""
        return self.features + self.head


@dataclass(frozen=True)
class ModelSize:
    """Size and latency of a converted model.

    Attributes:
        size: size of the flatbuffer in bytes.
        milliseconds: median latency for one photo on one thread.
        share: share of one processor's time that the measurement received; below 1 if other processes competed.
        trained: whether the head was trained; else it has random weights.
    """

    size: int
    milliseconds: float
    share: float
    trained: bool

    @property
    def megabytes(self) -> float:
        """Size in units of 10^6 bytes."""
        return self.size / 1e6


@dataclass(frozen=True)
class Result:
    """Measurements of an entry; a failed measurement is None, with its reason in `reasons`."""

    entry: ComparisonEntry
    score: HeadScore | None
    model_size: ModelSize | None
    reasons: tuple[str, ...] = ()


class ResultLog:
    """JSON Lines file with the completely measured entries; a resumed comparison repeats only the others."""

    def __init__(self, path: Path, entries: tuple[ComparisonEntry, ...]) -> None:
        """Reads an existing journal and skips invalid lines, such as one truncated by an interruption."""
        self._path = path
        self.results: dict[ComparisonEntry, Result] = {}
        known = {_key(entry): entry for entry in entries}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                record = json.loads(line)
                entry = known[record["entry"]]
                score = {**record["score"], "interval": tuple(record["score"]["interval"])}
                self.results[entry] = Result(entry, HeadScore(**score), ModelSize(**record["weight"]))
            except (ValueError, KeyError, TypeError):
                continue
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def add(self, result: Result) -> None:
        """Adds a result in memory and, if accuracy and latency are both measured, appends it to the file."""
        self.results[result.entry] = result
        if not (result.score and result.model_size):
            return
        record = {"entry": _key(result.entry), "score": asdict(result.score), "weight": asdict(result.model_size)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def plain(entry: ComparisonEntry) -> dict[str, Any]:
    """Returns an entry as a dictionary that can be written as JSON."""
    sections = {name: getattr(entry, name).model_dump(mode="json") for name in ("backbone", "augmentation", "head")}
    return {"variant": entry.variant, **sections}


def _key(entry: ComparisonEntry) -> str:
    return json.dumps(plain(entry), sort_keys=True)
