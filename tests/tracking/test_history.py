import csv
from pathlib import Path

import pytest

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly

import tensorflow as tf  # isort: skip

from headstand.tracking.history import History

HEAD = [{"loss": 1.0, "val_accuracy": 0.5, "zeal": 3.0}, {"loss": 0.5, "val_accuracy": 0.75, "zeal": 2.0}]
TUNED = [{"val_accuracy": 0.8, "loss": 0.25, "gradient_norm": 4.0}]


def events(folder: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of all that event files hold."""
    return [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)))
        for path in sorted(folder.glob("events.out.tfevents.*"))
        for record in tf.data.TFRecordDataset(str(path))
        for event in [tf.compat.v1.Event.FromString(record.numpy())]
        for value in event.summary.value
    ]


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


WHOLE = [
    ["phase", "epoch", "loss", "val_accuracy", "gradient_norm", "zeal"],
    ["head", "1", "1.0", "0.5", "", "3.0"],
    ["head", "2", "0.5", "0.75", "", "2.0"],
    ["fine-tuning", "1", "0.25", "0.8", "4.0", ""],
]


def test_every_epoch_of_every_phase_is_written(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.tell("head", HEAD)
    history.tell("fine-tuning", TUNED)
    history.close()
    assert rows(tmp_path / "history.csv") == WHOLE
    assert not list(tmp_path.glob("*.part"))
    assert events(tmp_path / "tensorboard" / "head") == [
        (1, "loss", 1.0), (1, "val_accuracy", 0.5), (1, "zeal", 3.0),
        (2, "loss", 0.5), (2, "val_accuracy", 0.75), (2, "zeal", 2.0),
    ]  # fmt: skip
    assert [name for _, name, _ in events(tmp_path / "tensorboard" / "fine-tuning")] == list(TUNED[0])


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_resumed_run_neither_doubles_nor_loses_a_line(tmp_path: Path, done: int) -> None:
    first = History(tmp_path)
    for epoch in range(done):
        first.tell("head", HEAD[: epoch + 1])
    first.close()
    again = History(tmp_path)
    for epoch in range(done, 2):
        again.tell("head", HEAD[: epoch + 1])
    again.tell("head", HEAD)
    again.tell("fine-tuning", TUNED)
    again.close()
    assert rows(tmp_path / "history.csv") == WHOLE
    assert [step for step, name, _ in events(tmp_path / "tensorboard" / "head") if name == "loss"] == [1, 2]


def test_tensorboard_takes_the_values_for_curves(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.tell("head", HEAD)
    history.close()
    (path,) = (tmp_path / "tensorboard" / "head").glob("events.out.tfevents.*")
    records = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    first = {value.tag: value.metadata for event in records for value in event.summary.value if event.step == 1}
    assert {metadata.plugin_data.plugin_name for metadata in first.values()} == {"scalars"}
