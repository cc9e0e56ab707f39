"""The corridor: each backbone once over the photos, each head trained, each architecture converted and timed."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

import keras
import numpy as np

from headstand.compare.entry import Entry
from headstand.compare.result import Journal, Result, Score, Weight
from headstand.errors import HeadstandError
from headstand.export.convert import float32 as converted
from headstand.export.latency import Clock
from headstand.learn import backbones
from headstand.learn import head as heads
from headstand.learn.backbones import BackboneError
from headstand.learn.features import Extractor
from headstand.prepare.manifest import Dataset
from headstand.recipe import Backbone
from headstand.stats import wilson

STALLED = 20.0
"""Seconds without a byte after which a download of weights has failed: without a network the race must not wait."""

CLASSES = 10
"""Outputs of a head whose classes are not known, because no data is prepared."""

T = TypeVar("T")


def check(entries: tuple[Entry, ...]) -> None:
    """Refuse unknown backbones before anything is begun.

    Raises:
        BackboneError: names the first one.
    """
    known = backbones.names()
    for entry in entries:
        if entry.backbone.name not in known:
            raise BackboneError(f"unknown backbone {entry.backbone.name!r}; there are {', '.join(known)}")


def race(
    entries: tuple[Entry, ...],
    dataset: Dataset | None,
    seed: int,
    journal: Journal,
    clock: Clock,
    tell: Callable[[Result, bool], None],
) -> list[Result]:
    """Measure every entry; what one lacks or breaks is told in its result, and the others go on.

    Only training and validation photos are looked at, never the test split.

    Args:
        entries: what is raced.
        dataset: the prepared photos; None where there are none: accuracy is not measured then.
        seed: of heads and views.
        journal: what was measured before a kill, and where it is kept.
        clock: times a flatbuffer.
        tell: called with each result, and whether it was known before.

    Returns:
        Results in the order of `entries`.
    """

    def common(entry: Entry) -> str:
        return entry.backbone.model_dump_json() + entry.augmentation.model_dump_json()

    first: dict[str, int] = {}
    for place, entry in enumerate(entries):
        first.setdefault(common(entry), place)
    for _, group in groupby(sorted(entries, key=lambda entry: first[common(entry)]), key=common):
        rows = _Rows(dataset, seed, journal)
        for entry in group:
            known = entry in journal.results
            if not known:
                journal.add(_measured(entry, rows, journal, clock))
            tell(journal.results[entry], known)
    return [journal.results[entry] for entry in entries]


class _Rows:
    """The features of one backbone, which the entries of a group share: made when first asked for, tried once."""

    def __init__(self, dataset: Dataset | None, seed: int, journal: Journal) -> None:
        self.dataset, self.seed = dataset, seed
        self.classes = len(dataset.classes) if dataset else CLASSES
        self._known, self._made = journal.results, False
        self.extractor: Extractor | None = None
        self.splits: tuple[heads.Split, heads.Split] | None = None
        self.reason, self.seconds, self.cached, self.photos = "", 0.0, 0, 0

    def make(self, entry: Entry) -> None:
        """Load the backbone and extract, unless it was done; `reason` says why there are no features."""
        if self._made:
            return
        self._made = True
        with _impatient():
            self.extractor, self.reason = _attempt(lambda: Extractor(entry.backbone))
        if self.extractor is None:
            return
        if self.dataset is None:
            self.reason = "there is no prepared data"
            return
        _, self.reason = _attempt(lambda: self._extract(entry))

    def _extract(self, entry: Entry) -> None:
        assert self.extractor and self.dataset
        start, computed, splits = time.perf_counter(), 0, []
        index = {name: place for place, name in enumerate(self.dataset.classes)}
        for name in ("train", "validation"):
            photos = self.dataset.split(name)
            found = self.extractor.rows(self.dataset.folder, photos, f"{entry.backbone.name}: {name}")
            computed, self.photos = computed + found.computed, self.photos + len(photos)
            labels = np.array([index[photo.class_] for photo in photos], np.int32)
            splits.append(heads.Split(found.rows, labels))
        if views := entry.augmentation.views:
            photos = self.dataset.split("train")
            shown = self.extractor.views(self.dataset.folder, photos, entry.augmentation, self.seed)
            computed, self.photos = computed + shown.computed, self.photos + views * len(photos)
            splits[0] = replace(splits[0], views=shown.rows)
        self.seconds, self.cached = time.perf_counter() - start, self.photos - computed
        for entry_, result in self._known.items():
            # Before the kill it was computed and timed; now it only came from the cache.
            same = entry_.backbone == entry.backbone and entry_.augmentation == entry.augmentation
            if same and result.score and result.score.cached < self.cached:
                self.seconds, self.cached = result.score.features, result.score.cached
        self.splits = splits[0], splits[1]


def _measured(entry: Entry, rows: _Rows, journal: Journal, clock: Clock) -> Result:
    rows.make(entry)
    reasons = [f"accuracy not measured: {rows.reason}"] if rows.reason else []
    score, head = None, None
    if rows.splits:
        trained, reason = _attempt(lambda: _trained(entry, rows))
        if trained:
            score, head = trained
        else:
            reasons.append(f"accuracy not measured: {reason}")
    weight = _known_weight(entry, journal)
    if weight is None:
        weight, reason = _attempt(lambda: _weighed(entry, rows, head, clock))
        if reason:
            reasons.append(f"size and latency not measured: {reason}")
    return Result(entry, score, weight, tuple(reasons))


def _trained(entry: Entry, rows: _Rows) -> tuple[Score, keras.Model]:
    assert rows.splits
    train, validation = rows.splits
    start = time.perf_counter()
    fit = heads.fit(entry.head, train, validation, rows.classes, rows.seed)
    seconds = time.perf_counter() - start
    if not np.isfinite(fit.best["val_loss"]):
        raise HeadstandError("no epoch's validation loss is a number: training diverges; try a lower rate")
    right = heads.probabilities(fit.model, validation.features).argmax(axis=1) == validation.labels
    score = Score(
        val_accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(right)),
        val_loss=fit.best["val_loss"],
        epoch=fit.best_epoch,
        right="".join("01"[int(value)] for value in right),
        features=round(rows.seconds, 2),
        cached=rows.cached,
        photos=rows.photos,
        head=round(seconds, 2),
    )
    return score, fit.model


def _known_weight(entry: Entry, journal: Journal) -> Weight | None:
    same = (known for known in journal.results.values() if known.entry.architecture == entry.architecture)
    return next((known.weight for known in same if known.weight), None)


def _weighed(entry: Entry, rows: _Rows, head: keras.Model | None, clock: Clock) -> Weight:
    """Convert and time, with random weights where there are no others: they change neither size nor operations."""
    if rows.extractor:
        extractor = rows.extractor.model
    else:
        extractor = backbones.extractor(Backbone.model_validate({**entry.backbone.model_dump(), "weights": "none"}))
    trained = head is not None
    if head is None:
        head = heads.build(entry.head, int(extractor.output.shape[1]), rows.classes, rows.seed)
    flatbuffer = converted(heads.assemble(extractor, head, "model"))
    timed = clock(flatbuffer)
    return Weight(len(flatbuffer), timed.milliseconds, timed.share, trained)


def _attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """The result, or why there is none: an error in one entry is not to end the comparison."""
    try:
        return work(), ""
    except HeadstandError as error:
        return None, str(error)
    except Exception as error:  # out of memory, whatever TensorFlow or its converter raise
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        return None, f"{type(error).__name__}: {reason}"


@contextmanager
def _impatient() -> Iterator[None]:
    """Let no download of Keras's wait for ever: it has no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
