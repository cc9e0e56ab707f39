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
    context = RequestContext(None)
    with context.stage("receive"):
        clock[0] += 1
        with context.stage("download"):
            clock[0] += 10
        clock[0] += 2
        with context.stage("download"):
            clock[0] += 20
    with context.stage("decode"):
        clock[0] += 100
    clock[0] += 1000
    assert context.seconds == {"receive": 3, "download": 30, "decode": 100} and context.elapsed == 1133


def test_a_failing_stage_is_timed(clock: list[float]) -> None:
    context = RequestContext(None)
    with pytest.raises(ValueError, match="inside"), context.stage("receive"), context.stage("download"):
        clock[0] += 5
        raise ValueError("inside")
    assert context.seconds == {"receive": 0, "download": 5}
