"""Capacity limits of the server, chosen from the number of cores, and admission control that enforces them.

Without limits, a server under load runs out of memory, or responds after its clients have given up.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from headstand.cores import available
from headstand.errors import ClientError, HeadstandError

RETRY_AFTER = 1
"""Seconds after which a refused client may retry (header `Retry-After`). A full queue is processed in less."""

MAX_CONNECTIONS = 1000
"""Maximum number of client connections of a worker, even if it may open more files."""


@dataclass(frozen=True)
class Capacity:
    """Concurrency and memory limits of the server on one machine.

    Attributes:
        workers: number of processes.
        interpreters: LiteRT interpreters per worker; each decodes and classifies one image at a time.
        threads: cores that one interpreter uses.
        in_flight: predictions that a worker admits at a time, including those that wait for an interpreter.
        downloads: how many of the admitted predictions may be downloading a URL.
        body_bytes: bytes of requests and responses that a worker keeps in memory, apart from a free allowance per
            connection (`headstand/serve/worker.py`).
        batch: maximum number of images in one batch request.
    """

    workers: int
    interpreters: int
    threads: int
    in_flight: int
    downloads: int
    body_bytes: int
    batch: int


def chosen(environment: Mapping[str, str] = os.environ, cores: int | None = None) -> Capacity:
    """Returns the capacity for this machine's cores, with the values that environment variables override.

    Args:
        environment: may hold `WEB_CONCURRENCY` (workers), `HEADSTAND_INTERPRETERS`, `HEADSTAND_THREADS`,
            `HEADSTAND_IN_FLIGHT`, `HEADSTAND_BODY_MB` and `HEADSTAND_BATCH`.
        cores: number of cores; by default `available()`.

    Raises:
        HeadstandError: a value is not a whole number of at least 1.
    """
    cores = cores or available()

    def number(name: str, default: int) -> int:
        text = environment.get(name, "")
        if text and not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 10):
            raise HeadstandError(f"{name} must be a whole number of at least 1, not {text!r}")
        return int(text) if text else default

    # At least two workers, so that one responds while the other is restarted; more from 12 cores on, where the GIL of
    # one process would delay its interpreters. One core per interpreter: two images in parallel on one core each finish
    # sooner than the same two in sequence on both cores.
    workers = number("WEB_CONCURRENCY", max(2, cores // 4))
    threads = number("HEADSTAND_THREADS", 1)
    interpreters = number("HEADSTAND_INTERPRETERS", max(1, -(-cores // (workers * threads))))
    # With 16 per interpreter, the last prediction waits 16 times the time of one image: about 0.1 s.
    in_flight = number("HEADSTAND_IN_FLIGHT", 16 * interpreters)
    return Capacity(
        workers=workers,
        interpreters=interpreters,
        threads=threads,
        in_flight=in_flight,
        # A download waits for a foreign server, so downloads must not block requests that contain their image.
        downloads=max(1, in_flight // 2),
        body_bytes=number("HEADSTAND_BODY_MB", 64) * 2**20,
        batch=number("HEADSTAND_BATCH", 16),
    )


def connections(limits: Capacity, descriptors: int) -> int:
    """Returns how many client connections a worker may have open, given its limit of file descriptors.

    Args:
        limits: capacity of the worker.
        descriptors: file descriptors that a process may have open.

    Raises:
        HeadstandError: the limit leaves no descriptor for clients.
    """
    # A download needs a socket and more for the resolver; listeners, pipes, logs, libraries and shared memory need 64.
    reserved = 64 + 4 * limits.downloads
    found = min(MAX_CONNECTIONS, descriptors - reserved)
    if found < 1:
        raise HeadstandError(
            f"the limit of {descriptors} open files leaves none for clients: raise it to at least {reserved + 64} "
            "(ulimit -n), or lower HEADSTAND_IN_FLIGHT"
        )
    return found


class FifoSemaphore:
    """FIFO semaphore: threads acquire it in their order of arrival.

    With `threading.Semaphore`, a thread that arrives while a waiter wakes up overtakes it, and the waiter queues again
    at the end: under load the slowest answers took 1.5 times as long.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        """Waits until the semaphore is acquired."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # blocks until `release` releases this lock

    def release(self) -> None:
        """Releases the semaphore to the thread that has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class _Limit:
    """Context manager that counts its users up to a limit, and raises ClientError (`overloaded`) beyond it."""

    def __init__(self, limit: int, users: str) -> None:
        self._lock = threading.Lock()
        self._limit, self._users, self._count = limit, users, 0

    def __enter__(self) -> None:
        with self._lock:
            if self._count >= self._limit:
                raise ClientError(
                    "overloaded",
                    f"the service has reached its limit of {self._users} in progress; retry in {RETRY_AFTER} s",
                )
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1


class AdmissionControl:
    """Admission control: admits predictions up to the capacity and rejects others at once instead of queueing them.

    Attributes:
        admit: context manager of a prediction whose request has arrived completely; ClientError at the limit.
        download: context manager of a download; ClientError at the limit.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.admit = _Limit(capacity.in_flight, "predictions")
        self.download = _Limit(capacity.downloads, "downloads")
        self._interpreters = FifoSemaphore(capacity.interpreters)

    @contextmanager
    def interpreter(self, waiting: AbstractContextManager[None]) -> Iterator[None]:
        """Waits for a free interpreter slot and holds it while an image is decoded and classified.

        Decoding is included because decoded pixels take memory too.

        Args:
            waiting: context manager that is active while waiting.
        """
        with waiting:
            self._interpreters.acquire()
        try:
            yield
        finally:
            self._interpreters.release()
