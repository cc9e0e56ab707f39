"""A small network, fine-tuned on the shapes; and the moments at which that is cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand import finetune
from headstand.finetune.callbacks import CheckpointCallback, ProgressBarCallback
from headstand.preparation.manifest import Dataset
from headstand.recipe import Augmentation, Finetune
from tests import networks
from tests.networks import keras

SETTINGS = Finetune(epochs=2, learning_rate=0.003, batch_size=12, warmup=0.2, ema=0.5)
"""Two steps an epoch."""

PARTLY = SETTINGS.model_copy(update={"unfreeze": "3 layers"})
"""The second of two convolutions, with its BatchNormalization and activation."""

PLAIN = Augmentation()

VIEWS = Augmentation(views=2)


def data(dataset: Dataset, split: str, weight: float = 1.0) -> finetune.LabelledPhotos:
    photos = finetune.LabelledPhotos.of(dataset, dataset.split(split))
    return replace(photos, weights=photos.weights * np.float32(weight))


def tune(
    model: keras.Model,
    dataset: Dataset,
    folder: Path,
    settings: Finetune = SETTINGS,
    validated: bool = True,
    augmentation: Augmentation = PLAIN,
) -> finetune.FinetuneResult:
    folder.mkdir(exist_ok=True)
    validation = data(dataset, "validation") if validated else None
    about = networks.about(dataset.digest)
    return finetune.run(model, data(dataset, "train"), settings, augmentation, 1, folder, about, validation)


def inner(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.get_layer("backbone").layers if isinstance(layer, kind)]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.h5") if not path.name.endswith(".weights.h5"))


class Cut(Exception):
    """Stands for a kill."""


def cut_within_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    real = ProgressBarCallback.on_epoch_begin

    def begin(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        self.cut = number + 1 == epoch

    def batch(self: Any, number: int, logs: Any = None) -> None:
        if self.cut and number == 1:
            raise Cut

    monkeypatch.setattr(ProgressBarCallback, "on_epoch_begin", begin)
    monkeypatch.setattr(ProgressBarCallback, "on_train_batch_end", batch)


def cut_before_state(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """After the checkpoint was written and before the state that goes with it."""
    real, calls = keras.Model.save_weights, []

    def save(self: keras.Model, path: Path, overwrite: bool = True) -> None:
        calls.append(path)
        if len(calls) == epoch:
            path.write_bytes(b"half")
            raise Cut
        real(self, path, overwrite=overwrite)

    monkeypatch.setattr(keras.Model, "save_weights", save)


def cut_after_state(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """After the state was written, the older checkpoint still being there."""
    real = CheckpointCallback.on_epoch_end

    def end(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        if number + 1 == epoch:
            raise Cut

    monkeypatch.setattr(CheckpointCallback, "on_epoch_end", end)
