"""Time of a step by part, summed over parts that repeat."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

WAITING, NETWORK = "waiting for photos", "network"
"""Parts of steps that feed photos to a network: waiting for decoded photos, and computing."""

CACHE, COMPILING, VALIDATION = "cache", "compiling", "validation"
"""Other parts: writing features to the cache; the first step of fine-tuning; validation after each epoch."""

T = TypeVar("T")


class Stopwatch:
    """Sums the time of each part of a step in `seconds`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Adds the time inside the `with` block to the part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)

    def over(self, part: str, items: Iterable[T]) -> Iterator[T]:
        """Yields the items and adds the time spent waiting for each to the part."""
        iterator = iter(items)
        while True:
            with self(part):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add(self, part: str, seconds: float) -> None:
        """Adds seconds that were measured by the caller to the part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds
