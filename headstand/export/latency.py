"""How long a converted model takes for one photo, on LiteRT."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from headstand.quiet import quiet

WARM_UP = 3
"""Runs that do not count: the first ones allocate and fill the caches."""

LEAST, MOST, SECONDS = 50, 200, 1.0
"""Runs of each model that count: as many as fit into the seconds, within these bounds."""

TRIES, QUIET = 3, 0.9
"""How often it is timed where other processes take more of the processor than the rest to this share."""


@dataclass(frozen=True)
class Latency:
    """The median of some runs in milliseconds; `share` is the part of its threads' processor time that it got (1: all).

    Threads that wait for each other lower the share as other processes do.
    """

    milliseconds: float
    share: float


Clock = Callable[[bytes], Latency]


def latency(flatbuffer: bytes) -> Latency:
    """Time one model on one thread, as `latencies`."""
    return latencies([flatbuffer])[0]


def latencies(flatbuffers: Sequence[bytes], threads: int = 1) -> list[Latency]:
    """Time models on random pixels, one photo at a time; what is in the picture makes no difference.

    They run in turns, so that whatever slows the machine slows all of them. Where other processes are in the way it is
    tried again, and the try that they were least in the way of counts.

    Args:
        flatbuffers: `.tflite` models with a batch of one.
        threads: that one run may use.
    """
    interpreters = [_ready(each, threads) for each in flatbuffers]
    tries: list[list[Latency]] = []
    while len(tries) < TRIES and not (tries and _share(tries[-1]) >= QUIET):
        tries.append(_timed(interpreters, threads))
    return max(tries, key=_share)


def _ready(flatbuffer: bytes, threads: int) -> Interpreter:
    with quiet():  # LiteRT tells which delegate it made
        interpreter = Interpreter(model_content=flatbuffer, num_threads=threads)
        interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    pixels = np.random.default_rng(0).integers(0, 256, taken["shape"]).astype(taken["dtype"])
    interpreter.set_tensor(taken["index"], pixels)
    for _ in range(WARM_UP):
        interpreter.invoke()
    return interpreter


def _timed(interpreters: Sequence[Interpreter], threads: int) -> list[Latency]:
    runs: list[list[float]] = [[] for _ in interpreters]
    begin, work = time.perf_counter(), time.process_time()
    while len(runs[0]) < LEAST or (len(runs[0]) < MOST and time.perf_counter() - begin < SECONDS * len(runs)):
        for interpreter, taken in zip(interpreters, runs, strict=True):
            start = time.perf_counter()
            interpreter.invoke()
            taken.append(time.perf_counter() - start)
    # The processor time of all threads together: two of them that get half of it each have the time of one.
    processors = min(threads, os.cpu_count() or 1)
    share = min(1.0, (time.process_time() - work) / (time.perf_counter() - begin) / processors)
    return [Latency(median(taken) * 1000, share) for taken in runs]


def _share(latencies: Sequence[Latency]) -> float:
    return min(each.share for each in latencies)
