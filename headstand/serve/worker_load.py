"""Number of busy connections of each worker, in memory shared by all processes of a server."""

import mmap

ROWS = 512
"""Number of counters; a worker's index is the number that gunicorn gave it, modulo this."""


class WorkerLoad:
    """Shared-memory array with one count per worker; create it before the workers are forked.

    Reading and writing 16 bits is atomic, so no lock is needed.
    """

    def __init__(self) -> None:
        # 0 means that there is no such worker; otherwise the value is its count plus one.
        self._counts = memoryview(mmap.mmap(-1, 2 * ROWS)).cast("H")

    def set(self, worker: int, count: int) -> None:
        """Stores the number of busy connections of a worker."""
        self._counts[worker % ROWS] = min(count, 2**16 - 2) + 1

    def remove(self, worker: int) -> None:
        """Removes the count of a worker that has ended."""
        self._counts[worker % ROWS] = 0

    def least(self) -> int:
        """Returns the lowest count of any worker; 0 if there is no worker."""
        return min(filter(None, self._counts), default=1) - 1
