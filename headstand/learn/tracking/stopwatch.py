"""How a step divides into parts that come again and again."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

WAITING, NETWORK = "waiting for photos", "network"
"""Parts of the steps that decode photos for a network to work on: the one waits for the other."""

CACHE, COMPILING, VALIDATION = "cache", "compiling", "validation"
"""Other parts: keeping features; the first step of fine-tuning, and what is validated after each epoch."""

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by part, in `seconds`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)

    def over(self, part: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time that it takes to come by them is the part's."""
        iterator = iter(items)
        while True:
            with self(part):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add(self, part: str, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds
