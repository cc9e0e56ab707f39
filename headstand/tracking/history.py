"""Metrics by epoch in `history.csv`, in TensorBoard event files and on standard output; trials in TensorBoard.

Standard output is read by people and by the regular expressions of cloud tuners: `val_accuracy=([0-9.]+)` reads the
validation accuracy; several lines have it, the last is that of the selected model.
"""

from headstand import tensorflow_setup  # noqa: F401, I001 - before the first import of Keras

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import tensorflow as tf
from google.protobuf.struct_pb2 import Struct

from headstand import files
from headstand.heads import KEYS, setting_text
from headstand.heads.search import Trial

CSV = "history.csv"
BOARD = "tensorboard"
"""Folder of event files, with a subfolder for each phase: `tensorboard --logdir runs` shows them."""

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "gradient_norm")
"""Metrics that are the first columns of `history.csv`, in this order; others follow sorted by name."""

MOST_TRIALS = 200
"""Largest number of trials written, the best ones: TensorBoard needs a folder for each. trials.csv has them all."""

_SESSION_START = "_hparams_/session_start_info"
"""Tag under which the HParams plugin expects a session's settings."""

Epochs = Sequence[Mapping[str, float]]


class History:
    """Context manager that writes the metrics of all epochs of a run, by phase.

    `write` always receives a phase from its first epoch on, as the training itself stores it. A resumed run therefore
    rewrites earlier epochs and neither duplicates nor loses a row.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._phases: dict[str, list[dict[str, float]]] = {}
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def __enter__(self) -> "History":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    def write(self, phase: str, epochs: Epochs) -> None:
        """Writes the new epochs of a phase to the CSV file and to TensorBoard.

        Args:
            phase: head, fine-tuning or refit.
            epochs: the metrics of all epochs of the phase so far.
        """
        known = len(self._phases.get(phase, ()))
        self._phases[phase] = [dict(metrics) for metrics in epochs]
        self._write_csv()
        writer = self._writer(phase)
        for number, metrics in enumerate(epochs[known:], start=known + 1):
            with writer.as_default(step=number):
                for name, value in metrics.items():
                    _write_scalar(name, value)
        writer.flush()

    def _writer(self, phase: str) -> tf.summary.SummaryWriter:
        if phase not in self._writers:
            folder = self._folder / BOARD / phase
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            self._writers[phase] = tf.summary.create_file_writer(str(folder))
        return self._writers[phase]

    def _write_csv(self) -> None:
        names = {name for epochs in self._phases.values() for metrics in epochs for name in metrics}
        columns = [*(name for name in METRICS if name in names), *sorted(names - set(METRICS))]
        with files.replacing(self._folder / CSV) as part, part.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["phase", "epoch", *columns])
            table.writeheader()
            for phase, epochs in self._phases.items():
                for number, metrics in enumerate(epochs, start=1):
                    table.writerow({"phase": phase, "epoch": number, **metrics})


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Returns metrics as `loss=0.4213 val_accuracy=0.8620 ...`.

    Losses and accuracies have four decimals, other metrics four significant digits.
    """
    return " ".join(
        f"{name}={value:.4f}" if name.endswith(("loss", "accuracy")) else f"{name}={value:.4g}"
        for name, value in metrics.items()
    )


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Writes each trial's head settings, val_accuracy and val_loss to `tensorboard/search/STAGE.NUMBER/`.

    Replaces everything written before. TensorBoard shows the trials in its HParams dashboard.

    Args:
        folder: the run's folder.
        trials: trials of the whole search.
    """
    board = folder / BOARD / "search"
    shutil.rmtree(board, ignore_errors=True)
    for trial in sorted(trials, key=lambda trial: trial.rank, reverse=True)[:MOST_TRIALS]:
        writer = tf.summary.create_file_writer(str(board / f"{trial.stage}.{trial.number}"))
        with writer.as_default(step=trial.epoch):
            tf.summary.write(_SESSION_START, tf.constant(0.0), metadata=_settings(trial), step=0)
            _write_scalar("val_accuracy", trial.val_accuracy)
            _write_scalar("val_loss", trial.val_loss)
        writer.close()


def _write_scalar(name: str, value: float) -> None:
    """Writes a scalar summary as `tf.summary.scalar`, which requires TensorBoard, would write it."""
    metadata = tf.compat.v1.SummaryMetadata(display_name=name)
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR of tensorboard/compat/proto/summary.proto
    tf.summary.write(name, tf.constant(value, tf.float32), metadata=metadata)


def _settings(trial: Trial) -> tf.compat.v1.SummaryMetadata:
    """Returns a head's settings as `HParamsPluginData` (tensorboard/plugins/hparams/plugin_data.proto).

    It works without TensorBoard installed. The plugin's `SessionStartInfo`, field 3 of the message, has its values in
    the same field as protobuf's own `Struct`, so both serialize to the same bytes.
    """
    start = Struct()
    for key in KEYS:
        value = getattr(trial.head, key)
        start[key] = value if isinstance(value, bool | int | float) else setting_text(trial.head, key)
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
