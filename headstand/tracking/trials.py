"""Writer of search trials for TensorBoard's HParams dashboard."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from google.protobuf.struct_pb2 import Struct

from headstand.heads import KEYS, shown
from headstand.heads.search import Trial
from headstand.tracking.history import BOARD, scalar

MOST = 200
"""Largest number of trials written, the best ones: TensorBoard needs a folder for each. trials.csv has them all."""

_START = "_hparams_/session_start_info"
"""Tag under which the HParams plugin expects a session's settings."""


def write(folder: Path, trials: Sequence[Trial]) -> None:
    """Writes each trial's head settings, val_accuracy and val_loss to `tensorboard/search/STAGE.NUMBER/`.

    Replaces everything written before.

    Args:
        folder: the run's folder.
        trials: trials of the whole search.
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
    """Returns a head's settings as `HParamsPluginData` (tensorboard/plugins/hparams/plugin_data.proto).

    It works without TensorBoard installed. The plugin's `SessionStartInfo`, field 3 of the message, has its values in
    the same field as protobuf's own `Struct`, so both serialize to the same bytes.
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
    """Returns a number as a protobuf varint: seven bits per byte, lowest first; the eighth bit means more follow."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
