"""Timer of a run's steps; prints one line per step with its time and result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from headstand.tracking.resources import StepUsage, figures
from headstand.tracking.sampler import Sampler


class Steps:
    """Times steps, prints a line for each, and collects their time and memory for the report.

    `seconds` are the seconds by step; `spans` the steps with processor time and memory; `parts`, for some steps, the
    seconds by part; `photos`, for some steps, the number of photos that the network processed. Inside its `with` block
    memory is sampled (see `headstand.tracking.sampler`).
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.spans: list[StepUsage] = []
        self.parts: dict[str, dict[str, float]] = {}
        self.photos: dict[str, int] = {}
        self.sampler = Sampler()

    def __enter__(self) -> "Steps":
        self.sampler.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sampler.__exit__(kind, error, trace)

    def resources(self) -> dict[str, Any]:
        """Returns time and memory by step for report.json; see `headstand.tracking.resources.figures`."""
        return figures(self.spans, self.sampler.samples, self.sampler.cores, self.parts, self.photos)

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[str], None]]:
        """Times the block as a step; yields a function that adds a text to the line printed at the step's end."""
        result: list[str] = []
        begin, start = self.sampler.look(), time.perf_counter()
        yield result.append
        self.seconds[name] = round(time.perf_counter() - start, 2)
        self.spans.append(StepUsage(name, begin, self.sampler.look()))
        print(f"{name:<12} {self.seconds[name]:7.1f} s  {'; '.join(result)}", flush=True)
