"""Memory and processor time of this process, looked at once a second on a thread."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType

import psutil

from headstand import cores

INTERVAL = 1.0
"""Seconds between two looks; each takes some 50 microseconds."""

MOST = 2048
"""Samples that are kept. Beyond, every second one goes and the looks become half as frequent, however long a run."""


@dataclass(frozen=True)
class Sample:
    """A look: seconds since the sampler began, seconds of processor time used by then, resident memory in bytes."""

    time: float
    cpu: float
    memory: int


class Sampler:
    """Looks while it is entered; `samples` are in order of time."""

    def __init__(self, interval: float = INTERVAL, most: int = MOST) -> None:
        self.samples: list[Sample] = []
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

    def look(self) -> Sample:
        """Take a sample now."""
        with self._lock:
            sample = Sample(time.monotonic() - self._start, self._cpu() - self._spent, self._process.memory_info().rss)
            self.samples.append(sample)
            if len(self.samples) > self._most:
                self._thin()
            return sample

    def _thin(self) -> None:
        """Of each two keep the one with more memory: the peak stays, and processor time is a sum and stays right."""
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
