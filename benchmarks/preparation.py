"""Time of a preparation with the quality check (doctor) and the plots (explore), on generated photos.

    python -m benchmarks.preparation [--photos 1500] [--width 640] [--height 480] [--classes 6]

A twentieth of the photos are smaller copies of others, another twentieth are copies rotated by 4 degrees. The first
preparation starts with an empty cache. The second one has another seed, so it finds the photos in the cache, but
divides, copies and checks them anew. Prints the seconds of each step, the CPU seconds, which depend less on other load
of the machine, and how many times a photo was decoded.
"""

import argparse
import io
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageFile

from headstand.preparation.doctor import checkup
from headstand.preparation.explore.explore import explore
from headstand.preparation.prepare import prepare
from headstand.recipe import Recipe, Source

HEAD = 2000
"""Number of bytes by which a photo is recognised when it is decoded."""


def generate(folder: Path, count: int, classes: int, size: tuple[int, int]) -> set[bytes]:
    """Writes JPEG photos to class folders, soft random shapes with fine noise, and returns their first kilobytes."""
    heads = set()
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 8, (size[1], size[0], 1))
    previous: Image.Image | None = None
    for number in range(count):
        if previous and number % 20 == 1:
            picture = previous.resize((size[0] * 3 // 4, size[1] * 3 // 4))
        elif previous and number % 20 == 2:
            picture = previous.rotate(4, Image.Resampling.BICUBIC)
        else:
            shapes = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            pixels = np.asarray(Image.fromarray(shapes).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
            picture = previous = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
        path = folder / f"class{number * classes // count}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)
        heads.add(path.read_bytes()[:HEAD])
    return heads


def measure(recipe: Recipe, heads: set[bytes]) -> None:
    """Prepares a dataset and prints the time of each step."""
    decoded: Counter[bytes] = Counter()
    load_prepare = ImageFile.ImageFile.load_prepare

    def count(image: ImageFile.ImageFile) -> None:
        if isinstance(image.fp, io.BytesIO) and (head := bytes(image.fp.getbuffer()[:HEAD])) in heads:
            decoded[head] += 1
        load_prepare(image)

    with mock.patch.object(ImageFile.ImageFile, "load_prepare", count):
        start, cpu = time.perf_counter(), time.process_time()
        summary = prepare(recipe)
        prepared = time.perf_counter()
        checkup(recipe.data)
        checked = time.perf_counter()
        explore(recipe.data)
        end = time.perf_counter()
    steps = summary.seconds | {"prepare": prepared - start, "doctor": checked - prepared, "explore": end - checked}
    print(", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.items()), end="; ")
    print(f"all {end - start:.1f} s, CPU {time.process_time() - cpu:.1f} s; ", end="")
    print(f"{decoded.total() / len(heads):.2f} decodings of a photo, at most {max(decoded.values(), default=0)}")


def main() -> None:
    """Generates the photos and prepares them twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1500)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["HEADSTAND_CACHE"] = str(Path(folder, "cache"))
        heads = generate(Path("photos"), options.photos, options.classes, (options.width, options.height))
        for seed in (1, 2):
            measure(Recipe(name="photos", seed=seed, source=Source(folder="photos")), heads)


if __name__ == "__main__":
    main()
