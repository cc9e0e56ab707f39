import os

from headstand.serve.worker_load import ROWS, WorkerLoad


def test_the_least_is_that_of_the_living() -> None:
    load = WorkerLoad()
    assert load.least() == 0
    load.set(1, 5)
    load.set(ROWS + 2, 3)  # the numbers come round
    assert load.least() == 3
    load.set(2, 7)
    assert load.least() == 5
    load.remove(1)
    assert load.least() == 7


def test_a_worker_with_nothing_to_do_counts() -> None:
    load = WorkerLoad()
    load.set(1, 4)
    load.set(2, 0)
    assert load.least() == 0


def test_a_count_beyond_the_memory_is_its_largest() -> None:
    load = WorkerLoad()
    load.set(1, 10**6)
    assert load.least() == 2**16 - 2


def test_processes_share_it() -> None:
    load = WorkerLoad()
    load.set(1, 9)
    child = os.fork()
    if not child:
        load.set(1, 2)
        os._exit(0)
    os.waitpid(child, 0)
    assert load.least() == 2
