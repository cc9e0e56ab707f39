import pytest

from headstand.tracking.stopwatch import Stopwatch


def test_parts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.5, 1.75, 10.0, 10.25])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch("network"):
        pass
    with watch("cache"):
        pass
    with pytest.raises(ValueError), watch("network"):
        raise ValueError
    watch.add("cache", 2.0)
    assert watch.seconds == {"network": 1.25, "cache": 2.25}


def test_what_one_waits_for_is_timed_and_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 5.0, 7.0, 9.0, 9.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    assert list(watch.over("photos", "ab")) == ["a", "b"]
    assert watch.seconds == {"photos": 3.5}
