"""Speedup of a hyperparameter search on cached features over training with the backbone in every epoch.

    taskset -c 0,1 python -m benchmarks.search [--rounds 3] [--sample 400]

The sweep is that of the original study: 12 settings of 10 epochs on Xception at 150 px with 1,221 training and 407
validation photos. The photos are synthetic (JPEG, about 500 x 500) and the weights random, which does not change the
time.

- *cold*: all work of Headstand after the imports: build the network, decode the photos, compute and store their
  features, trace the graphs, search.
- *warm*: the same with features from the disk cache, as in every later search.
- *in the loop*: `keras.Model.fit` with the frozen network inside and prefetching; compiled and warmed up before the
  measurement. It reads files, as the original does, or decoded photos in memory, its best case. It runs on a sample
  (3/4 training, 1/4 validation) and is scaled to the sweep by the number of images. The time to build and compile the
  models is not included.

The ratios are relative to the faster of the two, for equal work: Headstand reuses the result of a setting that was
trained in an earlier stage (each stage starts with the best values so far), so the loop is scaled to the settings that
differ, not to all twelve. The part *selection* is what `search.selection = "log_loss"` adds: logistic regression with
the L2 penalty of the lowest log loss over 5 folds, trained on train and validation. Prints medians over the rounds.
"""

import argparse
import contextlib
import hashlib
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from headstand import heads
from headstand.features import Extractor
from headstand.heads import cross_validation, epoch, search
from headstand.preparation.manifest import Photo
from headstand.recipe import Backbone, Head, Search

import keras  # isort: skip - after headstand.tensorflow_setup, which silences TensorFlow
import tensorflow as tf  # isort: skip

CLASSES = ("chair", "cobra", "downdog", "goddess", "tree", "warrior")
COUNTS = {"train": 1221, "validation": 407}
BACKBONE = Backbone(name="Xception", size=150, weights="none")
EPOCHS = 10
HEAD = Head(inner=100, epochs=EPOCHS, batch_size=20)
SWEEP = {
    "learning_rate": [0.0001, 0.001, 0.01, 0.1],
    "inner": [50, 100, 200, 500],
    "dropout": [0.0, 0.2, 0.5, 0.8],
}
SETTINGS = sum(map(len, SWEEP.values()))
ENOUGH = 60
"""Images per second that the loop should reach on two cores for a fair comparison."""


def draw(path: Path, kind: int, rng: np.random.Generator) -> None:
    """Writes a synthetic photo: blurred background, strokes whose number and colour depend on the class, and noise."""
    width, height = (int(side) for side in rng.integers(440, 561, 2))
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(8 + 4 * kind):
        ends = [tuple(int(v) for v in rng.integers(0, (width, height))) for _ in range(2)]
        color = tuple(int(v) for v in (rng.integers(0, 200, 3) + 55 * np.eye(6, 3)[kind]))
        pen.line(ends, fill=color, width=int(rng.integers(3, 40)))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(1)), np.int16)
    grained = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
    Image.fromarray(grained).save(path, quality=88)


def make(folder: Path) -> dict[str, list[Photo]]:
    """Writes photos as FOLDER/split/class/NUMBER.jpg; returns them by split."""
    rng = np.random.default_rng(0)
    photos: dict[str, list[Photo]] = {}
    for split, count in COUNTS.items():
        photos[split] = []
        for number in range(count):
            kind = number % len(CLASSES)
            path = folder / split / CLASSES[kind] / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(path, kind, rng)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            photos[split].append(Photo(str(path.relative_to(folder)), CLASSES[kind], split, digest, 0, 0, 0))
    return photos


class Clock:
    """Stopwatch of named parts, in seconds."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.parts[part] = time.perf_counter() - start


def headstand(folder: Path, photos: dict[str, list[Photo]]) -> tuple[dict[str, float], search.SearchResult]:
    """Runs feature extraction and search with the current cache; returns the seconds of each part and the result."""
    # Graphs compiled in an earlier round must be compiled again.
    epoch.training.cache_clear()
    epoch.validation.cache_clear()
    clock = Clock()
    with clock("network"):
        extractor = Extractor(BACKBONE)
    splits = {}
    with clock("features"):
        for name, chosen in photos.items():
            labels = np.array([CLASSES.index(photo.class_) for photo in chosen], np.int32)
            splits[name] = heads.FeatureSplit(extractor.rows(folder, chosen).rows, labels)
    stages = Search.model_validate({"stages": [{"parameter": key, "values": values} for key, values in SWEEP.items()]})
    with clock("search"), tempfile.TemporaryDirectory() as root:
        found = search.run(stages, HEAD, splits["train"], splits["validation"], len(CLASSES), 1, Path(root) / "journal")
    assert len(found.trials) == SETTINGS
    with clock("selection"):
        train, validation = splits["train"], splits["validation"]
        both = heads.FeatureSplit(*(np.concatenate([getattr(train, key), getattr(validation, key)])
                                    for key in ("features", "labels")))  # fmt: skip
        folds = cross_validation.split_folds(train, validation, np.arange(len(both.labels)), 1)
        chosen = cross_validation.logistic_regression(HEAD, both, folds, len(CLASSES)).head
        heads.fit(chosen, both, validation, len(CLASSES), 1)
    return clock.parts, found


def loop(folder: Path, sample: int, in_memory: bool) -> Callable[[], float]:
    """Returns a function that trains one epoch on the sample through the backbone and returns images per second."""
    sizes = {"train": 3 * sample // 4, "validation": sample // 4}
    batches = {}
    for split, size in sizes.items():
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints the number of files
            files = keras.utils.image_dataset_from_directory(
                folder / split,
                label_mode="categorical",
                image_size=(BACKBONE.size, BACKBONE.size),
                batch_size=HEAD.batch_size,
                shuffle=False,
            )
        taken = files.take(-(-size // HEAD.batch_size))
        batches[split] = (taken.cache() if in_memory else taken).prefetch(tf.data.AUTOTUNE)
    keras.utils.set_random_seed(1)
    network = keras.applications.Xception(
        include_top=False, weights=None, input_shape=(BACKBONE.size, BACKBONE.size, 3)
    )
    network.trainable = False
    pixels = keras.Input((BACKBONE.size, BACKBONE.size, 3))
    x = network(keras.applications.xception.preprocess_input(pixels), training=False)
    x = keras.layers.Dense(100, activation="relu")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, keras.layers.Dense(len(CLASSES), activation="softmax")(x))
    # XLA, which Keras can choose automatically, is several times slower here.
    model.compile(keras.optimizers.Adam(0.001), "categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    images = sum(int(labels.shape[0]) for split in batches.values() for _, labels in split)

    def once() -> float:
        start = time.perf_counter()
        model.fit(batches["train"], validation_data=batches["validation"], epochs=1, shuffle=False, verbose=0)
        return images / (time.perf_counter() - start)

    once()
    return once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=400, help="images that the backbone in the loop is timed with")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "photos"
        photos = make(folder)
        size = statistics.mean(file.stat().st_size for file in folder.rglob("*.jpg"))
        loops = {"from files": loop(folder, arguments.sample, False), "in memory": loop(folder, arguments.sample, True)}
        seconds: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
        rates: dict[str, list[float]] = {name: [] for name in loops}
        for number in range(arguments.rounds):
            for name, once in loops.items():
                rates[name].append(once())
            os.environ["HEADSTAND_CACHE"] = f"{root}/{number}"
            for name in seconds:  # the second pass uses the cached features of the first
                parts, found = headstand(folder, photos)
                seconds[name].append(parts)

    total = sum(COUNTS.values())
    different = len({trial.head for trial in found.trials})
    work = different * EPOCHS * total
    fastest = max(statistics.median(values) for values in rates.values())
    slow = work / fastest
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} at the start and", end=" ")
    print(f"{os.getloadavg()[0]:.1f} at the end; TensorFlow {tf.__version__}, Keras {keras.__version__}")
    print(
        f"{BACKBONE.name} at {BACKBONE.size} px, {total} photos of {size / 1024:.0f} KiB; {SETTINGS} settings of",
        end=" ",
    )
    print(f"{EPOCHS} epochs; medians of {arguments.rounds} rounds; the loop timed on {arguments.sample} images\n")
    print(f"{'':<28}{'seconds':>9}{'images/s':>10}{'times faster':>14}")
    for name, values in rates.items():
        rate = statistics.median(values)
        print(f"{'in the loop, ' + name:<28}{work / rate:9.0f}{rate:10.1f}{slow / (work / rate):14.2f}")
    for name, rounds in seconds.items():
        median = statistics.median(sum(parts.values()) for parts in rounds)
        print(f"{'headstand, ' + name:<28}{median:9.1f}{'':>10}{slow / median:14.0f}")
        for part in rounds[0]:
            value = statistics.median(parts[part] for parts in rounds)
            rate_of = f"{total / value:10.0f}" if part == "features" else ""
            print(f"{'  ' + part:<28}{value:9.2f}{rate_of}")
    print(f"\n{different} of the {SETTINGS} settings differ; found: {heads.describe(found.head)}")
    if fastest < ENOUGH:
        print(
            f"The loop reaches {fastest:.0f} images/s and not {ENOUGH}: this machine is slower than two free cores, or "
            "was busy; the extraction above suffers as much."
        )


if __name__ == "__main__":
    main()
