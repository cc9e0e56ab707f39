from pathlib import Path
from types import SimpleNamespace

import pytest

from headstand import finetune
from headstand.finetune.timing_callback import TimingCallback
from headstand.prepare.manifest import Dataset
from headstand.tracking.stopwatch import Stopwatch
from tests import networks
from tests.finetune.tuned import PLAIN, SETTINGS, data

pytestmark = pytest.mark.usefixtures("small_networks")


def test_waiting_is_told_from_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 11.0, 13.0, 14.0, 20.0, 22.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    views, watch = SimpleNamespace(ready={0: -1.0}), Stopwatch()
    callback = TimingCallback(views, watch)  # type: ignore[arg-type]
    callback.on_epoch_begin(0)
    assert views.ready == {}
    views.ready |= {0: 9.5, 1: 9.9, 2: 12.5, 3: 12.6}
    for batch in range(4):  # ends at 10, 11, 13 and 14; the third is waited for from 11 to 12.5
        callback.on_train_batch_end(batch)
    callback.on_test_begin()
    callback.on_test_end()
    assert watch.seconds == {"compiling": 10.0, "waiting for photos": 1.5, "network": 2.5, "validation": 2.0}


def test_what_the_time_went_for_and_every_epoch_are_told(dataset: Dataset) -> None:
    watch, told = Stopwatch(), []
    folder = Path("run")
    folder.mkdir()
    finetune.run(
        networks.classifier(), data(dataset, "train"), SETTINGS, PLAIN, 1, folder, networks.about(dataset.digest), None,
        watch, lambda history: told.append(len(history)),
    )  # fmt: skip
    assert told == [1, 2, 3]
    assert set(watch.seconds) == {"compiling", "waiting for photos", "network"}
