import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.errors import ClientError, HeadstandError
from headstand.serve.capacity import AdmissionControl, Capacity, FifoSemaphore, chosen, connections
from tests.serve.service import until

LIMITS = Capacity(workers=1, interpreters=2, threads=1, in_flight=3, downloads=1, body_bytes=100, batch=4)


@pytest.mark.parametrize(
    ("cores", "workers", "interpreters"),
    [(1, 2, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (8, 2, 4), (16, 4, 4), (64, 16, 4)],
)
def test_workers_and_interpreters_follow_the_cores(cores: int, workers: int, interpreters: int) -> None:
    found = chosen({}, cores)
    assert (found.workers, found.interpreters, found.threads) == (workers, interpreters, 1)
    assert found.in_flight == 16 * interpreters and found.downloads == 8 * interpreters
    assert found.body_bytes == 64 * 2**20 and found.batch == 16


@given(st.integers(1, 256), st.integers(1, 32), st.integers(1, 8))
def test_every_core_has_an_interpreter(cores: int, workers: int, threads: int) -> None:
    found = chosen({"WEB_CONCURRENCY": str(workers), "HEADSTAND_THREADS": str(threads)}, cores)
    assert found.workers == workers and found.threads == threads
    assert found.workers * found.interpreters * found.threads >= cores
    assert found.workers * (found.interpreters - 1) * found.threads < cores


def test_the_environment_overrides_the_defaults() -> None:
    environment = {
        "WEB_CONCURRENCY": "3", "HEADSTAND_INTERPRETERS": "5", "HEADSTAND_THREADS": "2", "HEADSTAND_IN_FLIGHT": "1",
        "HEADSTAND_BODY_MB": "7", "HEADSTAND_BATCH": "9",
    }  # fmt: skip
    assert chosen(environment, 4) == Capacity(3, 5, 2, 1, 1, 7 * 2**20, 9)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "1e3", "٣", "9" * 20, " 1"])
def test_an_invalid_number_is_an_error_with_its_name(value: str) -> None:
    with pytest.raises(HeadstandError, match="HEADSTAND_BATCH must be a whole number of at least 1"):
        chosen({"HEADSTAND_BATCH": value}, 4)


def test_connections_follow_the_descriptors() -> None:
    limits = chosen({}, cores=2)
    assert limits.downloads == 8
    assert [connections(limits, descriptors) for descriptors in (1024, 256, 97, 10**6)] == [928, 160, 1, 1000]
    with pytest.raises(HeadstandError, match="96 open files leaves none for clients: raise it to at least 160"):
        connections(limits, 96)


def test_admission_stops_at_the_limit() -> None:
    control = AdmissionControl(LIMITS)
    for _ in range(2):  # released slots can be used again
        with ExitStack() as inside:
            for _ in range(3):
                inside.enter_context(control.admit)
            with pytest.raises(ClientError, match="retry in 1 s"), control.admit:
                pass


def test_an_exception_releases_all_slots() -> None:
    control = AdmissionControl(replace(LIMITS, in_flight=1))
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), control.admit, control.download:
            raise ValueError("inside")
    with control.admit, control.download:
        pass


def test_downloads_have_their_own_limit() -> None:
    control = AdmissionControl(LIMITS)
    with control.download:
        with pytest.raises(ClientError, match="downloads"), control.download:
            pass
        with control.admit:
            pass


def test_at_most_one_thread_per_interpreter_runs() -> None:
    control, lock = AdmissionControl(LIMITS), threading.Lock()
    waiting: list[str] = []
    counts: list[int] = []
    inside = 0

    @contextmanager
    def recorded() -> Iterator[None]:
        waiting.append("in")
        yield
        waiting.append("out")

    def work() -> None:
        nonlocal inside
        for _ in range(50):
            with control.interpreter(recorded()):
                with lock:
                    inside += 1
                    counts.append(inside)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(counts) <= 2 and len(counts) == 300 and waiting.count("in") == waiting.count("out") == 300


def test_the_semaphore_is_first_in_first_out() -> None:
    turns, order = FifoSemaphore(1), []
    turns.acquire()

    def take(number: int) -> None:
        turns.acquire()
        order.append(number)
        turns.release()

    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads, start=1):
        thread.start()
        until(lambda number=number: len(turns._waiting) == number)
    turns.release()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_later_thread_does_not_overtake_a_waiting_one() -> None:
    turns = FifoSemaphore(1)
    done, late = threading.Event(), threading.Event()
    turns.acquire()

    def wait() -> None:
        turns.acquire()
        done.wait()
        turns.release()

    def acquire() -> None:
        turns.acquire()
        late.set()
        turns.release()

    waiter, later = threading.Thread(target=wait), threading.Thread(target=acquire)
    waiter.start()
    until(lambda: len(turns._waiting) == 1)
    turns.release()
    later.start()  # while the waiter may still be waking up
    until(lambda: len(turns._waiting) == 1)
    assert not late.is_set()
    done.set()
    waiter.join()
    later.join()
    assert late.is_set()
