"""The CPU cores available to this process: their number, and calls in parallel on them."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

AHEAD = 1024
"""Maximum number of calls that wait or whose results wait, which limits the memory that they take."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def available(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Returns the number of CPU cores: the process affinity (Linux) or all cores, limited by the container's quota.

    Args:
        quota: cgroup file with a container's CPU quota and its period, in microseconds.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(limit) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit
        return cores


def parallel(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    progress: str = "",
    unit: str = "photo",
    threads: int | None = None,
) -> Iterator[Result]:
    """Yields `function(item)` for each item in order, computed by threads.

    After an exception, of a call or an interrupt by the user, calls that have not begun are cancelled.

    Args:
        function: does most of its work without Python's global lock, such as reading, decoding and linear algebra.
        items: its arguments.
        progress: label of a progress bar on standard error, shown if that is a terminal; no bar without a label.
        unit: name of an item in the progress bar.
        threads: number of threads; by default the number of available cores.
    """
    pool = ThreadPoolExecutor(threads or available())

    def results() -> Iterator[Result]:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    try:
        yield from tqdm(results(), progress, len(items), unit=unit, leave=False, disable=None if progress else True)
    finally:
        pool.shutdown(cancel_futures=True)
