from collections.abc import Callable

import numpy as np
import pytest

from headstand.export import latency as latency_module
from headstand.export.latency import latencies
from tests import tiny


def test_a_model_is_timed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(latency_module, "SECONDS", 0.0)
    (timed,) = latencies([tiny.flatbuffer()])
    assert 0 < timed.milliseconds < 10_000
    assert 0 <= timed.share <= 1
    assert capfd.readouterr() == ("", "")


def test_medians_of_runs_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order, arguments = [0.0], [], []
    one, other = b"1234TFL3 one", b"1234TFL3 other"

    class Stub:
        def __init__(self, model_content: bytes, num_threads: int) -> None:
            arguments.append((model_content, num_threads))
            self.content, self.runs = model_content, 0

        def allocate_tensors(self) -> None: ...

        def get_input_details(self) -> list[dict[str, object]]:
            return [{"index": 7, "shape": np.array([1, 4, 4, 3]), "dtype": np.uint8}]

        def set_tensor(self, index: int, pixels: np.ndarray) -> None:
            assert (index, pixels.shape, pixels.dtype) == (7, (1, 4, 4, 3), np.uint8)

        def invoke(self) -> None:
            self.runs += 1
            order.append(self.content)
            # The warm-up and one of the runs are slow: neither changes the median.
            slow = self.runs <= latency_module.WARM_UP or self.runs % 10 == 8
            now[0] += 9.0 if slow else {one: 0.25, other: 0.5}[self.content]

    monkeypatch.setattr(latency_module, "Interpreter", Stub)
    monkeypatch.setattr(latency_module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(latency_module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(latency_module.time, "process_time", lambda: now[0] / 2)
    first, second = latencies([one, other], threads=2)
    assert arguments == [(one, 2), (other, 2)]
    assert (first.milliseconds, second.milliseconds) == (250.0, 500.0)
    # Half of the time of one processor, and so a quarter of that of two.
    assert (first.share, second.share) == (0.25, 0.25)
    timed = order[2 * latency_module.WARM_UP :]
    assert timed == [one, other] * (latency_module.TRIES * latency_module.LEAST)


@pytest.mark.parametrize(
    ("used", "processors", "share", "tries"),
    [(1.0, 2, 0.5, 3), (2.0, 2, 1.0, 1), (1.9, 2, 0.95, 1), (1.0, 1, 1.0, 1), (3.0, 8, 1.0, 1)],
)
def test_two_threads_need_the_time_of_two_processors(
    monkeypatch: pytest.MonkeyPatch, used: float, processors: int, share: float, tries: int
) -> None:
    now = [0.0]

    def ready(*_: object) -> Callable[[], None]:
        return lambda: now.__setitem__(0, now[0] + 1.0)

    runs = []
    real = latency_module._timed
    monkeypatch.setattr(latency_module, "_ready", ready)
    monkeypatch.setattr(latency_module, "_timed", lambda *arguments: runs.append(1) or real(*arguments))
    monkeypatch.setattr(latency_module.os, "cpu_count", lambda: processors)
    monkeypatch.setattr(latency_module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(latency_module.time, "process_time", lambda: now[0] * used)
    (found,) = latencies([b"model"], threads=2)
    assert found.share == pytest.approx(share)
    assert len(runs) == tries
