import pytest

from headstand.tracking.steps import Steps


def test_a_step_is_timed_and_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.345, 20.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    steps = Steps()
    with steps("features") as tell:
        tell("9 photos")
        tell("all new")
    with steps("head"):
        pass
    assert steps.seconds == {"features": 2.35, "head": 0.0}
    assert capsys.readouterr().out == "features         2.4 s  9 photos; all new\nhead             0.0 s  \n"


def test_a_step_that_fails_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    with pytest.raises(ValueError, match="broken"), steps("head"):
        raise ValueError("broken")
    assert steps.seconds == {}
    assert capsys.readouterr().out == ""
