from pathlib import Path

import pytest
from google.protobuf.struct_pb2 import Struct

import headstand.tensorflow_setup  # noqa: F401 - imports TensorFlow quietly

import tensorflow as tf  # isort: skip

from headstand.heads.search import Trial
from headstand.recipe import Head
from headstand.tracking import trials


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


def test_each_trial_has_its_settings_and_figures(tmp_path: Path) -> None:
    trials.write(tmp_path, [trial(1, 0.5), trial(2, 0.75, inner=[50, 20], dropout=0.5, class_weights=False)])
    board = tmp_path / "tensorboard" / "search"
    assert sorted(path.name for path in board.iterdir()) == ["1.1", "1.2"]
    found = values(board / "1.2")
    assert [found[name][:2] for name in ("val_accuracy", "val_loss")] == [(7, 0.75), (7, 0.25)]
    metadata = found["_hparams_/session_start_info"][2]
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


def test_a_resumed_search_is_written_anew_and_only_the_best_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "MOST", 2)
    for count in (2, 4):
        trials.write(tmp_path, [trial(number, number / 10) for number in range(1, count + 1)])
    board = tmp_path / "tensorboard" / "search"
    assert sorted(path.name for path in board.iterdir()) == ["1.3", "1.4"]
    trials.write(tmp_path, [])
    assert not board.exists()
