"""Load on a service: wrk's clients, who keep their connections, and what they saw."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstand.errors import HeadstandError

SCRIPT = Path(__file__).with_suffix(".lua")


class LoadError(HeadstandError):
    """The load generator is missing or failed."""


@dataclass
class Load:
    """What the clients saw in so many seconds, and what it cost the service.

    `taken` are the latencies of the answers (status 200) in milliseconds; `rest` is what remains of them without
    download, decoding and inference, if the service reports these in Server-Timing. `refused` counts 503, `failed`
    every other status and broken connections. `processor` is in seconds, `memory` in MB.
    """

    clients: int
    seconds: float
    taken: list[float]
    rest: list[float]
    refused: int
    failed: int
    processor: float = 0
    memory: float = 0

    def rate(self) -> float:
        """Responses per second."""
        return len(self.taken) / self.seconds

    def p50(self) -> float:
        return percentile(self.taken, 50)

    def p99(self) -> float:
        return percentile(self.taken, 99)

    def overhead(self) -> float:
        """Median milliseconds that the service adds to its work."""
        return percentile(self.rest, 50)

    def each(self) -> float:
        """Processor milliseconds for an answer."""
        return 1000 * self.processor / max(1, len(self.taken))


def percentile(values: list[float], percent: float) -> float:
    """The percentile, not a number where there are no values."""
    return float(np.percentile(values, percent)) if values else float("nan")


def require() -> None:
    """Raises `LoadError` when wrk is not installed."""
    if not shutil.which("wrk"):
        raise LoadError("the load generator wrk is not on the PATH: on Debian and Ubuntu, `apt-get install wrk`")


def load(port: int, bodies: list[Path], clients: int, seconds: int, cores: set[int]) -> Load:
    """Send the bodies to `/predict` in turn, as fast as they are answered.

    Raises:
        LoadError: wrk failed.
    """
    # A thread for each connection: each has its own script state, which identifies its responses.
    command = ["wrk", f"-t{clients}", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}", "--", *map(str, bodies)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    if done.returncode or not done.stdout:
        raise LoadError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    refused = found["others"].count(503)
    failed = len(found["others"]) - refused + found["failed"]
    return Load(clients, found["seconds"], found["taken"], found["rest"], refused, failed)
