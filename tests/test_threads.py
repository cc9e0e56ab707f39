import threading
from collections.abc import Iterable

import pytest

from headstand import threads


def test_parallel_yields_results_in_order_from_all_threads() -> None:
    both = threading.Barrier(2, timeout=60)

    def double(number: int) -> int:
        both.wait()  # passes only if another call runs at the same time
        return 2 * number

    assert list(threads.parallel(double, range(6), threads=2)) == [0, 2, 4, 6, 8, 10]
    assert list(threads.parallel(double, [])) == []


def test_after_an_exception_calls_that_have_not_begun_are_cancelled() -> None:
    begun = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("1")

    with pytest.raises(ValueError, match="1"):
        list(threads.parallel(call, range(100_000), threads=1))
    assert begun[:2] == [0, 1]
    assert len(begun) < 100_000


def test_calls_are_cancelled_if_the_results_are_no_longer_wanted() -> None:
    begun, wanted = [], threading.Event()

    def call(number: int) -> int:
        begun.append(number)
        if number == 2:
            assert wanted.wait(60)
        return number

    results = threads.parallel(call, range(1000), threads=1)
    assert next(results) == 0
    stop = threading.Timer(0, wanted.set)
    stop.start()
    results.close()
    stop.join()
    count = len(begun)
    assert count < 1000
    assert threading.active_count() == 1 or len(begun) == count


def test_results_wait_for_their_reader_in_limited_number() -> None:
    begun = []
    results = threads.parallel(begun.append, range(10 * threads.AHEAD), threads=1)
    for _ in range(5):
        next(results)
    assert len(begun) < 2 * threads.AHEAD
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
