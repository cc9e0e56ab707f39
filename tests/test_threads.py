import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from headstand import threads


def test_parallel_yields_results_in_order_from_all_threads() -> None:
    both = threading.Barrier(2, timeout=60)

    def double(number: int) -> int:
        both.wait()  # passes only if another call runs at the same time
        return 2 * number

    assert list(threads.parallel(double, range(6), threads=2)) == [0, 2, 4, 6, 8, 10]
    assert list(threads.parallel(double, [])) == []


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a pool has cancelled its pending calls, before it waits for those that have begun."""
    event = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            event.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", Pool)
    return event


def test_after_an_exception_calls_that_have_not_begun_are_cancelled(cancelled: threading.Event) -> None:
    begun = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("1")
        assert number == 0 or cancelled.wait(60)

    with pytest.raises(ValueError, match="1"):
        list(threads.parallel(call, range(100), threads=1))
    assert begun in ([0, 1], [0, 1, 2])


def test_calls_are_cancelled_if_the_results_are_no_longer_wanted(cancelled: threading.Event) -> None:
    begun = []

    def call(number: int) -> int:
        begun.append(number)
        assert number == 0 or cancelled.wait(60)
        return number

    results = threads.parallel(call, range(100), threads=1)
    assert next(results) == 0
    results.close()
    assert begun in ([0], [0, 1])


def test_results_wait_for_their_reader_in_limited_number() -> None:
    begun = []
    results = threads.parallel(begun.append, range(10 * threads.AHEAD), threads=1)
    for _ in range(5):
        next(results)
    assert len(begun) <= threads.AHEAD + 5
    results.close()


def test_a_labelled_call_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    def bar(results: Iterable[int], label: str, total: int, **options: object) -> Iterable[int]:
        if not options["disable"]:
            bars.append((label, total, options["unit"]))
        return results

    monkeypatch.setattr(threads, "tqdm", bar)
    assert list(threads.parallel(abs, [-1, -2], "reading", "file")) == [1, 2]
    assert list(threads.parallel(abs, [-1, -2])) == [1, 2]
    assert bars == [("reading", 2, "file")]
