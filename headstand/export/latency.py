"""Measures the latency of a converted model for one photo on LiteRT, or of an ONNX model on ONNX Runtime."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from headstand.export import onnx_file
from headstand.quiet import quiet

_IDENTIFIER = b"TFL3"
"""File identifier of a `.tflite` flatbuffer, at its fourth byte."""

WARM_UP = 3
"""Runs before the measurement: the first ones allocate memory and fill the caches."""

LEAST, MOST, SECONDS = 50, 200, 1.0
"""Bounds on the measured runs per model, and the seconds per model that they may take between these bounds."""

TRIES, QUIET = 3, 0.9
"""Largest number of measurements, and the CPU share at which a measurement counts as undisturbed by other processes."""


@dataclass(frozen=True)
class Latency:
    """Median run time in milliseconds, and the CPU share during the measurement.

    `share` is the CPU time received divided by the CPU time available to its threads (1: all). Threads that wait for
    each other lower it just as other processes do.
    """

    milliseconds: float
    share: float


Clock = Callable[[Sequence[bytes], int], Sequence[Latency]]
"""Function with the arguments and the result of `latencies`."""


def latencies(flatbuffers: Sequence[bytes], threads: int = 1) -> list[Latency]:
    """Measures models on random pixels, one photo at a time; run time does not depend on the image content.

    The models run in alternation, so that other load affects all of them equally. A measurement disturbed by other
    processes is repeated, and the one with the highest CPU share is returned.

    Args:
        flatbuffers: `.tflite` models with batch size 1, or ONNX models.
        threads: threads per run.
    """
    runs = [_ready(each, threads) for each in flatbuffers]
    measured: list[list[Latency]] = []
    while len(measured) < TRIES and not (measured and _share(measured[-1]) >= QUIET):
        measured.append(_timed(runs, threads))
    return max(measured, key=_share)


def _ready(flatbuffer: bytes, threads: int) -> Callable[[], object]:
    """Returns a function that runs a model on random pixels, after it has run a few times."""
    run = _litert(flatbuffer, threads) if flatbuffer[4:8] == _IDENTIFIER else onnx_file.repeated(flatbuffer, threads)
    for _ in range(WARM_UP):
        run()
    return run


def _litert(flatbuffer: bytes, threads: int) -> Callable[[], object]:
    with quiet():  # LiteRT logs the delegate it creates
        interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
        interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    pixels = np.random.default_rng(0).integers(0, 256, details["shape"]).astype(details["dtype"])
    interpreter.set_tensor(details["index"], pixels)
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


def _timed(functions: Sequence[Callable[[], object]], threads: int) -> list[Latency]:
    runs: list[list[float]] = [[] for _ in functions]
    begin, work = time.perf_counter(), time.process_time()
    while len(runs[0]) < LEAST or (len(runs[0]) < MOST and time.perf_counter() - begin < SECONDS * len(runs)):
        for function, times in zip(functions, runs, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    # process_time sums over all threads, so the available CPU time is the wall time times the threads.
    processors = min(threads, os.cpu_count() or 1)
    share = min(1.0, (time.process_time() - work) / (time.perf_counter() - begin) / processors)
    return [Latency(median(times) * 1000, share) for times in runs]


def _share(latencies: Sequence[Latency]) -> float:
    return min(each.share for each in latencies)
