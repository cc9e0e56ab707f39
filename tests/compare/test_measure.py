import numpy as np
import pytest

from headstand.compare import measure
from headstand.compare.measure import converted, latency
from tests import networks, tiny


def test_a_model_is_timed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    timed = latency(tiny.flatbuffer())
    assert 0 < timed.milliseconds < 10_000
    assert 0 <= timed.share <= 1
    assert capfd.readouterr() == ("", "")


def test_the_median_of_the_runs_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    now, runs, made = [0.0], [0], []

    class Stub:
        def __init__(self, model_content: bytes, num_threads: int) -> None:
            made.append((model_content, num_threads))

        def allocate_tensors(self) -> None: ...

        def get_input_details(self) -> list[dict[str, object]]:
            return [{"index": 7, "shape": np.array([1, 4, 4, 3]), "dtype": np.float32}]

        def set_tensor(self, index: int, pixels: np.ndarray) -> None:
            assert (index, pixels.shape, pixels.dtype) == (7, (1, 4, 4, 3), np.float32)

        def invoke(self) -> None:
            runs[0] += 1
            # The warm-up is slow, and so is one of the runs: neither tells in the median.
            now[0] += 9.0 if runs[0] <= measure.WARM_UP or runs[0] % 10 == 8 else 0.25

    monkeypatch.setattr(measure, "Interpreter", Stub)
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(measure.time, "process_time", lambda: now[0] / 2)
    timed = latency(b"model")
    assert made == [(b"model", 1)]
    assert (timed.milliseconds, timed.share) == (250.0, 0.5)
    assert runs[0] == measure.WARM_UP + measure.TRIES * measure.LEAST


def test_what_is_timed_is_the_converted_model(small_networks: None) -> None:
    model = networks.classifier()
    flatbuffer = converted(model)
    assert flatbuffer[4:8] == b"TFL3"
    assert len(flatbuffer) > 4 * model.count_params()
