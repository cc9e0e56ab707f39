"""Test accuracy of ways to select and train a head, on random pools of the photos of prepared datasets.

    taskset -c 0,1 python -m benchmarks.heads data/yoga6 data/yoga66 --backbone.name MobileNetV2 \
        --backbone.weights PATH [--pools 250 1000 all] [--seeds 5] [--recipe yoga6]

For each dataset, seed and pool size, groups of near duplicates are drawn at random into a pool (3/4 training, 1/4
validation); the test photos are all others, or a quarter of the dataset if the pool is `all`. The search space is that
of the recipe. The ways:

- *accuracy*: head and epoch with the highest validation accuracy, on the last depth alone, trained on training (the
  original study's criterion).
- *log loss*: the same with the lowest validation log loss; *log loss, refit*: trained again on the pool.
- *linear*: logistic regression on the last depth, L2 penalty by 5 folds, trained on the pool.
- *linear, depths*: the same on all depths. *search, depths*: the searched head on all depths, refit.
- *default*: what `train.py` does: the searched head on all depths if it is better than logistic regression by one
  standard error of the cross-validated log loss, else logistic regression; trained on the pool. *default, no search*:
  the same with the recipe's head instead of a search.

Prints the mean test accuracy of each way with its standard error over the seeds, the mean paired difference to
*accuracy* with its standard error, and the median seconds without feature extraction.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstand import heads
from headstand import recipe as recipes
from headstand.features import Extractor
from headstand.heads import cross_validation, search
from headstand.heads.cross_validation import CrossValidated
from headstand.preparation import manifest
from headstand.recipe import Head, Search

Split = tuple[heads.FeatureSplit, heads.FeatureSplit, heads.FeatureSplit, np.ndarray]
"""Training, validation and test, and the groups of training and validation together."""


def draw(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, pool: int | None, seed: int) -> Split:
    """Returns a random split by groups; the pool has about `pool` photos, or three quarters of all if None."""
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.permutation(groups.max() + 1)[groups], kind="stable")
    cut = min(pool or len(labels) * 3 // 4, len(labels) * 3 // 4)
    while groups[order[cut]] == groups[order[cut - 1]]:
        cut += 1
    middle = cut * 3 // 4
    while groups[order[middle]] == groups[order[middle - 1]]:
        middle += 1
    parts = np.split(order, [middle, cut])
    train, validation, test = (heads.FeatureSplit(features[part], labels[part]) for part in parts)
    return train, validation, test, groups[order[:cut]]


def narrowed(split: heads.FeatureSplit, width: int) -> heads.FeatureSplit:
    """Returns the features of the last depth alone, which come first."""
    return heads.FeatureSplit(np.ascontiguousarray(split.features[:, :width]), split.labels)


def searched(
    space: Search, head: Head, train: heads.FeatureSplit, validation: heads.FeatureSplit, classes: int, seed: int
) -> tuple[Head, heads.Fit]:
    """Returns the head that the search selects, and its training on `train`."""
    with tempfile.TemporaryDirectory() as root:
        found = search.run(space, head, train, validation, classes, seed, Path(root) / "journal").head
    return found, heads.fit(found, train, validation, classes, seed, selection=space.selection)


def ways(recipe: recipes.Recipe, split: Split, width: int, classes: int, seed: int) -> dict[str, tuple[float, float]]:
    """Returns test accuracy and seconds of each way."""
    train, validation, test, groups = split
    results: dict[str, tuple[float, float]] = {}

    def score(name: str, fit: heads.Fit, rows: heads.FeatureSplit, seconds: float) -> None:
        right = heads.probabilities(fit.model, rows.features).argmax(axis=1) == rows.labels
        results[name] = (float(right.mean()), seconds)

    def together(one: heads.FeatureSplit, two: heads.FeatureSplit) -> heads.FeatureSplit:
        features = np.concatenate([one.features, two.features])
        return heads.FeatureSplit(features, np.concatenate([one.labels, two.labels]))

    def linear(
        one: heads.FeatureSplit, two: heads.FeatureSplit, both: heads.FeatureSplit
    ) -> tuple[CrossValidated, cross_validation.Folds]:
        folds = cross_validation.split_folds(one, two, groups, seed)
        return cross_validation.logistic_regression(recipe.head, both, folds, classes), folds

    plain = recipe.head.model_copy(update={"standardise": False, "patience": 0})
    one, two, held = (narrowed(each, width) for each in (train, validation, test))
    spaces = {name: recipe.search.model_copy(update={"selection": name}) for name in ("accuracy", "log_loss")}
    start = time.perf_counter()
    _, fit = searched(spaces["accuracy"], plain, one, two, classes, seed)
    score("accuracy", fit, held, time.perf_counter() - start)
    start = time.perf_counter()
    head, fit = searched(spaces["log_loss"], plain, one, two, classes, seed)
    score("log loss", fit, held, time.perf_counter() - start)
    fit = heads.refit(head, together(one, two), classes, seed, fit)
    score("log loss, refit", fit, held, time.perf_counter() - start)
    start = time.perf_counter()
    both = together(one, two)
    chosen, _ = linear(one, two, both)
    score("linear", heads.fit(chosen.head, both, two, classes, seed), held, time.perf_counter() - start)

    pool = together(train, validation)
    start = time.perf_counter()
    chosen, folds = linear(train, validation, pool)
    final = heads.fit(chosen.head, pool, validation, classes, seed)
    linear_seconds = time.perf_counter() - start
    score("linear, depths", final, test, linear_seconds)
    for name, space in {"default": spaces["log_loss"], "default, no search": Search(strategy="none")}.items():
        train, validation = replace(train), replace(validation)  # without the components that were computed before
        start = time.perf_counter()
        head, fit = searched(space, recipe.head, train, validation, classes, seed)
        candidate, compared = (
            cross_validation.validated(head, each, validation)
            for each in (fit, heads.fit(chosen.head, train, validation, classes, seed))
        )
        if cross_validation.better(candidate, compared):
            candidate, compared = cross_validation.trained(head, fit, pool, folds, classes, seed), chosen
        better = cross_validation.better(candidate, compared)
        result = heads.refit(head, pool, classes, seed, fit) if better else final
        score(name, result, test, time.perf_counter() - start + linear_seconds)
        if name == "default":
            score("search, depths", heads.refit(head, pool, classes, seed, fit), test, time.perf_counter() - start)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="prepared datasets, such as data/yoga6")
    parser.add_argument("--pools", nargs="+", default=["250", "1000", "all"], help="sizes of the pools")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", default="yoga6", help="recipe with the head and its search space")
    arguments, rest = parser.parse_known_args()
    recipe = recipes.load(arguments.recipe, rest)
    backbone = recipe.backbone
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f};", end=" ")
    print(f"{backbone.name} at {backbone.size} px, weights {Path(backbone.weights).name}, {backbone.depths} depths")
    extractor = Extractor(backbone)
    last = Extractor(backbone.model_copy(update={"depths": 1})).feature_model.output.shape[-1]
    for folder in arguments.folders:
        dataset = manifest.read(folder)
        labels = np.array([dataset.classes.index(photo.class_) for photo in dataset.photos], np.int32)
        groups = np.array([photo.group for photo in dataset.photos])
        features = np.asarray(extractor.rows(dataset.folder, dataset.photos).rows)
        for pool in arguments.pools:
            size = None if pool == "all" else int(pool)
            found = []
            for seed in range(1, arguments.seeds + 1):
                split = draw(features, labels, groups, size, seed)
                found.append(ways(recipe, split, last, len(dataset.classes), seed))
            counts = ", ".join(str(len(each.labels)) for each in split[:3])
            print(
                f"\n{folder.name}: {len(dataset.classes)} classes; {counts} photos (training, validation, test);",
                end=" ",
            )
            print(
                f"{arguments.seeds} seeds\n{'':<22}{'accuracy':>10}{'se':>8}{'difference':>12}{'se':>8}{'seconds':>9}"
            )
            reference = np.array([each["accuracy"][0] for each in found])
            for name in found[0]:
                values = np.array([each[name][0] for each in found])
                gaps = values - reference
                print(
                    f"{name:<22}{values.mean():10.4f}{cross_validation.standard_error(values):8.4f}{gaps.mean():12.4f}"
                    f"{cross_validation.standard_error(gaps):8.4f}"
                    f"{statistics.median(each[name][1] for each in found):9.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
