"""The lines that a run prints: each step with its time and result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Steps:
    """Times steps, prints a line for each, and keeps the seconds for the report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[str], None]]:
        """Time a step; what it yields is called with the words that tell the result."""
        result: list[str] = []
        start = time.perf_counter()
        yield result.append
        self.seconds[name] = round(time.perf_counter() - start, 2)
        print(f"{name:<12} {self.seconds[name]:7.1f} s  {'; '.join(result)}", flush=True)
