"""Overhead of a Ray cluster compared with training on one machine, on the same CPU cores.

    python -m benchmarks.scale [--photos 600] [--epochs 10] [--rounds 3] [--workers 1 2] [--backbone Xception]

One machine and Ray alternate on the same work: features of synthetic photos (JPEG, about 500 x 500) with a randomly
initialised network, and a grid search of heads on them. The one-machine process is pinned to as many cores as the
cluster has workers (1 and 2, one raylet each, on the loopback interface); a worker's TensorFlow has one thread. Timed
separately:

- *join*: connecting to the cluster and uploading the package.
- *start*: extraction of 32 photos; nearly all of it is spent in workers that import TensorFlow, build the network and
  trace it.
- *features*: extraction of all other photos, with new worker processes.
- *search*: 12 heads, including the start of the workers that train them.

The overhead is in seconds, because nearly all of it is the start of workers and does not grow with the work. Prints
medians over the rounds, and the largest difference of features.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HEADS = {"learning_rate": {"values": [0.0003, 0.001, 0.003, 0.01]}, "inner": {"values": [50, 100, 200]}}


def work(folder: Path, backbone: dict[str, Any], trials: int, cache: str, there: Any, rounds: int) -> list[list[float]]:
    """Returns one row per round with the seconds of start, features and search; each round has an empty cache."""
    import numpy as np

    from headstand.heads import FeatureSplit
    from headstand.preparation import manifest
    from headstand.recipe import Backbone, Head, Search

    dataset = manifest.read(folder)
    few, many = dataset.photos[:32], dataset.photos[32:]
    labels = np.array([dataset.classes.index(photo.class_) for photo in many], np.int32)
    search = Search.model_validate({"strategy": "grid", "parameters": HEADS})
    cut = len(many) * 3 // 4
    found = []
    for number in range(rounds):
        os.environ["HEADSTAND_CACHE"] = f"{cache}-{number}"
        extractor = there.extractor(Backbone(**backbone))
        row = []
        start = time.perf_counter()
        extractor.rows(folder, few)
        row.append(time.perf_counter() - start)
        start = time.perf_counter()
        rows = extractor.rows(folder, many).rows
        row.append(time.perf_counter() - start)
        start = time.perf_counter()
        there.search(
            search, Head(epochs=trials, batch_size=20),
            FeatureSplit(rows[:cut], labels[:cut]), FeatureSplit(rows[cut:], labels[cut:]),
            len(dataset.classes), 1, Path(f"{cache}-{number}.journal"),
        )  # fmt: skip
        row.append(time.perf_counter() - start)
        found.append(row)
    np.save(f"{cache}.npy", rows)
    return found


def child(arguments: list[str]) -> None:
    """Entry point of a subprocess that does `work`, either on a number of local cores or connected to a cluster."""
    processors, address, *rest = arguments
    if processors != "all":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(processors)])
        os.environ.update(TF_NUM_INTRAOP_THREADS=processors, TF_NUM_INTEROP_THREADS=processors)
    from headstand import scale

    folder, backbone, trials, cache, rounds = rest
    start = time.perf_counter()
    with scale.backend(address or None) as there:
        joined = time.perf_counter() - start
        rows = work(Path(folder), json.loads(backbone), int(trials), cache, there, int(rounds))
    print(json.dumps({"joined": joined, "rows": rows}))


def run(*arguments: object) -> dict[str, Any]:
    """Runs `child` in a subprocess and returns its JSON result."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", "child", *map(str, arguments)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--backbone", default="Xception")
    parser.add_argument("--size", type=int, default=150)
    given = parser.parse_args()
    import numpy as np

    from benchmarks import search
    from headstand.preparation import manifest
    from headstand.preparation.manifest import Dataset
    from tests.scale.ray.machines import machines

    backbone = json.dumps({"name": given.backbone, "size": given.size, "weights": "none"})
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "photos"
        search.COUNTS.update(train=given.photos + 32, validation=0)
        photos = search.make(folder)
        manifest.write(Dataset(folder, tuple(photo for split in photos.values() for photo in split)))
        print(
            f"{platform.machine()}, {os.cpu_count()} processors, load {load:.1f}; {given.backbone} at {given.size} px,",
            end=" ",
        )
        print(f"{given.photos} photos, 12 heads of {given.epochs} epochs; medians of {given.rounds} rounds\n")
        print(f"{'':<22}{'join':>7}{'start':>8}{'features':>10}{'images/s':>10}{'search':>9}{'heads/s':>9}")
        for workers in given.workers:
            rows: dict[str, list[list[float]]] = {"one machine": [], "Ray": []}
            joined = []
            with machines(workers) as cluster:
                for number in range(given.rounds):
                    for name, address in (("one machine", ""), ("Ray", cluster.address)):
                        cache = f"{root}/{workers}-{number}-{name[0]}"
                        # Ray's driver process only waits, so it is not pinned.
                        processors = "all" if address else workers
                        result = run(processors, address, folder, backbone, given.epochs, cache, 1)
                        rows[name] += result["rows"]
                        if address:
                            joined.append(result["joined"])
                    one, many = (np.load(f"{root}/{workers}-{number}-{name[0]}.npy") for name in rows)
            medians = {
                name: [statistics.median(column) for column in zip(*found, strict=True)] for name, found in rows.items()
            }
            rates = {name: (given.photos / row[1], 12 / row[2]) for name, row in medians.items()}
            for name, (start, features, search) in medians.items():
                join = statistics.median(joined) if name == "Ray" else 0.0
                label = f"{name}, {workers} worker{'s' * (workers > 1)}"
                print(f"{label:<22}{join:7.1f}{start:8.1f}{features:10.1f}{rates[name][0]:10.1f}", end="")
                print(f"{search:9.1f}{rates[name][1]:9.2f}")
            lost = [there - here for here, there in zip(*medians.values(), strict=True)]
            worst = np.abs(one - many).max() / np.abs(one).max()
            print(f"{'overhead in seconds':<22}{'':>7}{lost[0]:8.1f}{lost[1]:10.1f}{'':>10}{lost[2]:9.1f}")
            print(f"features differ by {worst:.1e} of the largest at most\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        main()
