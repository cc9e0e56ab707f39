"""Sampler of this process's memory and processor time, once a second on a thread."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType

import psutil

from headstand import cores

INTERVAL = 1.0
"""Seconds between two samples; each takes about 50 microseconds."""

MOST = 2048
"""Largest number of samples kept. Beyond it, half of them are dropped and the interval between samples doubles."""


@dataclass(frozen=True)
class ResourceSample:
    """Seconds since the sampler was created, processor seconds used since then, and resident memory in bytes."""

    time: float
    cpu: float
    memory: int


class Sampler:
    """Context manager that samples this process on a thread; `samples` are in order of time."""

    def __init__(self, interval: float = INTERVAL, most: int = MOST) -> None:
        self.samples: list[ResourceSample] = []
        self.cores = cores.available()
        self._interval, self._most = interval, most
        self._process = psutil.Process()
        self._start, self._spent = time.monotonic(), 0.0
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._spent = self._cpu()

    def __enter__(self) -> "Sampler":
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def look(self) -> ResourceSample:
        """Takes a sample now and returns it."""
        with self._lock:
            sample = ResourceSample(
                time.monotonic() - self._start, self._cpu() - self._spent, self._process.memory_info().rss
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
        pairs = [rest[place : place + 2] for place in range(0, len(rest), 2)]
        self.samples = [first, *(max(pair, key=lambda sample: sample.memory) for pair in pairs)]
        self._interval *= 2

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            self.look()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)
