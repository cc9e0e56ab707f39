"""How soon the services answer after their process starts, and what memory they hold.

python benchmarks/serving_start.py BUNDLE.tflite [--runs 7]

For each service: seconds from the start of the process to the first answer (a 640 x 480 JPEG), milliseconds of a
later one, and resident memory after 50 answers; medians of the runs. Targets with MobileNetV2 at 224 px: 1.5 s, 350 MB.
"""

import argparse
import io
import os
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import runtime_api  # noqa: E402 - the checkout is no installed package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    model = options.bundle.resolve()
    os.chdir(ROOT)
    print(f"{model.name}, {model.stat().st_size / 2**20:.1f} MiB, {options.runs} runs, {os.cpu_count()} cores")
    print(f"{'service':<22}{'first answer s':>16}{'later answer ms':>17}{'memory MB':>11}")
    for name, once in (("gunicorn predict:app", gunicorn), ("lambda (awslambdaric)", function)):
        rows = [once(model) for _ in range(options.runs)]
        first, later, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:<22}{first:>16.2f}{later:>17.1f}{memory:>11.0f}", flush=True)


def photo() -> bytes:
    """A JPEG of 640 x 480 with enough detail to weigh what a photo does."""
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def gunicorn(model: Path) -> tuple[float, float, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    body = photo()

    def ask() -> bool:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/predict", body)
            return connection.getresponse().status == 200
        except ConnectionRefusedError:
            return False
        finally:
            connection.close()

    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "predict:app", "--bind", f"127.0.0.1:{port}", "--log-level", "error"],
        env={**os.environ, "HEADSTAND_MODEL": str(model)},
        stderr=subprocess.DEVNULL,
    )
    try:
        while not ask():
            time.sleep(0.005)
        first = time.perf_counter() - start
        later = timed(ask)
        # The worker, which holds the model; gunicorn's parent process has about 25 MB of its own.
        return first, later, max(map(resident, children(process.pid)))
    finally:
        process.terminate()
        process.wait()


def function(model: Path) -> tuple[float, float, float]:
    event = {"image": b64encode(photo()).decode()}
    start = time.perf_counter()
    with runtime_api.function(model) as server:
        runtime_api.invoke(server, event)
        first = time.perf_counter() - start
        later = timed(lambda: runtime_api.invoke(server, event))
        found = [pid for pid in children(os.getpid()) if b"awslambdaric" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return first, later, max(map(resident, found))


def timed(call: Callable[[], object], times: int = 50) -> float:
    """Median milliseconds of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def resident(pid: int) -> float:
    """Resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"no memory figure for process {pid}")


if __name__ == "__main__":
    main()
