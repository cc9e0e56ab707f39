"""The number of busy connections of each worker, in memory that all processes of a server share."""

import mmap

ROWS = 512
"""Workers that can be told apart; gunicorn numbers them as it starts them, and the numbers are taken modulo this."""


class WorkerLoad:
    """One count for each worker; created before the workers are forked.

    Reading and writing 16 bits is one step for the processor, so no lock is needed.
    """

    def __init__(self) -> None:
        # 0 means that there is no such worker; otherwise one more than its count.
        self._counts = memoryview(mmap.mmap(-1, 2 * ROWS)).cast("H")

    def set(self, worker: int, count: int) -> None:
        """Store the number of busy connections of a worker."""
        self._counts[worker % ROWS] = min(count, 2**16 - 2) + 1

    def remove(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._counts[worker % ROWS] = 0

    def least(self) -> int:
        """The lowest count of any worker; 0 when there is none."""
        return min(filter(None, self._counts), default=1) - 1
