import csv
from pathlib import Path

import pytest

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly

import tensorflow as tf  # isort: skip
import math
import re

from google.protobuf.struct_pb2 import Struct

from headstand.heads.search import Trial
from headstand.recipe import Head
from headstand.tracking import history
from headstand.tracking.history import History, metrics_text, write_trials

HEAD = [{"loss": 1.0, "val_accuracy": 0.5, "extra": 3.0}, {"loss": 0.5, "val_accuracy": 0.75, "extra": 2.0}]
TUNED = [{"val_accuracy": 0.8, "loss": 0.25, "gradient_norm": 4.0}]


def events(folder: Path) -> list[tuple[int, str, float]]:
    """Returns step, name and value of all scalars in the event files."""
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


COMPLETE = [
    ["phase", "epoch", "loss", "val_accuracy", "gradient_norm", "extra"],
    ["head", "1", "1.0", "0.5", "", "3.0"],
    ["head", "2", "0.5", "0.75", "", "2.0"],
    ["fine-tuning", "1", "0.25", "0.8", "4.0", ""],
]


def test_every_epoch_of_every_phase_is_written(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.write("head", HEAD)
        history.write("fine-tuning", TUNED)
    assert rows(tmp_path / "history.csv") == COMPLETE
    assert not list(tmp_path.glob("*.part"))
    assert events(tmp_path / "tensorboard" / "head") == [
        (1, "loss", 1.0), (1, "val_accuracy", 0.5), (1, "extra", 3.0),
        (2, "loss", 0.5), (2, "val_accuracy", 0.75), (2, "extra", 2.0),
    ]  # fmt: skip
    assert [name for _, name, _ in events(tmp_path / "tensorboard" / "fine-tuning")] == list(TUNED[0])


@pytest.mark.parametrize("done", [0, 1, 2])
def test_resumed_run_neither_duplicates_nor_loses_a_row(tmp_path: Path, done: int) -> None:
    with History(tmp_path) as first:
        for epoch in range(done):
            first.write("head", HEAD[: epoch + 1])
    with History(tmp_path) as resumed:
        for epoch in range(done, 2):
            resumed.write("head", HEAD[: epoch + 1])
        resumed.write("head", HEAD)
        resumed.write("fine-tuning", TUNED)
    assert rows(tmp_path / "history.csv") == COMPLETE
    assert [step for step, name, _ in events(tmp_path / "tensorboard" / "head") if name == "loss"] == [1, 2]


def test_tensorboard_recognises_the_values_as_scalars(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.write("head", HEAD)
    (path,) = (tmp_path / "tensorboard" / "head").glob("events.out.tfevents.*")
    records = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    first = {value.tag: value.metadata for event in records for value in event.summary.value if event.step == 1}
    assert {metadata.plugin_data.plugin_name for metadata in first.values()} == {"scalars"}


def test_metrics_text() -> None:
    metrics = {"loss": 0.42134, "val_accuracy": 0.862, "learning_rate": 3e-5, "gradient_norm": 12.3456}
    assert metrics_text(metrics) == "loss=0.4213 val_accuracy=0.8620 learning_rate=3e-05 gradient_norm=12.35"
    assert metrics_text({"val_loss": math.nan}) == "val_loss=nan"


def test_documented_regular_expression_reads_the_metrics() -> None:
    expression = re.search(r"`(val_accuracy=\S+)`", str(history.__doc__))
    assert expression
    line = metrics_text({"accuracy": 0.9, "val_loss": 0.1, "val_accuracy": 0.862, "test_accuracy": 0.7})
    assert re.findall(expression[1], line) == ["0.8620"]


def trial(number: int, accuracy: float, **head: object) -> Trial:
    return Trial(1, number, {}, Head.model_validate(head), accuracy, 0.25, 7)


def values(folder: Path) -> dict[str, tuple[int, float, tf.compat.v1.SummaryMetadata]]:
    (path,) = folder.glob("events.out.tfevents.*")
    return {
        value.tag: (event.step, float(tf.make_ndarray(value.tensor)), value.metadata)
        for record in tf.data.TFRecordDataset(str(path))
        for event in [tf.compat.v1.Event.FromString(record.numpy())]
        for value in event.summary.value
    }


def test_each_trial_has_its_settings_and_metrics(tmp_path: Path) -> None:
    write_trials(tmp_path, [trial(1, 0.5), trial(2, 0.75, inner=[50, 20], dropout=0.5, class_weights=False)])
    board = tmp_path / "tensorboard" / "search"
    assert sorted(path.name for path in board.iterdir()) == ["1.1", "1.2"]
    summaries = values(board / "1.2")
    assert [summaries[name][:2] for name in ("val_accuracy", "val_loss")] == [(7, 0.75), (7, 0.25)]
    metadata = summaries["_hparams_/session_start_info"][2]
    assert metadata.plugin_data.plugin_name == "hparams"
    content = metadata.plugin_data.content
    # Field 3, and a length of two bytes: more than 127.
    assert content[0] == 0x1A
    assert len(content) - 3 == (content[1] & 0x7F) + (content[2] << 7)
    settings = dict(Struct.FromString(content[3:]))
    assert settings["inner"] == "50+20"
    assert settings["dropout"] == 0.5
    assert settings["class_weights"] is False
    assert settings["epochs"] == 10
    assert settings["optimizer"] == "adam"


def test_resumed_search_is_rewritten_with_the_best_trials_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_TRIALS", 2)
    for count in (2, 4):
        write_trials(tmp_path, [trial(number, number / 10) for number in range(1, count + 1)])
    board = tmp_path / "tensorboard" / "search"
    assert sorted(path.name for path in board.iterdir()) == ["1.3", "1.4"]
    write_trials(tmp_path, [])
    assert not board.exists()
