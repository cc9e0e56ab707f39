import os

from headstand.serve.tally import PLACES, Tally


def test_the_least_is_that_of_the_living() -> None:
    tally = Tally()
    assert tally.least() == 0
    tally.tell(1, 5)
    tally.tell(PLACES + 2, 3)  # the numbers come round
    assert tally.least() == 3
    tally.tell(2, 7)
    assert tally.least() == 5
    tally.remove(1)
    assert tally.least() == 7


def test_a_worker_with_nothing_to_do_counts() -> None:
    tally = Tally()
    tally.tell(1, 4)
    tally.tell(2, 0)
    assert tally.least() == 0


def test_a_count_beyond_the_memory_is_its_largest() -> None:
    tally = Tally()
    tally.tell(1, 10**6)
    assert tally.least() == 2**16 - 2


def test_processes_share_it() -> None:
    tally = Tally()
    tally.tell(1, 9)
    child = os.fork()
    if not child:
        tally.tell(1, 2)
        os._exit(0)
    os.waitpid(child, 0)
    assert tally.least() == 2
