from pathlib import Path
from typing import Any

import pytest

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly
from headstand.tracking import profile
from headstand.tracking.profile import Profile, Trace


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the profiler is told."""
    told: list[str] = []
    monkeypatch.setattr("tensorflow.profiler.experimental.start", lambda folder: told.append(Path(folder).name))
    monkeypatch.setattr("tensorflow.profiler.experimental.stop", lambda: told.append("stop"))
    return told


def test_a_trace_has_so_many_steps_and_no_more(tmp_path: Path, recorded: list[str]) -> None:
    trace = Trace(tmp_path / "head", skip=2, count=3)
    for step in range(9):
        recorded.append(str(step))
        trace.step()
    trace.close()
    assert recorded == ["0", "1", "head", "2", "3", "4", "stop", "5", "6", "7", "8"]


def test_a_short_phase_ends_its_trace(tmp_path: Path, recorded: list[str]) -> None:
    profiling = Profile(tmp_path, wanted=True)
    call = profiling.calls("features", lambda number: number + 1)
    assert call(1) == 2
    profiling.close()
    profiling.close()
    assert recorded == ["features", "stop"]
    profiling.epochs("head", 1)()  # the only epoch there is
    profiling.close()
    assert recorded[2:] == ["head", "stop"]


def test_nothing_is_traced_unless_wanted(tmp_path: Path, recorded: list[str]) -> None:
    profiling = Profile(tmp_path, wanted=False)
    call: Any = len
    assert profiling.calls("features", call) is call
    profiling.epochs("head", 5)()
    assert profiling.batches("fine-tuning") == []
    profiling.close()
    assert recorded == []


def test_the_profiler_writes_a_file_that_tensorboard_finds(tmp_path: Path) -> None:
    import tensorflow as tf

    profiling = Profile(tmp_path, wanted=True)
    multiply = profiling.calls("features", tf.function(lambda x: x @ x))
    for _ in range(profile.BATCHES + 5):
        multiply(tf.ones((8, 8)))
    profiling.close()
    (path,) = tmp_path.rglob("*.xplane.pb")
    assert path.relative_to(tmp_path).parts[:4] == ("profile", "features", "plugins", "profile")
    assert 100 < path.stat().st_size < 10_000_000
