"""How much each worker of a server has to do, in memory that all of them share."""

import mmap

PLACES = 512
"""Workers that can be told apart; gunicorn numbers them as it starts them, and the numbers come round."""


class Tally:
    """A count for each worker; made before they are forked.

    Reading and writing 16 bits is one step for the processor: nobody waits for anybody.
    """

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 2 * PLACES)).cast("H")  # 0 for nobody, else one more than the count

    def tell(self, worker: int, count: int) -> None:
        """Note how much a worker has to do."""
        self._counts[worker % PLACES] = min(count, 2**16 - 2) + 1

    def remove(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._counts[worker % PLACES] = 0

    def least(self) -> int:
        """The least that any worker has to do; 0 when there is none."""
        return min(filter(None, self._counts), default=1) - 1
