"""Headstand compared with other ways to a classifier, on the same photos, splits, network, weights and minutes.

    taskset -c 0,1 python -m benchmarks.peers data/yoga6 data/yoga66 [--minutes 10] [--seeds 3] [--weights FILE]

The folders are prepared datasets. All ways start with a pretrained EfficientNet-Lite0 at 224 px, train on the training
photos, and have nothing else than the validation photos for their choices:

- *Headstand*: `headstand train` with the recipe `photos`, without the preparation. Trains on the validation photos too
  if it keeps the backbone frozen.
- *Keras guide*: the transfer-learning guide of Keras. Random flips and rotations, frozen network, global average
  pooling, dropout 0.2, Adam 1e-3 for half of the minutes; then the whole network at 1e-5 with BatchNormalization in
  inference mode. The epoch with the highest validation accuracy.
- *scikit-learn*: `LogisticRegressionCV` on the standardised features of the last layer, C by five folds, trained on
  training and validation photos. It has no time limit.
- *KerasTuner*: random search over a head on the same features (learning rate, width of the inner layer, dropout) until
  the minutes are over. The model with the highest validation accuracy.
- *fastai*: `fine_tune` with its defaults and batches of 32. Its schedule follows the clock, not a number of epochs.
- *timm*: AdamW 5e-4 with weight decay 0.05, cosine schedule by the clock after 5 % of warm-up, RandAugment
  (rand-m9-mstd0.5-inc1), random crops of at least 35 %, label smoothing 0.1, dropout 0.2. The epoch with the highest
  validation accuracy.

A way is left out if its packages are not installed: keras-tuner and tensorboard; fastai, timm, torch and torchvision.
They are no dependencies of Headstand; CPU builds suffice.

Each way runs in a process of its own and classifies the test photos once, at its end. Seconds are those until the model
is ready, without imports and without the test photos; of Headstand with its own evaluation and the conversion. MB is
the size of Headstand's `.tflite`, and of the others' weights in float32. Results are kept in `peers.json` in the
folder of the caches; an interrupted comparison continues with the missing ones.
"""

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from headstand import HOME, files, runs
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset
from headstand.stats import Difference, paired, wilson

BASE = "Headstand"

WAYS = {
    BASE: ("benchmarks.peers_keras", "headstand"),
    "Keras guide": ("benchmarks.peers_keras", "guide"),
    "scikit-learn": ("benchmarks.peers_keras", "logistic_regression"),
    "KerasTuner": ("benchmarks.peers_keras", "tuner"),
    "fastai": ("benchmarks.peers_torch", "fine_tune"),
    "timm": ("benchmarks.peers_torch", "timm_recipe"),
}
"""Module and function of each way."""

PACKAGES = {
    "KerasTuner": ("keras_tuner", "tensorboard"),
    "fastai": ("torch", "timm", "fastai"),
    "timm": ("torch", "timm"),
}
"""Optional packages that a way imports."""


@dataclass(frozen=True)
class Task:
    """What each way is given: a prepared dataset, the file of the pretrained network, a seed and a time limit."""

    folder: Path
    weights: Path
    seed: int
    minutes: float


@dataclass(frozen=True)
class Result:
    """Class index of each test photo in the manifest's order, seconds of training, and size of the model."""

    predicted: list[int]
    seconds: float
    megabytes: float


def perform(way: str, task: Task) -> Result:
    """Runs one way in this process."""
    module, function = WAYS[way]
    result: Result = getattr(importlib.import_module(module), function)(task)
    return result


def in_process(way: str, task: Task) -> Result:
    """Runs one way in a process of its own, so that no way uses what another one has loaded or compiled."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(perform, way, task).result()


def results(task: Task, ways: Sequence[str], store: Path, run: Callable[[str, Task], Result]) -> dict[str, Result]:
    """Returns the result of each way, from the file `store` if it holds it; new results are added to it."""
    saved = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    given = [manifest.read(task.folder).digest, files.digest(task.weights), task.seed, task.minutes]
    found = {}
    for way in ways:
        code = runs.identity() if way == BASE else None
        key = json.dumps([way, *given, code])
        if key not in saved:
            print(f"{task.folder.name}, seed {task.seed}: {way}", flush=True)
            saved[key] = asdict(run(way, task))
            files.write(store, json.dumps(saved))
        found[way] = Result(**saved[key])
    return found


def compared(dataset: Dataset, found: dict[str, Result]) -> dict[str, tuple[np.ndarray, Difference]]:
    """Returns for each way which test photos it classifies correctly, and its paired difference to Headstand."""
    truth = [dataset.classes.index(photo.class_) for photo in dataset.split("test")]
    correct = {way: np.equal(result.predicted, truth) for way, result in found.items()}
    return {way: (right, paired(right, correct[BASE])) for way, right in correct.items()}


def table(dataset: Dataset, found: dict[str, Result]) -> str:
    """Returns the results on one dataset with one seed as a Markdown table."""
    lines = [
        "| | accuracy | 95 % interval | to Headstand | 95 % interval | seconds | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, (right, change) in compared(dataset, found).items():
        low, high = wilson(right.sum(), len(right))
        below, above = change.interval
        gap = " | " if way == BASE else f"{change.value:+.3f} | {below:+.3f} to {above:+.3f}"
        lines.append(
            f"| {way} | {right.mean():.3f} | {low:.3f} to {high:.3f} | {gap} | {found[way].seconds:.0f} | "
            f"{found[way].megabytes:.1f} |"
        )
    return "\n".join(lines)


def means(all_found: Sequence[tuple[Dataset, dict[str, Result]]]) -> str:
    """Returns the means over datasets and seeds as a Markdown table.

    `better` and `worse` are how often the interval of the difference to Headstand does not contain zero.
    """
    rows = [compared(dataset, found) for dataset, found in all_found]
    lines = ["| mean | accuracy | to Headstand | better | worse | seconds | MB |", "|---|---|---|---|---|---|---|"]
    for way in rows[0]:
        accuracy = statistics.mean(row[way][0].mean() for row in rows)
        changes = [row[way][1] for row in rows]
        better, worse = (
            sum(sign * change.value > 0 and not change.within_noise for change in changes) for sign in (1, -1)
        )
        mean = statistics.mean(change.value for change in changes)
        gap = " |  | " if way == BASE else f"{mean:+.3f} | {better} | {worse}"
        seconds, size = (
            statistics.mean(getattr(found[way], name) for _, found in all_found) for name in ("seconds", "megabytes")
        )
        lines.append(f"| {way} | {accuracy:.3f} | {gap} | {seconds:.0f} | {size:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="prepared datasets, such as data/yoga6")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--weights", type=Path, default=HOME / "models/backbones/efficientnet_lite0.keras")
    given = parser.parse_args()
    ways = [way for way in WAYS if all(map(importlib.util.find_spec, PACKAGES.get(way, ())))]
    for way in WAYS.keys() - set(ways):
        print(f"{way} is left out: it needs {', '.join(PACKAGES[way])}")
    store = files.cache().resolve() / "peers.json"
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f};", end=" ")
    print(f"weights {given.weights.name}; {given.minutes:g} minutes for each way; results in {store}")
    all_found = []
    for folder in given.folders:
        dataset = manifest.read(folder.resolve())
        counts = ", ".join(str(len(dataset.split(split))) for split in manifest.SPLITS)
        for seed in range(1, given.seeds + 1):
            task = Task(dataset.folder, given.weights.resolve(), seed, given.minutes)
            all_found.append((dataset, results(task, ways, store, in_process)))
            print(f"\n{folder.name}, {len(dataset.classes)} classes, {counts} photos, seed {seed}\n")
            print(table(*all_found[-1]), flush=True)
    if len(all_found) > 1:
        print(f"\n{means(all_found)}")


if __name__ == "__main__":
    main()
