"""The trials of a search for TensorBoard's table of hyperparameters."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf.struct_pb2 import Struct

from headstand.learn.head import KEYS, shown
from headstand.learn.search import Trial
from headstand.learn.tracking.history import BOARD, scalar

MOST = 200
"""Trials that are shown, the best ones: each is a folder of its own to TensorBoard. trials.csv has them all."""

_START = "_hparams_/session_start_info"
"""The tag under which the plugin looks for a session's settings."""


def write(folder: Path, trials: Sequence[Trial]) -> None:
    """Write `tensorboard/search/STAGE.NUMBER/` for each trial, anew: its head's values, val_accuracy and val_loss.

    Args:
        folder: the run's.
        trials: of the whole search.
    """
    board = folder / BOARD / "search"
    shutil.rmtree(board, ignore_errors=True)
    for trial in sorted(trials, key=lambda trial: trial.rank, reverse=True)[:MOST]:
        writer = tf.summary.create_file_writer(str(board / f"{trial.stage}.{trial.number}"))
        with writer.as_default(step=trial.epoch):
            tf.summary.write(_START, tf.constant(0.0), metadata=_settings(trial), step=0)
            for name, value in (("val_accuracy", trial.val_accuracy), ("val_loss", trial.val_loss)):
                tf.summary.write(name, tf.constant(value, tf.float32), metadata=scalar(name))
        writer.close()


def _settings(trial: Trial) -> tf.compat.v1.SummaryMetadata:
    """The head's values, as the plugin's `HParamsPluginData` (tensorboard/plugins/hparams/plugin_data.proto).

    TensorBoard need not be installed for it: its `SessionStartInfo` has the values in the same place, and so the same
    bytes, as protobuf's own `Struct`; it is field 3 of the message around it.
    """
    start = Struct()
    for key in KEYS:
        value = getattr(trial.head, key)
        start[key] = value if isinstance(value, bool | int | float) else shown(trial.head, key)
    content = start.SerializeToString(deterministic=True)
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "hparams"
    metadata.plugin_data.content = b"\x1a" + _varint(len(content)) + content
    metadata.data_class = 2  # DATA_CLASS_TENSOR
    return metadata


def _varint(number: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first, the eighth where more follow."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
