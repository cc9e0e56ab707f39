"""Overhead of decoding, hashing and caching in feature extraction, relative to the backbone alone.

    python -m benchmarks.features FOLDER [--weights FILE] [--size 224] [--count 512] [--rounds 3]

Each round measures: (a) a bare loop of the compiled backbone over decoded arrays, (b) Headstand's extraction from files
into an empty cache, (c) the same with a warm cache, (d) `keras.Model.predict` over the arrays. FOLDER contains one
folder of images per class. Prints medians over the rounds.
"""

import argparse
import hashlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from headstand import images
from headstand.features import BATCH, Extractor
from headstand.preparation.manifest import Photo
from headstand.recipe import Backbone

import tensorflow as tf  # isort: skip - after headstand.tensorflow_setup, which silences it


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(backbone: Backbone, folder: Path, photos: list[Photo], pixels: np.ndarray) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HEADSTAND_CACHE"] = cache
        extractor = Extractor(backbone)
        extractor.call(tf.constant(pixels[:BATCH]))  # traced before the measurement

        def bare() -> None:
            for start in range(0, len(pixels), BATCH):
                extractor.call(tf.constant(pixels[start : start + BATCH])).numpy()

        return {
            "bare loop": seconds(bare),
            "headstand, cold": seconds(lambda: extractor.rows(folder, photos)),
            "headstand, warm": seconds(lambda: extractor.rows(folder, photos)),
            "predict": seconds(lambda: extractor.model.predict(pixels, batch_size=BATCH, verbose=0)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    paths = sorted(path for path in arguments.folder.glob("*/*") if path.suffix.lower() in images.EXTENSIONS)
    paths = paths[:: max(1, len(paths) // arguments.count)][: arguments.count]
    photos = [
        Photo(str(path.relative_to(arguments.folder)), path.parent.name, "train", digest(path), 0, 0, 0)
        for path in paths
    ]
    pixels = np.stack([images.decode(path, arguments.size) for path in paths])
    backbone = Backbone(name=arguments.backbone, size=arguments.size, weights=arguments.weights)
    times: dict[str, list[float]] = {"bare loop": [], "headstand, cold": [], "headstand, warm": [], "predict": []}
    for number in range(arguments.rounds + 1):
        row = measure(backbone, arguments.folder, photos, pixels)
        if number:  # the first round fills the file system cache
            for name, value in row.items():
                times[name].append(value)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {arguments.backbone} at {arguments.size} px")
    print(f"{len(paths)} photos, medians of {arguments.rounds} rounds\n")
    print(f"{'':<18}{'seconds':>9}{'images/s':>10}{'to bare':>9}")
    base = statistics.median(times["bare loop"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<18}{median:9.2f}{len(paths) / median:10.0f}{median / base:9.2f}")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
