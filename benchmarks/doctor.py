"""The doctor's search for near duplicates and wrong labels, compared with cleanvision's and cleanlab's.

    python -m benchmarks.doctor FOLDER [--photos 400] [--seeds 3] [KEY ...]

FOLDER is a prepared dataset; KEYs are recipe keys of the backbone for the labels, such as `--backbone.name`.

- *Near duplicates*: of one photo per group, changed copies are made. "found" is the share of copies in one group with
  their original; "wrong pairs" counts pairs of different originals in one group. cleanvision groups photos with equal
  perceptual hashes (imagehash, 8 x 8); a maximum distance of 10 of 64 bits is also measured.
- *Wrong labels*: 5 % of the photos get the label of another class at random. Both ways judge the same cross-validated
  probabilities: precision and recall of the reported photos, means over the seeds.

It needs the packages imagehash and cleanlab, which are no dependencies of Headstand.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from headstand import recipe as recipes
from headstand.evaluation.label_errors import out_of_sample, suspect_labels
from headstand.features import Extractor
from headstand.preparation import geometric_matches, manifest, near_duplicates
from headstand.preparation.examination import examine
from headstand.preparation.manifest import Dataset

CLOSE = 10
"""Hamming distance up to which two perceptual hashes count as near duplicates in the second measurement."""


RULES = {"cleanlab": "prune_by_noise_rate", "cleanlab, confident": "confident_learning"}
"""Rules of cleanlab's `find_label_issues`: its default, and the confident joint, which Headstand uses with a margin."""


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 20, height // 20, width - width // 20, height - height // 20))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-encoded": lambda image: image,
    "half the size": lambda image: image.resize((max(1, image.width // 2), max(1, image.height // 2))),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "cropped by 5 %": cropped,
    "mirrored": ImageOps.mirror,
    "rotated by 3 degrees": lambda image: image.rotate(3, Image.Resampling.BILINEAR),
}


def encoded(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=70)
    return data.getvalue()


def ours(data: list[bytes]) -> np.ndarray:
    """Returns the groups as the preparation makes them, `int [N]`."""
    photos = [examine(each, large=True) for each in data]
    groups = near_duplicates.groups([photo.file.signature or near_duplicates.PLAIN for photo in photos])
    pairs = geometric_matches.matches(np.stack([photo.luma for photo in photos]), groups)
    linked = np.array([(groups[pair.first], groups[pair.second]) for pair in pairs], dtype=np.int64)
    return near_duplicates.components(int(groups.max()) + 1, *linked.reshape(-1, 2).T)[groups]


def hashes(data: list[bytes], distance: int) -> np.ndarray:
    """Returns the groups of photos whose perceptual hashes differ in at most `distance` bits, `int [N]`."""
    import imagehash

    bits = np.array([imagehash.phash(Image.open(io.BytesIO(each))).hash.ravel() for each in data], dtype=np.float32)
    differing = bits @ (1 - bits.T) + (1 - bits) @ bits.T
    return near_duplicates.components(len(data), *np.nonzero(differing <= distance))


def compare_duplicates(dataset: Dataset, most: int) -> None:
    firsts = {photo.group: photo for photo in reversed(dataset.photos)}
    chosen = [firsts[group] for group in sorted(firsts)]
    chosen = [chosen[index] for index in np.unique(np.linspace(0, len(chosen) - 1, most).astype(int))]
    images = [Image.open(dataset.folder / photo.path).convert("RGB") for photo in chosen]
    originals = [encoded(image) for image in images]
    ways = {
        "Headstand": ours,
        "equal hashes": lambda data: hashes(data, 0),
        f"distance {CLOSE}": lambda data: hashes(data, CLOSE),
    }
    print(f"\nnear duplicates of {len(chosen)} photos, found and wrong pairs")
    print(f"{'':22}" + "".join(f"{name:>22}" for name in ways))
    for name, change in COPIES.items():
        data = [*originals, *(encoded(change(image)) for image in images)]
        cells = []
        for way in ways.values():
            start = time.perf_counter()
            groups = way(data)
            seconds = time.perf_counter() - start
            count = len(originals)
            sizes = np.bincount(groups[:count])
            wrong = int((sizes * (sizes - 1) // 2).sum())
            cells.append(f"{(groups[:count] == groups[count:]).mean():9.1%}{wrong:5}{seconds:6.1f} s")
        print(f"{name:22}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def compare_labels(dataset: Dataset, seeds: int, keys: list[str]) -> None:
    from cleanlab.filter import find_label_issues

    backbone = recipes.load("photos", keys).backbone
    features = Extractor(backbone).rows(dataset.folder, dataset.photos).rows
    truth = np.array([dataset.classes.index(photo.class_) for photo in dataset.photos])
    groups = np.array([photo.group for photo in dataset.photos])
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ("Headstand", *RULES)}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        wrong = np.zeros(len(truth), dtype=bool)
        wrong[rng.choice(len(truth), len(truth) // 20, replace=False)] = True
        labels = np.where(
            wrong, (truth + rng.integers(1, len(dataset.classes), len(truth))) % len(dataset.classes), truth
        )
        found = out_of_sample(features, labels, groups, seed)
        reported = {
            name: find_label_issues(labels, found, filter_by=rule, return_indices_ranked_by="self_confidence")
            for name, rule in RULES.items()
        } | {"Headstand": [suspect.index for suspect in suspect_labels(found, labels)]}
        for name, indices in reported.items():
            hits = wrong[np.asarray(indices, dtype=int)]
            figures[name].append((float(hits.mean()) if len(hits) else 0.0, hits.sum() / wrong.sum()))
    print(f"\n5 % wrong labels among {len(truth)} photos of {len(dataset.classes)} classes, {seeds} seeds")
    for name, values in figures.items():
        precision, recall = np.mean(values, axis=0)
        print(f"{name:22}precision {precision:.3f}  recall {recall:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    options, keys = parser.parse_known_args()
    dataset = manifest.read(options.folder)
    compare_duplicates(dataset, options.photos)
    compare_labels(dataset, options.seeds, keys)


if __name__ == "__main__":
    main()
