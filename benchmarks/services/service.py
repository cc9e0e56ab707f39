"""A service as the benchmark sees it: a command that listens on a port, its processes, their time and memory."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from benchmarks.services.load import Load
from headstand.errors import HeadstandError

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds to start in


class ServiceError(HeadstandError):
    """A service that does not start; the message has what it printed."""


@dataclass
class Service:
    """A way to serve, and what was measured of it.

    `command` is run as `python -m ...`, with `{port}` replaced; `first` are the seconds to the first answer, one a
    round.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    first: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)


@dataclass
class Running:
    """A started service; `first` are the seconds from its start to its first answer."""

    process: psutil.Process
    port: int
    first: float

    def tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def processor(self) -> float:
        """Processor seconds of all processes so far."""
        return sum(sum(each.cpu_times()[:2]) for each in self.tree())

    def memory(self) -> float:
        """Proportional set size of all processes in MB: a page that several share counts once."""
        return sum(each.memory_full_info().pss for each in self.tree()) / 1e6


@contextmanager
def running(service: Service, cores: set[int], body: bytes) -> Iterator[Running]:
    """Start a service on some cores, wait until it answers the body, and stop it at the end.

    Raises:
        ServiceError: it ends, or does not answer for two minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [text.replace("{port}", str(port)) for text in service.command]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **service.environment},
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        started = Running(psutil.Process(process.pid), port, 0)
        try:
            while not _answers(port, body):
                if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                    log.seek(0)
                    raise ServiceError(f"{service.name} does not start:\n{log.read().decode(errors='replace')}")
                time.sleep(0.01)
            started.first = time.perf_counter() - start
            yield started
        finally:
            rest = started.tree()[1:] if process.poll() is None else []
            process.terminate()
            _, left = psutil.wait_procs(rest, timeout=20)
            for child in left:
                child.kill()
            process.kill() if left else process.wait()


def _answers(port: int, body: bytes) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "image/jpeg"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
