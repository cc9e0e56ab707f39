"""Measures the entries of a comparison: extracts features, trains each head, converts and times each architecture.

Features are extracted once for each pair of backbone and augmentation. Each architecture is converted and timed once.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

import keras
import numpy as np

from headstand import heads
from headstand.compare.entry import ComparisonEntry
from headstand.compare.result import HeadScore, ModelSize, Result, ResultLog
from headstand.errors import HeadstandError
from headstand.evaluation.predictions import class_indices
from headstand.export.tflite_conversion import float32 as converted
from headstand.export.latency import Clock
from headstand.features import Extractor, backbones
from headstand.preparation.manifest import Dataset
from headstand.recipe import Backbone
from headstand.stats import wilson

STALLED = 20.0
"""Socket timeout in seconds for downloads of weights, so that a comparison without network does not hang."""

CLASSES = 10
"""Number of classes of a head if no data are prepared, so that the classes are not known."""

T = TypeVar("T")


def measure(
    entries: tuple[ComparisonEntry, ...],
    dataset: Dataset | None,
    seed: int,
    journal: ResultLog,
    clock: Clock,
    log: Callable[[Result, bool], None],
) -> list[Result]:
    """Returns measurements of every entry; a failed measurement is recorded in the result and does not stop the others.

    Only the training and validation splits are used, never the test split.

    Args:
        entries: the candidates.
        dataset: the prepared dataset; None if there is none, so that accuracy is not measured.
        seed: seed of head training and augmentation.
        journal: measurements of an interrupted comparison; new ones are added to it.
        clock: function that measures the latencies of flatbuffers.
        log: callback for each result; its second argument is whether the result is from an earlier start.

    Returns:
        Results in the order of `entries`.
    """

    def common(entry: ComparisonEntry) -> str:
        return entry.backbone.model_dump_json() + entry.augmentation.model_dump_json()

    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        first.setdefault(common(entry), index)
    for _, group in groupby(sorted(entries, key=lambda entry: first[common(entry)]), key=common):
        rows = EntryFeatures(dataset, seed, journal.results)
        for entry in group:
            known = entry in journal.results
            if not known:
                journal.add(_measured(entry, rows, journal, clock))
            log(journal.results[entry], known)
    return [journal.results[entry] for entry in entries]


class EntryFeatures:
    """Features of one backbone and augmentation, shared by several entries; computed on first use, attempted once."""

    def __init__(self, dataset: Dataset | None, seed: int, known: Mapping[ComparisonEntry, Result]) -> None:
        self.dataset, self.seed = dataset, seed
        self.classes = len(dataset.classes) if dataset else CLASSES
        self._known, self._computed = known, False
        self.extractor: Extractor | None = None
        self.splits: tuple[heads.FeatureSplit, heads.FeatureSplit] | None = None
        self.reason, self.seconds, self.cached, self.photos = "", 0.0, 0, 0

    def compute(self, entry: ComparisonEntry) -> None:
        """Loads the backbone and extracts features on the first call; on failure, `reason` has the cause."""
        if self._computed:
            return
        self._computed = True
        with _socket_timeout():
            self.extractor, self.reason = attempt(lambda: Extractor(entry.backbone))
        if self.extractor is None:
            return
        if self.dataset is None:
            self.reason = "the data are not prepared"
            return
        _, self.reason = attempt(lambda: self._extract(entry))

    def _extract(self, entry: ComparisonEntry) -> None:
        assert self.extractor and self.dataset
        start, computed, splits = time.perf_counter(), 0, []
        for name in ("train", "validation"):
            photos = self.dataset.split(name)
            found = self.extractor.rows(self.dataset.folder, photos, f"{entry.backbone.name}: {name}")
            computed, self.photos = computed + found.computed, self.photos + len(photos)
            splits.append(heads.FeatureSplit(found.rows, class_indices(self.dataset, photos)))
        if views := entry.augmentation.views:
            photos = self.dataset.split("train")
            found = self.extractor.views(self.dataset.folder, photos, entry.augmentation, self.seed)
            computed, self.photos = computed + found.computed, self.photos + views * len(photos)
            splits[0] = replace(splits[0], views=found.rows)
        self.seconds, self.cached = time.perf_counter() - start, self.photos - computed
        for known, result in self._known.items():
            # If an interrupted comparison computed more of the features, its time is used instead of the cache's.
            same = known.backbone == entry.backbone and known.augmentation == entry.augmentation
            if same and result.score and result.score.cached < self.cached:
                self.seconds, self.cached = result.score.features, result.score.cached
        self.splits = splits[0], splits[1]


def _measured(entry: ComparisonEntry, rows: EntryFeatures, journal: ResultLog, clock: Clock) -> Result:
    rows.compute(entry)
    reasons = [f"accuracy not measured: {rows.reason}"] if rows.reason else []
    score, head = None, None
    if rows.splits:
        trained, reason = attempt(lambda: _trained(entry, rows))
        if trained:
            score, head = trained
        else:
            reasons.append(f"accuracy not measured: {reason}")
    same = (known for known in journal.results.values() if known.entry.architecture == entry.architecture)
    size = next((known.model_size for known in same if known.model_size), None)
    if size is None:
        size, reason = attempt(lambda: model_size(entry, rows, head, clock))
        if reason:
            reasons.append(f"size and latency not measured: {reason}")
    return Result(entry, score, size, tuple(reasons))


def _trained(entry: ComparisonEntry, rows: EntryFeatures) -> tuple[HeadScore, keras.Model]:
    assert rows.splits
    train, validation = rows.splits
    start = time.perf_counter()
    fit = heads.fit(entry.head, train, validation, rows.classes, rows.seed)
    seconds = time.perf_counter() - start
    if not np.isfinite(fit.best["val_loss"]):
        raise HeadstandError("no epoch has a finite validation loss: training diverges; try a lower learning rate")
    right = heads.probabilities(fit.model, validation.features).argmax(axis=1) == validation.labels
    score = HeadScore(
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


def model_size(entry: ComparisonEntry, rows: EntryFeatures, head: keras.Model | None, clock: Clock) -> ModelSize:
    """Returns size and latency of the converted model.

    Random weights replace those that are not available, which changes neither size nor operations.
    """
    if rows.extractor:
        extractor = rows.extractor.feature_model
    elif entry.backbone.network_file:
        raise HeadstandError("the network is not available")
    else:
        extractor = backbones.extractor(Backbone.model_validate({**entry.backbone.model_dump(), "weights": "none"}))
    trained = head is not None
    if head is None:
        head = heads.build(entry.head, int(extractor.output.shape[1]), rows.classes, rows.seed)
    flatbuffer = converted(heads.assemble(extractor, head, "model"))
    (timed,) = clock([flatbuffer], 1)
    return ModelSize(len(flatbuffer), timed.milliseconds, timed.share, trained)


def attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """Returns the result of a function and an empty reason, or None and the reason for the failure.

    All exceptions are caught, because an error in one entry must not end the comparison.
    """
    try:
        return work(), ""
    except HeadstandError as error:
        return None, str(error)
    except Exception as error:  # TensorFlow and its converter raise many types, also when memory is exhausted
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        return None, f"{type(error).__name__}: {reason}"


@contextmanager
def _socket_timeout() -> Iterator[None]:
    """Sets the default socket timeout to `STALLED` for a block, because downloads in Keras have no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALLED)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
