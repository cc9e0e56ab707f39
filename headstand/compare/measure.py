"""Size and latency of a model as it is served: converted, on LiteRT, on one thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from headstand.export import convert
from headstand.quiet import quiet

WARM_UP = 3
"""Runs that do not count: the first ones allocate and fill the caches."""

LEAST, MOST, SECONDS = 10, 200, 1.0
"""Runs that count: as many as fit into the seconds, within these bounds."""

TRIES, QUIET = 3, 0.9
"""How often it is timed where other processes take more of the processor than the rest to this share."""


@dataclass(frozen=True)
class Latency:
    """The median of some runs in milliseconds; `share`, how much of one processor they got (1: all of it)."""

    milliseconds: float
    share: float


Clock = Callable[[bytes], Latency]


def latency(flatbuffer: bytes) -> Latency:
    """Time a model on random pixels, one photo at a time on one thread; what is in the picture makes no difference.

    Where other processes are in the way it is tried again, and the try that they were least in the way of counts.
    """
    with quiet():  # LiteRT tells which delegate it made
        interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
        interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    pixels = np.random.default_rng(0).integers(0, 256, taken["shape"]).astype(taken["dtype"])
    interpreter.set_tensor(taken["index"], pixels)
    for _ in range(WARM_UP):
        interpreter.invoke()
    tries: list[Latency] = []
    while len(tries) < TRIES and not (tries and tries[-1].share >= QUIET):
        tries.append(_timed(interpreter))
    return max(tries, key=lambda each: each.share)


def _timed(interpreter: Interpreter) -> Latency:
    runs: list[float] = []
    begin, work = time.perf_counter(), time.process_time()
    while len(runs) < LEAST or (len(runs) < MOST and time.perf_counter() - begin < SECONDS):
        start = time.perf_counter()
        interpreter.invoke()
        runs.append(time.perf_counter() - start)
    wall = time.perf_counter() - begin
    return Latency(median(runs) * 1000, min(1.0, (time.process_time() - work) / wall))


def converted(model: keras.Model) -> bytes:
    """The model as `convert_to_tflite.py` makes it, without labels and metadata (some 3 kB)."""
    return convert.float32(model)
