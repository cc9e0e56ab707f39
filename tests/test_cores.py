import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from headstand import cores


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 6), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("9900000 100000", 6),
     ("", 6), ("odd", 6)],
)  # fmt: skip
def test_a_container_quota_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    (tmp_path / "cpu.max").write_text(text)
    assert cores.available(tmp_path / "cpu.max") == expected
    assert cores.available(tmp_path / "none") == 6


def test_without_affinity_all_cores_are_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cores.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 3)
    assert cores.available(tmp_path / "none") == 3
    monkeypatch.setattr(cores.os, "cpu_count", lambda: None)
    assert cores.available(tmp_path / "none") == 1


def test_parallel_yields_results_in_order_from_all_threads() -> None:
    both = threading.Barrier(2, timeout=60)

    def double(number: int) -> int:
        both.wait()  # passes only if another call runs at the same time
        return 2 * number

    assert list(cores.parallel(double, range(6), threads=2)) == [0, 2, 4, 6, 8, 10]
    assert list(cores.parallel(double, [])) == []


def test_after_an_exception_calls_that_have_not_begun_are_cancelled() -> None:
    begun = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("1")

    with pytest.raises(ValueError, match="1"):
        list(cores.parallel(call, range(100_000), threads=1))
    assert begun[:2] == [0, 1]
    assert len(begun) < 100_000


def test_calls_are_cancelled_if_the_results_are_no_longer_wanted() -> None:
    begun, wanted = [], threading.Event()

    def call(number: int) -> int:
        begun.append(number)
        if number == 2:
            assert wanted.wait(60)
        return number

    results = cores.parallel(call, range(1000), threads=1)
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
    results = cores.parallel(begun.append, range(10 * cores.AHEAD), threads=1)
    for _ in range(5):
        next(results)
    assert len(begun) < 2 * cores.AHEAD
    results.close()


def test_a_labelled_call_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = []

    def bar(results: Iterable[int], label: str, total: int, **options: object) -> Iterable[int]:
        if not options["disable"]:
            bars.append((label, total, options["unit"]))
        return results

    monkeypatch.setattr(cores, "tqdm", bar)
    assert list(cores.parallel(abs, [-1, -2], "reading", "file")) == [1, 2]
    assert list(cores.parallel(abs, [-1, -2])) == [1, 2]
    assert bars == [("reading", 2, "file")]
