"""How much a worker takes on: numbers chosen from the cores, and a gate that refuses what is beyond them.

A server that takes everything on runs out of memory under load, or answers when nobody waits any more.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from headstand.cores import available
from headstand.errors import HeadstandError

RETRY_AFTER = 1
"""Seconds after which a client that was refused may come again: a full queue is worked off in less."""


MAX_CONNECTIONS = 1000
"""Most clients that a worker is connected to, however many files it may have open."""


@dataclass(frozen=True)
class Capacity:
    """What one machine does side by side.

    `workers` are processes; each has `interpreters` that decode and classify one image at a time on `threads` cores.
    A worker admits `in_flight` predictions, those that wait among them, `downloads` of which may be fetching a URL. It
    keeps `body_bytes` of requests and responses in memory, apart from a little of each connection
    (`headstand/serve/worker.py`); `batch` is the most images in one batch.
    """

    workers: int
    interpreters: int
    threads: int
    in_flight: int
    downloads: int
    body_bytes: int
    batch: int


def chosen(environment: Mapping[str, str] = os.environ, cores: int | None = None) -> Capacity:
    """The capacity for this machine, or what the environment says instead.

    Args:
        environment: may hold `WEB_CONCURRENCY` (workers), `HEADSTAND_INTERPRETERS`, `HEADSTAND_THREADS`,
            `HEADSTAND_IN_FLIGHT`, `HEADSTAND_BODY_MB` and `HEADSTAND_BATCH`.
        cores: by default `available()`.

    Raises:
        HeadstandError: a value that is no whole number of at least 1.
    """
    cores = cores or available()

    def number(name: str, default: int) -> int:
        text = environment.get(name, "")
        if text and not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 10):
            raise HeadstandError(f"{name} must be a whole number of at least 1, not {text!r}")
        return int(text) if text else default

    # Two workers, so that one answers while the other is replaced; more from 8 cores on, where the lock of one Python
    # would hold its interpreters up. One core an interpreter: two images on a core each are done sooner than the same
    # two one after the other on both.
    workers = number("WEB_CONCURRENCY", max(2, cores // 4))
    threads = number("HEADSTAND_THREADS", 1)
    interpreters = number("HEADSTAND_INTERPRETERS", max(1, -(-cores // (workers * threads))))
    # With 16 for each interpreter the last one waits 16 times as long as an image takes: some 0.1 s.
    in_flight = number("HEADSTAND_IN_FLIGHT", 16 * interpreters)
    return Capacity(
        workers=workers,
        interpreters=interpreters,
        threads=threads,
        in_flight=in_flight,
        # A URL waits for strangers: it must not keep those out who bring their image with them.
        downloads=max(1, in_flight // 2),
        body_bytes=number("HEADSTAND_BODY_MB", 64) * 2**20,
        batch=number("HEADSTAND_BATCH", 16),
    )


def connections(limits: Capacity, descriptors: int) -> int:
    """How many clients a worker may be connected to.

    Args:
        limits: what the worker does side by side.
        descriptors: file descriptors that a process may have open.

    Raises:
        HeadstandError: too few descriptors.
    """
    # A download needs a socket, and the resolver more; listeners, pipes, logs, libraries and shared memory need others.
    reserved = 64 + 4 * limits.downloads
    found = min(MAX_CONNECTIONS, descriptors - reserved)
    if found < 1:
        raise HeadstandError(
            f"the limit of {descriptors} open files leaves none for clients: raise it to at least {reserved + 64} "
            "(ulimit -n), or lower HEADSTAND_IN_FLIGHT"
        )
    return found


class OverloadedError(HeadstandError):
    """More than a worker takes on; the client may come again in `RETRY_AFTER` seconds."""

    code = "overloaded"


class Turns:
    """A semaphore that serves in the order of arrival.

    With `threading.Semaphore` whoever comes while a waiter wakes up goes first, and the waiter back to the end: under
    load the slowest answers took half as long again.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        """Wait for a turn."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        called.acquire()  # until whoever hands the turn on releases it

    def release(self) -> None:
        """Hand the turn to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class Gate:
    """Lets as many predictions in as the capacity says, and refuses the next one at once instead of queueing it."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._requests = self._downloads = 0
        self._turns = Turns(capacity.interpreters)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for a prediction whose request has arrived completely.

        Raises:
            OverloadedError: all places are taken.
        """
        with self._lock:
            if self._requests >= self._capacity.in_flight:
                raise OverloadedError(f"the service works on as much as it can; come again in {RETRY_AFTER} s")
            self._requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1

    @contextmanager
    def download(self) -> Iterator[None]:
        """Hold a place for a download.

        Raises:
            OverloadedError: there is none.
        """
        with self._lock:
            if self._downloads >= self._capacity.downloads:
                raise OverloadedError(f"the service downloads as much as it can; come again in {RETRY_AFTER} s")
            self._downloads += 1
        try:
            yield
        finally:
            with self._lock:
                self._downloads -= 1

    @contextmanager
    def turn(self, waiting: AbstractContextManager[None]) -> Iterator[None]:
        """Wait for an interpreter, and keep it while an image is decoded and classified: pixels take memory too.

        Args:
            waiting: entered while waiting.
        """
        with waiting:
            self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()
