"""Comparison of networks that treat heatmaps as images with the backbone `keypoints`.

    python -m benchmarks.heatmap_study [--folder FOLDER --groups PATTERN] [--per-class 120] [--epochs 12]

The three networks are those of the original study. Each is trained on the same files with two splits: grouped by person
(`--groups` matches the person in a file name), and random as in the study, where the test split contains files of the
same people as the training split. Without a folder the files are those of the source `actions`. Prints the accuracy on
the training files, the accuracy on the test files and their macro F1; no setting is chosen by them.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import headstand.tensorflow_setup  # noqa: F401 - silences TensorFlow

# isort: split
import numpy as np

from headstand import recipe as recipes
from headstand.evaluation.predictions import class_indices, predict
from headstand.features import compiled
from headstand.heads import checkpoint
from headstand.poses import action_source
from headstand.poses.heatmap_input import HeatmapInput
from headstand.preparation import manifest
from headstand.preparation.prepare import prepare
from headstand.training import train

_NO_VIEWS: dict[str, Any] = {"augmentation": {"views": 0}}

VARIANTS: dict[str, dict[str, Any]] = {
    "keypoints": {},
    "keypoints, a linear head": {"head": {"inner": []}},
    "convolutions over 17 channels": {
        "backbone": {"name": "heatmaps_cnn"},
        "head": {"inner": [], "dropout": 0.0},
        "finetune": {"epochs": 12, "learning_rate": 0.001, "weight_decay": 0.0, "label_smoothing": 0.0, "ema": 0.0,
                     "batch_size": 64},
        "augmentation": {"views": 0, "flip": "none", "rotation": 0, "zoom": 0, "shift": 0, "brightness": 0,
                         "jitter": 0, "joint_dropout": 0},
    },
    "flatten, dense 64": {"backbone": {"name": "heatmaps_flat"}, "head": {"inner": [64], "dropout": 0.0}, **_NO_VIEWS},
    "flatten, dense 64 and 64": {
        "backbone": {"name": "heatmaps_flat"}, "head": {"inner": [64, 64], "dropout": 0.0}, **_NO_VIEWS,
    },
}  # fmt: skip


def scores(argv: list[str], changes: dict[str, Any]) -> tuple[float, float, float, float]:
    """Trains a variant; returns accuracy on training and test files, macro F1 on the test files, and seconds."""
    base = recipes.load("heatmaps", argv).model_dump()
    for section, values in changes.items():
        own = {} if section == "backbone" else base[section]
        base[section] = {**own, **values}
    recipe = recipes.Recipe.model_validate(base)
    start = time.perf_counter()
    outcome = train(recipe)
    seconds = time.perf_counter() - start
    dataset = manifest.read(recipe.data)
    known = predict(compiled(checkpoint.load(outcome.checkpoint)), dataset, "train", HeatmapInput())
    fitted = float((known.argmax(axis=1) == class_indices(dataset, dataset.split("train"))).mean())
    test = outcome.report["test"]
    present = [each["f1"] for each in test["per_class"].values() if each["count"]]
    return fitted, test["accuracy"], float(np.mean(present)), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--groups", default=action_source.PERSON)
    parser.add_argument("--per-class", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    home = arguments.folder.resolve() if arguments.folder else None
    rows = []
    for split, groups in (("by person", arguments.groups), ("at random", ".+")):
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.environ["HEADSTAND_CACHE"] = str(Path(folder) / "cache")
            source = ["--source.folder", str(home)]
            if home is None:
                source = ["--source.kind", "actions", "--source.per_class", str(arguments.per_class)]
            argv = [*source, "--source.groups", groups, "--head.epochs", str(arguments.epochs)]
            prepare(recipes.load("heatmaps", argv))
            rows += [(split, name, *scores(argv, changes)) for name, changes in VARIANTS.items()]
    print(f"\n{'':32}{'split':>14}{'train':>8}{'test':>8}{'F1':>8}{'s':>6}")
    for split, name, fitted, accuracy, f1, seconds in rows:
        print(f"{name:32}{split:>14}{fitted:8.3f}{accuracy:8.3f}{f1:8.3f}{seconds:6.0f}")


if __name__ == "__main__":
    main()
