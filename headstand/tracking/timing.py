"""Time, CPU utilisation and memory of a run by step, and time of a step by part."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import psutil

from headstand import cores

INTERVAL = 1.0
"""Seconds between two samples; each takes about 50 microseconds."""

MOST = 2048
"""Largest number of samples kept. Beyond it, half of them are dropped and the interval between samples doubles."""

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


@dataclass(frozen=True)
class ResourceSample:
    """Seconds since the sampler was created, processor seconds used since then, and resident memory in bytes."""

    time: float
    cpu: float
    memory: int


class Sampler:
    """Context manager that samples time, CPU and memory of this process on a thread; `samples` are in order of time."""

    def __init__(self, interval: float = INTERVAL, most: int = MOST) -> None:
        self.samples: list[ResourceSample] = []
        self.cores = cores.available()
        self._interval, self._most = interval, most
        self._process = psutil.Process()
        self._start, self._start_cpu = time.monotonic(), self._cpu()
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> "Sampler":
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.sample()

    def sample(self) -> ResourceSample:
        """Takes a sample now and returns it."""
        with self._lock:
            sample = ResourceSample(
                time.monotonic() - self._start, self._cpu() - self._start_cpu, self._process.memory_info().rss
            )
            self.samples.append(sample)
            if len(self.samples) > self._most:
                self._thin()
            return sample

    def _thin(self) -> None:
        """Keeps the sample with more memory of each pair and doubles the interval.

        The memory peak is kept, and processor time stays correct because it is cumulative.
        """
        first, *rest = self.samples
        pairs = [rest[index : index + 2] for index in range(0, len(rest), 2)]
        self.samples = [first, *(max(pair, key=lambda sample: sample.memory) for pair in pairs)]
        self._interval *= 2

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self.sample()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class StepUsage:
    """A step of a run: its name, and the resource samples at its beginning and end."""

    name: str
    begin: ResourceSample
    end: ResourceSample

    @property
    def seconds(self) -> float:
        return self.end.time - self.begin.time

    def share(self, cores: int) -> float:
        """Returns the mean CPU utilisation of the step as a share of `cores` processors."""
        return (self.end.cpu - self.begin.cpu) / (self.seconds * cores) if self.seconds else 0.0

    def peak(self, samples: Sequence[ResourceSample]) -> int:
        """Returns the largest sampled resident memory of the step, in bytes."""
        within = (sample.memory for sample in samples if self.begin.time <= sample.time <= self.end.time)
        return max([self.begin.memory, self.end.memory, *within])


class Steps:
    """Times steps, prints a line for each, and collects their time and memory for the report.

    `seconds` are the seconds by step; `spans` the steps with processor time and memory; `parts`, for some steps, the
    seconds by part; `photos`, for some steps, the number of photos that the network processed. Inside its `with` block
    memory is sampled (see `Sampler`).
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

    @contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[str], None]]:
        """Times the block as a step; yields a function that adds a text to the line printed at the step's end."""
        texts: list[str] = []
        begin, start = self.sampler.sample(), time.perf_counter()
        yield texts.append
        self.seconds[name] = round(time.perf_counter() - start, 2)
        self.spans.append(StepUsage(name, begin, self.sampler.sample()))
        print(f"{name:<12} {self.seconds[name]:7.1f} s  {'; '.join(texts)}", flush=True)

    def resources(self) -> dict[str, Any]:
        """Returns the resources of the run and of each of its steps for report.json.

        Returns:
            `cores`, `peak_memory` in bytes, and `steps`: by name `seconds`, `cpu` (mean share of the cores),
            `peak_memory`, where known `parts` (seconds by part) and `photos` with `photos_per_second`.
        """
        samples, cores = self.sampler.samples, self.sampler.cores
        steps: dict[str, Any] = {}
        for span in self.spans:
            step: dict[str, Any] = {
                "seconds": round(span.seconds, 3),
                "cpu": round(span.share(cores), 3),
                "peak_memory": span.peak(samples),
            }
            if parts := self.parts.get(span.name):
                step["parts"] = {part: round(seconds, 3) for part, seconds in parts.items()}
            if photos := self.photos.get(span.name):
                step["photos"] = photos
                step["photos_per_second"] = round(photos / span.seconds, 1) if span.seconds else None
            steps[span.name] = step
        peak = max((sample.memory for sample in (*samples, *(span.end for span in self.spans))), default=0)
        return {"cores": cores, "peak_memory": peak, "steps": steps}
