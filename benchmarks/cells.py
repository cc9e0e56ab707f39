"""Test accuracy of logistic regression by the grid in which the second depth's feature map is pooled.

    python -m benchmarks.cells data/yoga6 data/yoga66 [--cells 1 2 3 4] [--pool 1000] [--seeds 5] [--recipe photos]

For each dataset and seed, random pools and test photos are drawn as in `benchmarks.heads`; the L2 penalty is selected
in five folds of the pool. Prints the mean test accuracy with its standard error over the seeds, and the mean paired
difference to a single cell, which is the average of the whole map, with its standard error.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.heads import Split, draw
from headstand import heads
from headstand import recipe as recipes
from headstand.features import Extractor, backbones
from headstand.heads import cross_validation
from headstand.preparation import manifest


def accuracy(recipe: recipes.Recipe, split: Split, classes: int, seed: int) -> float:
    """Returns the test accuracy of logistic regression on the pool."""
    train, validation, test, groups = split
    features = np.concatenate([train.features, validation.features])
    pool = heads.FeatureSplit(features, np.concatenate([train.labels, validation.labels]))
    folds = cross_validation.split_folds(train, validation, groups, seed)
    chosen = cross_validation.logistic_regression(recipe.head, pool, folds, classes)
    fit = heads.fit(chosen.head, pool, test, classes, seed)
    return float((heads.probabilities(fit.model, test.features).argmax(axis=1) == test.labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="prepared datasets, such as data/yoga6")
    parser.add_argument("--cells", nargs="+", type=int, default=[1, 2, 3, 4], help="cells per side")
    parser.add_argument("--pool", type=int, default=1000, help="photos in the pool")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", default="photos")
    arguments, rest = parser.parse_known_args()
    recipe = recipes.load(arguments.recipe, rest)
    for folder in arguments.folders:
        dataset = manifest.read(folder)
        labels = np.array([dataset.classes.index(photo.class_) for photo in dataset.photos], np.int32)
        groups = np.array([photo.group for photo in dataset.photos])
        reference = None
        for cells in arguments.cells:
            backbones.CELLS = cells
            features = np.asarray(Extractor(recipe.backbone).rows(dataset.folder, dataset.photos).rows)
            splits = (draw(features, labels, groups, arguments.pool, seed) for seed in range(1, arguments.seeds + 1))
            found = np.array(
                [accuracy(recipe, split, len(dataset.classes), seed) for seed, split in enumerate(splits, start=1)]
            )
            reference = found if reference is None else reference
            error, gaps = cross_validation.standard_error(found), found - reference
            print(
                f"{folder.name:<12} {cells} x {cells} cells, {features.shape[1]:6} features: {found.mean():.4f} "
                f"± {error:.4f}, {gaps.mean():+.4f} ± {cross_validation.standard_error(gaps):.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
