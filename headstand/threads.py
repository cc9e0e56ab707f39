"""Calls in parallel on threads, with progress, and cancelled by an error or an interrupt."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from headstand.cores import available

AHEAD = 1024
"""Maximum number of calls that wait or whose results wait, which limits the memory that they take."""

Item = TypeVar("Item")
Result = TypeVar("Result")


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
