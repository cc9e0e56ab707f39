"""Throughput, latency, errors, memory and start time of Headstand's service and of common alternatives.

    python -m benchmarks.serving [CHECKPOINT.h5] [--best BUNDLE.tflite] [--rounds 3] [--seconds 3]
    python -m benchmarks.serving --soak 10

Needs wrk on the PATH and the packages of the Pipfile categories `packages` and `benchmarks`. All services have the same
MobileNetV2, receive the same JPEG bodies (rendered poses, 400 x 400) and run two worker processes:

    Flask + Keras        the original solution: gunicorn with default settings, `keras.Model.predict`
    LitServe + ONNX      two inference workers, and as many HTTP servers, its default
    FastAPI + ONNX       uvicorn with two workers
    Headstand float32    gunicorn predict:app with the same float32 model
    Headstand best       the same with the bundle given by --best

In each round the services start one after another, are warmed up and are loaded with 1, 8 and 64 keep-alive clients;
the medians over the rounds are printed. The services have two cores, the clients the others.

refused    responses with status 503; the client retries after Retry-After. Latencies are those of the other responses.
CPU ms     CPU time of the whole service per response, which is least affected by other load on the machine
MB         proportional set size of all processes of the service, at the end of the load
first s    from the start of the process to the first response
overhead   median response time of one client without download, decoding and inference, which Headstand reports in its
           Server-Timing header

--soak loads only Headstand with 8 clients for a number of minutes, and prints its memory over time.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.services import load as loads
from benchmarks.services.load import Load
from benchmarks.services.service import ROOT, Service, running
from headstand.cli import command
from headstand.errors import HeadstandError
from headstand.poses import rendered
from headstand.serve import bundle as bundles
from headstand.serve.classifier import default_model

CLIENTS = (1, 8, 64)
CORES = sorted(os.sched_getaffinity(0))
SERVICE, REST = set(CORES[:2]), set(CORES[2:] or CORES)
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--log-level", "error"]


class BenchmarkError(HeadstandError):
    """Raised for a missing package or a checkpoint that cannot be converted."""


def main(argv: list[str]) -> None:
    """Runs the benchmark with the command-line arguments."""
    parser = argparse.ArgumentParser(
        "benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", type=Path, default=ROOT / "models" / "yoga6" / "yoga6.h5")
    parser.add_argument("--best", type=Path, metavar="BUNDLE", help="the same model in a smaller format")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="length of each load (default 3)")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only this, with the model that is served")
    options = parser.parse_args(argv)
    loads.require()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the services on SIGTERM, as after Ctrl-C
    with tempfile.TemporaryDirectory() as name:
        bodies = photos(Path(name))
        size = statistics.mean(path.stat().st_size for path in bodies) / 1000
        cores = "services on cores {}, clients on {}".format(
            *(",".join(map(str, sorted(some))) for some in (SERVICE, REST))
        )
        print(f"{len(bodies)} JPEG bodies, {size:.0f} kB on average; {cores}; machine load {os.getloadavg()[0]:.1f}")
        if options.soak:
            soak(headstand("Headstand", options.best or default_model()), bodies, options.soak)
            return
        services = prepare(options.checkpoint.resolve(), options.best, Path(name))
        for number in range(options.rounds):
            for service in services:
                measure(service, bodies, options.seconds)
            print(f"round {number + 1} of {options.rounds}, machine load {os.getloadavg()[0]:.1f}", flush=True)
        report(services)


def photos(folder: Path, count: int = 16) -> list[Path]:
    """Writes rendered poses as JPEG files of about 17 kB, the size of typical web photos, and returns their paths."""
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        drawing = rendered.draw(rendered.POSES[number % len(rendered.POSES)], 1, number, 400)
        Image.fromarray(drawing.image).save(path, quality=80)
    return paths


def prepare(checkpoint: Path, best: Path | None, folder: Path) -> list[Service]:
    """Returns the services, after converting the checkpoint to the format that each of them loads.

    Raises:
        BenchmarkError: a package is missing, or the conversion failed.
    """
    missing = [name for name in ("onnxruntime", "tf2onnx", "litserve", "fastapi", "uvicorn") if not find_spec(name)]
    if missing:
        raise BenchmarkError(
            f"not installed: {', '.join(missing)}; they are in the Pipfile's category `benchmarks`: "
            '`pipenv sync --categories "packages benchmarks"` installs them'
        )
    onnx, float32 = folder / "model.onnx", folder / "float32.tflite"
    # In a subprocess, so that TensorFlow's threads and memory are released before the measurement.
    arguments = [sys.executable, "-m", "benchmarks.services.conversion", checkpoint, onnx, float32]
    if subprocess.run(arguments, cwd=ROOT, check=False).returncode:
        raise BenchmarkError(f"{checkpoint} could not be converted for the services")
    environment = {
        "BENCHMARK_H5": str(checkpoint),
        "BENCHMARK_ONNX": str(onnx),
        "BENCHMARK_LABELS": ",".join(bundles.read(float32).labels),
        # One thread for each of the two workers on two cores.
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    keras = [*GUNICORN, "--config", os.devnull, "--timeout", "120", "benchmarks.services.keras_flask:app"]
    uvicorn = ["uvicorn", "--port", "{port}", "--workers", "2", "--log-level", "error", "--no-access-log"]
    return [
        Service("Flask + Keras", keras, environment),
        Service("LitServe + ONNX", ["benchmarks.services.onnx_litserve", "{port}"], environment),
        Service("FastAPI + ONNX", [*uvicorn, "benchmarks.services.onnx_fastapi:app"], environment),
        headstand("Headstand float32", float32),
        *([headstand("Headstand best", best)] if best else []),
    ]


def headstand(name: str, bundle: Path) -> Service:
    return Service(name, [*GUNICORN, "predict:app"], {"HEADSTAND_MODEL": str(bundle.resolve())})


def measure(service: Service, bodies: list[Path], seconds: int) -> None:
    """Measures one round of a service."""
    with running(service, SERVICE, bodies[0].read_bytes()) as server:
        service.first.append(server.first)
        loads.load(server.port, bodies, 2, 1, REST)  # warm-up
        for clients in CLIENTS:
            before = server.processor()
            result = loads.load(server.port, bodies, clients, seconds, REST)
            result.processor, result.memory = server.processor() - before, server.memory()
            service.loads.append(result)


def report(services: list[Service]) -> None:
    """Prints the medians over the rounds, and the ratios of Headstand to the other services at 8 clients."""
    columns = ("answers/s", "p50 ms", "p99 ms", "refused", "failed", "CPU ms", "MB", "first s", "overhead ms")
    print(f"\n{'service':<18}{'clients':>8}" + "".join(f"{column:>{len(column) + 3}}" for column in columns))
    for service in services:
        for clients in CLIENTS:
            rows = [row for row in service.loads if row.clients == clients]
            refused, failed = sum(row.refused for row in rows), sum(row.failed for row in rows)
            cells = [f"{middle(rows, Load.rate):.1f}", f"{middle(rows, Load.p50):.1f}", f"{middle(rows, Load.p99):.1f}"]
            cells += [f"{refused}", f"{failed}", f"{middle(rows, Load.each):.2f}", f"{middle(rows, memory):.0f}"]
            if clients == CLIENTS[0]:
                cells.append(f"{statistics.median(service.first):.2f}")
                cells += [f"{middle(rows, Load.overhead):.2f}"] if rows[0].rest else []
            padded = (f"{cell:>{len(column) + 3}}" for cell, column in zip(cells, columns, strict=False))
            print(f"{service.name:<18}{clients:>8}" + "".join(padded))
    print(f"\n{'at 8 clients':<40}{'answers/s':>12}{'p99':>9}{'memory':>9}")
    for ours in services[3:]:
        for other in services[:3]:
            mine, theirs = ([row for row in each.loads if row.clients == 8] for each in (ours, other))
            rate, p99, size = (
                middle(mine, of) / (middle(theirs, of) or float("nan")) for of in (Load.rate, Load.p99, memory)
            )
            print(f"{ours.name + ' / ' + other.name:<40}{rate:>11.2f}x{p99:>8.2f}x{size:>8.2f}x")


def middle(rows: list[Load], value: Callable[[Load], float]) -> float:
    return statistics.median(map(value, rows))


def memory(row: Load) -> float:
    return row.memory


def soak(service: Service, bodies: list[Path], minutes: float) -> None:
    """Loads the service with 8 clients in intervals of 15 seconds; prints memory after each, and the trend."""
    print(f"{'minutes':>8}{'answers/s':>11}{'p99 ms':>9}{'refused':>9}{'failed':>8}{'MB':>8}")
    seen: list[tuple[float, float]] = []
    with running(service, SERVICE, bodies[0].read_bytes()) as server:
        start = time.monotonic()
        while time.monotonic() - start < 60 * minutes:
            row = loads.load(server.port, bodies, 8, 15, REST)
            seen.append(((time.monotonic() - start) / 60, server.memory()))
            print(
                f"{seen[-1][0]:>8.2f}{row.rate():>11.1f}{row.p99():>9.1f}{row.refused:>9}{row.failed:>8}"
                f"{seen[-1][1]:>8.1f}",
                flush=True,
            )
    if len(seen) > 2:
        slope = np.polyfit(*zip(*seen[1:], strict=True), 1)[0]
        print(f"after the first spell: {seen[1][1]:.1f} to {seen[-1][1]:.1f} MB, trend {slope:+.2f} MB per minute")


if __name__ == "__main__":
    command.run(main)
