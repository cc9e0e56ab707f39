from pathlib import Path

import pytest

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly
from headstand.tracking import profile
from headstand.tracking.profile import Trace, trace


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Calls of the profiler: the name of the folder at a start, "stop" at a stop."""
    calls: list[str] = []
    monkeypatch.setattr("tensorflow.profiler.experimental.start", lambda folder: calls.append(Path(folder).name))
    monkeypatch.setattr("tensorflow.profiler.experimental.stop", lambda: calls.append("stop"))
    return calls


def test_trace_records_the_given_number_of_steps(tmp_path: Path, recorded: list[str]) -> None:
    recording = Trace(tmp_path / "head", skip=2, count=3)
    for step in range(9):
        recorded.append(str(step))
        recording.step()
    recording.close()
    assert recorded == ["0", "1", "head", "2", "3", "4", "stop", "5", "6", "7", "8"]


def test_end_of_the_block_stops_the_trace(tmp_path: Path, recorded: list[str]) -> None:
    with trace(tmp_path, "features", enabled=True) as step:
        step()
    step()  # after the end it records nothing more
    assert recorded == ["features", "stop"]
    with trace(tmp_path, "head", enabled=True, skip=0, count=1) as step:
        step(1, {"loss": 0.5})
    assert recorded[2:] == ["head", "stop"]
    with pytest.raises(ValueError), trace(tmp_path, "fine-tuning", enabled=True, skip=0):
        raise ValueError
    assert recorded[4:] == ["fine-tuning", "stop"]


def test_steps_after_an_early_end_do_not_start_a_recording(tmp_path: Path, recorded: list[str]) -> None:
    with trace(tmp_path, "features", enabled=True, skip=2) as step:
        step()
    step()
    assert recorded == []


def test_disabled_trace_records_nothing(tmp_path: Path, recorded: list[str]) -> None:
    with trace(tmp_path, "features", enabled=False, skip=0) as step:
        step(1)
    assert recorded == []


def test_profiler_writes_a_file_that_tensorboard_finds(tmp_path: Path) -> None:
    import tensorflow as tf

    multiply = tf.function(lambda x: x @ x)
    with trace(tmp_path, "features", enabled=True) as step:
        for _ in range(profile.BATCHES + 5):
            multiply(tf.ones((8, 8)))
            step()
    (path,) = tmp_path.rglob("*.xplane.pb")
    assert path.relative_to(tmp_path).parts[:4] == ("profile", "features", "plugins", "profile")
    assert 100 < path.stat().st_size < 10_000_000
