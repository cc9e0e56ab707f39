"""Peak memory of feature extraction as a function of the number of images.

    python -m benchmarks.memory [--counts 6000 60000] [--views 0]

For each count, creates that many small JPEG files (32 pixels, all with different bytes) and extracts their features
with MobileNetV2 at 32 pixels in a new process, first into an empty cache and then from the warm cache. Prints the peak
resident set size of that process in MB, as reported by the kernel, so that TensorFlow's own memory is included.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from headstand.preparation.manifest import Dataset, Photo, read, write

SIDE = 32

MEASURED = """
import resource, sys, time
from pathlib import Path
from headstand.features import Extractor
from headstand.preparation import manifest
from headstand.recipe import Augmentation, Backbone
dataset = manifest.read(Path(sys.argv[1]))
extractor = Extractor(Backbone(name="MobileNetV2", size=32, weights="none"))
for _ in range(2):
    start = time.perf_counter()
    found = extractor.rows(dataset.folder, dataset.photos)
    if int(sys.argv[2]):
        extractor.views(dataset.folder, dataset.photos, Augmentation(views=int(sys.argv[2])), 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(found.rows)} {found.computed} {time.perf_counter() - start:.1f} {peak:.0f}", flush=True)
"""


def make(folder: Path, count: int) -> None:
    """Writes a prepared dataset of `count` images: 300 distinct ones, each file with a different JPEG comment."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)) for _ in range(300)]
    photos = []
    for number in range(count):
        stream = io.BytesIO()
        pictures[number % len(pictures)].save(stream, "JPEG", quality=80, comment=str(number).encode())
        path = Path("train") / f"class{number % 10}" / f"{number:06d}.jpg"
        (folder / path.parent).mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(stream.getvalue())
        digest = hashlib.sha256(stream.getvalue()).hexdigest()
        photos.append(Photo(path.as_posix(), path.parent.name, "train", digest, SIDE, SIDE, number))
    write(Dataset(folder, tuple(photos)))
    assert len(read(folder).photos) == count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[6000, 60_000])
    parser.add_argument("--views", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{'images':>8}{'computed':>10}{'seconds':>9}{'peak MB':>9}")
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "data" / "small"
            make(folder, count)
            environment = {**os.environ, "HEADSTAND_CACHE": str(Path(root) / "cache")}
            command = [sys.executable, "-c", MEASURED, str(folder), str(arguments.views)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            for line in done.stdout.splitlines():
                images, computed, seconds, peak = line.split()
                print(f"{images:>8}{computed:>10}{seconds:>9}{peak:>9}", flush=True)


if __name__ == "__main__":
    main()
