"""Number of epochs of fine-tuning that a time budget allows, from the measured speed of this machine."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from headstand import files, inputs
from headstand.finetune.batches import TrainingBatches, ValidationBatches
from headstand.finetune.tuning import LabelledPhotos, compile_for
from headstand.heads import batch_bounds
from headstand.recipe import Augmentation, Finetune

FEWEST = 4
"""Smallest number of epochs: four gained 2 and 3 points on two sets of photos, two nothing (docs/benchmarks.md)."""

STEPS = 3
"""Training steps that are timed, after one that compiles the graph."""

SPARE = 0.05
"""Share of the remaining time that is kept for what the measurement misses."""

LATER = {"train": 2, "validation": 10, "test": 4}
"""How often the photos of each split are predicted after fine-tuning: for calibration, the detectors of unknown inputs
before and after the refit, evaluation, and the comparison of all formats of the conversion."""

CONVERSION = 160
"""Training steps that take as long as converting the network to all formats, and once more to int8 after the refit,
without the comparisons: 184 s and 1.15 s a step with EfficientNet-Lite0 on two cores."""

_FILE = "budget.json"


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step (`step`), and of the prediction of a photo (`photo`)."""

    step: float
    photo: float


@dataclass(frozen=True)
class Budget:
    """Epochs of fine-tuning that there is time for: `epochs` of at most `wanted`.

    `seconds` is the time of an epoch, and of the same in the refit. `missing` is the number of minutes by which the
    budget is too short for all.
    """

    epochs: int
    wanted: int
    seconds: float
    missing: float

    def __str__(self) -> str:
        speed = f"an epoch takes {self.seconds:.0f} s on this machine, refit included"
        if self.epochs == self.wanted:
            return f"{speed}: there is time for all {self.wanted}"
        found = f"for {self.epochs}" if self.epochs else f"for none (at least {FEWEST} are needed)"
        return f"{speed}: there is time {found} of {self.wanted}; {self.missing:.0f} more minutes allow all"


def measure(
    model: keras.Model,
    photos: LabelledPhotos,
    validation: LabelledPhotos,
    settings: Finetune,
    augmentation: Augmentation,
    seed: int,
) -> Speed:
    """Returns the speed of fine-tuning a model, measured on a copy of it; the arguments are those of `tuning.run`."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    compile_for(copy, settings, STEPS)
    kind = inputs.of(model.input.shape[1:])
    batches = TrainingBatches(photos.paths, photos.labels, photos.weights, kind, augmentation, settings, seed)
    held_out = ValidationBatches(validation.folder, validation.photos, validation.labels, kind, settings.batch_size)
    copy.train_on_batch(*batches[0])
    copy.test_on_batch(*held_out[0])
    began = time.perf_counter()
    for _ in range(STEPS):
        # The same batch: others may have one photo more, for which `train_on_batch` compiles another graph.
        copy.train_on_batch(*batches[0])
    between = time.perf_counter()
    copy.test_on_batch(*held_out[0])
    return Speed((between - began) / STEPS, (time.perf_counter() - between) / len(held_out[0][1]))


def decide(speed: Speed, seconds: float, counts: Mapping[str, int], settings: Finetune, refit: Sequence[str]) -> Budget:
    """Returns how many epochs fit into the time, at most those of the settings; none if fewer than `FEWEST`.

    Args:
        speed: of this machine.
        seconds: that are left of the budget, conversion included.
        counts: number of photos of each split.
        settings: fine-tuning section of the recipe.
        refit: splits on which the selected model is trained again, for as many epochs.
    """
    photos = counts["train"], sum(counts[split] for split in refit)
    steps = sum(len(batch_bounds(count, settings.batch_size)) - 1 for count in photos if count)
    epoch = steps * speed.step + counts["validation"] * speed.photo
    later = CONVERSION * speed.step + speed.photo * sum(LATER[split] * count for split, count in counts.items())
    free = seconds * (1 - SPARE) - later
    epochs = min(settings.epochs, max(0, int(free / epoch)))
    missing = max(0.0, settings.epochs * epoch - free) / 60
    return Budget(epochs if epochs >= FEWEST else 0, settings.epochs, round(epoch, 1), round(missing, 1))


def read(folder: Path) -> Budget | None:
    """Returns what was decided for the run in a folder, or None."""
    file = folder / _FILE
    return Budget(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def write(folder: Path, budget: Budget) -> None:
    """Writes what was decided for the run in a folder."""
    files.write(folder / _FILE, json.dumps(asdict(budget)) + "\n")
