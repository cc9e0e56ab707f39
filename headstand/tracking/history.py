"""Metrics by epoch as `history.csv` and as TensorBoard event files, both unaffected by interruptions of the run."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from headstand import files

CSV = "history.csv"
BOARD = "tensorboard"
"""Folder of event files, with a subfolder for each phase: `tensorboard --logdir runs` shows them."""

FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "gradient_norm")
"""Metrics that are the first columns of `history.csv`, in this order; others follow sorted by name."""

Epochs = Sequence[Mapping[str, float]]


class History:
    """Writer of the metrics of all epochs of a run, by phase.

    `tell` always receives a phase from its first epoch on, as the training itself stores it. A resumed run therefore
    rewrites earlier epochs and neither duplicates nor loses a row.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._phases: dict[str, list[dict[str, float]]] = {}
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def tell(self, phase: str, epochs: Epochs) -> None:
        """Writes the new epochs of a phase to the CSV file and to TensorBoard.

        Args:
            phase: head, fine-tuning or refit.
            epochs: the metrics of all epochs of the phase so far.
        """
        known = len(self._phases.get(phase, ()))
        self._phases[phase] = [dict(figures) for figures in epochs]
        self._write_csv()
        writer = self._writer(phase)
        for number, figures in enumerate(epochs[known:], start=known + 1):
            with writer.as_default(step=number):
                for name, value in figures.items():
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=scalar(name))
        writer.flush()

    def close(self) -> None:
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, phase: str) -> tf.summary.SummaryWriter:
        if phase not in self._writers:
            folder = self._folder / BOARD / phase
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            self._writers[phase] = tf.summary.create_file_writer(str(folder))
        return self._writers[phase]

    def _write_csv(self) -> None:
        names = {name for epochs in self._phases.values() for figures in epochs for name in figures}
        columns = [*(name for name in FIGURES if name in names), *sorted(names - set(FIGURES))]
        with files.replacing(self._folder / CSV) as part, part.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, ["phase", "epoch", *columns])
            table.writeheader()
            for phase, epochs in self._phases.items():
                for number, figures in enumerate(epochs, start=1):
                    table.writerow({"phase": phase, "epoch": number, **figures})


def scalar(name: str) -> tf.compat.v1.SummaryMetadata:
    """Returns the metadata of a scalar summary, as `tf.summary.scalar`, which requires TensorBoard, would write it."""
    metadata = tf.compat.v1.SummaryMetadata(display_name=name)
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR of tensorboard/compat/proto/summary.proto
    return metadata
