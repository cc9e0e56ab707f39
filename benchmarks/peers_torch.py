"""Ways of `benchmarks.peers` on PyTorch: fastai's `fine_tune` and a recipe of timm, with a Keras file's weights."""

import copy
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.peers import Result, Task
from headstand import tensorflow_setup  # noqa: F401 - before the first import of Keras
from headstand.preparation import manifest
from headstand.preparation.manifest import Photo

import keras  # isort: skip - after headstand.tensorflow_setup

NAME = "tf_efficientnet_lite0"
SIZE = 224
BATCH = 32
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Scaling of EfficientNet-Lite0's input in the Keras file."""

LEARNING_RATE = 5e-4
WARM_UP = 0.05


def fill(network: nn.Module, weights: Path) -> nn.Module:
    """Copies the weights of a Keras file into timm's network, whose layers come in the same order; returns it."""
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    layers = [layer for layer in keras.saving.load_model(weights, compile=False).layers if layer.weights]
    for module, layer in zip(modules, layers, strict=True):
        values = layer.get_weights()
        if isinstance(module, nn.Conv2d):
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            values = [values[0].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))]
            tensors = [module.weight]
        else:
            tensors = [module.weight, module.bias, module.running_mean, module.running_var]
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return network


def megabytes(model: nn.Module) -> float:
    """Returns the size of a model's weights in float32, with the statistics of its BatchNorm layers."""
    return 4 * sum(tensor.numel() for tensor in model.state_dict().values()) / 1e6


def cores() -> int:
    return len(os.sched_getaffinity(0))


def fine_tune(task: Task) -> Result:
    from fastai.vision import all as fastai

    start = time.perf_counter()
    deadline = start + 60 * task.minutes
    fastai.set_seed(task.seed)
    dataset = manifest.read(task.folder)
    # fastai's loaders start processes by the default method, which in a spawned process cannot take local functions.
    multiprocessing.set_start_method("fork", force=True)

    class Clock(fastai.Callback):
        """Ends training at the deadline; the schedule of the unfrozen network depends on the time until then."""

        order = fastai.ParamScheduler.order - 1

        def before_fit(self) -> None:
            self.began = time.perf_counter()

        def before_batch(self) -> None:
            now = time.perf_counter()
            if self.training and now > deadline:
                raise fastai.CancelFitException
            if self.training and not self.opt.frozen_idx:
                self.learn.pct_train = (now - self.began) / (deadline - self.began)

    photos = fastai.DataBlock(
        (fastai.ImageBlock, fastai.CategoryBlock(list(dataset.classes), sort=False)),
        get_x=lambda photo: dataset.folder / photo.path,
        get_y=lambda photo: photo.class_,
        splitter=fastai.FuncSplitter(lambda photo: photo.split == "validation"),
        item_tfms=fastai.Resize(460),
        batch_tfms=[*fastai.aug_transforms(size=SIZE, min_scale=0.75), fastai.Normalize.from_stats(MEAN, STD)],
    ).dataloaders(dataset.split("train") + dataset.split("validation"), bs=BATCH, num_workers=cores())
    learner = fastai.vision_learner(photos, NAME, normalize=False, pretrained=False, metrics=fastai.accuracy)
    fill(learner.model[0].model, task.weights)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(1000, cbs=Clock())
        seconds = time.perf_counter() - start
        predicted = learner.get_preds(dl=photos.test_dl(dataset.split("test")))[0].argmax(dim=1)
    return Result(predicted.tolist(), seconds, megabytes(learner.model))


class Photos(torch.utils.data.Dataset):
    """Photos of a prepared dataset and their class indices."""

    def __init__(self, folder: Path, photos: Sequence[Photo], labels: Sequence[str], transform: Callable) -> None:
        self.folder, self.photos, self.labels, self.transform = folder, photos, labels, transform

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        photo = self.photos[index]
        image = Image.open(self.folder / photo.path).convert("RGB")
        return self.transform(image), self.labels.index(photo.class_)


def timm_recipe(task: Task) -> Result:
    start = time.perf_counter()
    deadline = start + 60 * task.minutes
    torch.manual_seed(task.seed)
    dataset = manifest.read(task.folder)
    scaling = {"mean": MEAN, "std": STD}
    varied = create_transform(SIZE, True, auto_augment="rand-m9-mstd0.5-inc1", scale=(0.35, 1), **scaling)
    plain = create_transform(SIZE, crop_pct=0.875, interpolation="bicubic", **scaling)

    def batches(split: str) -> DataLoader:
        training = split == "train"
        photos = Photos(dataset.folder, dataset.split(split), dataset.classes, varied if training else plain)
        return DataLoader(photos, BATCH, shuffle=training, num_workers=cores())

    def predict(split: str) -> np.ndarray:
        model.eval()
        with torch.inference_mode():
            return np.concatenate([model(images).argmax(dim=1).numpy() for images, _ in batches(split)])

    model = fill(timm.create_model(NAME, num_classes=len(dataset.classes), drop_rate=0.2), task.weights)
    optimizer = create_optimizer_v2(model, "adamw", lr=LEARNING_RATE, weight_decay=0.05)
    loss = LabelSmoothingCrossEntropy(0.1)
    truth = [dataset.classes.index(photo.class_) for photo in dataset.split("validation")]
    best, weights = -1.0, model.state_dict()
    photos = batches("train")
    while time.perf_counter() < deadline:
        model.train()
        for images, labels in photos:
            share = (time.perf_counter() - start) / (deadline - start)
            if share > 1:
                break
            factor = share / WARM_UP if share < WARM_UP else (1 + math.cos(math.pi * share)) / 2
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * factor
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()
        accuracy = np.equal(predict("validation"), truth).mean()
        if accuracy > best:
            best, weights = accuracy, copy.deepcopy(model.state_dict())
    seconds = time.perf_counter() - start
    model.load_state_dict(weights)
    return Result(predict("test").tolist(), seconds, megabytes(model))
