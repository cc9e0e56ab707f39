import pytest

from headstand.serve import request_context as module
from headstand.serve.request_context import RequestContext


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still; its one number is the time."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_the_time_of_a_stage_excludes_inner_stages(clock: list[float]) -> None:
    result = RequestContext(None)
    with result.stage("receive"):
        clock[0] += 1
        with result.stage("download"):
            clock[0] += 10
        clock[0] += 2
        with result.stage("download"):
            clock[0] += 20
    with result.stage("decode"):
        clock[0] += 100
    clock[0] += 1000
    assert result.seconds == {"receive": 3, "download": 30, "decode": 100} and result.elapsed == 1133


def test_a_failing_stage_is_timed(clock: list[float]) -> None:
    result = RequestContext(None)
    with pytest.raises(ValueError, match="inside"), result.stage("receive"), result.stage("download"):
        clock[0] += 5
        raise ValueError("inside")
    assert result.seconds == {"receive": 0, "download": 5}
