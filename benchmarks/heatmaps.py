"""Time and memory to prepare, train and evaluate 40,553 heatmap files.

    taskset -c 0,1 python -m benchmarks.heatmaps FOLDER [--files 40553]

The number of files is that of the original study. Files of 17 actions are generated once into FOLDER/source (8.5 GB;
not timed). In FOLDER, `data_preparation.py`, `train.py` with its report and test, and `python -m headstand evaluate`
then run with the shipped recipe and an empty cache. Prints seconds and peak resident memory (all processes together, in
MB) of each step, and for comparison the accuracy of a 1-nearest-neighbour classifier on raw values with 4,000 training
files.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from headstand.poses import action_source, heatmap_file
from headstand.poses.figure.actions import ACTIONS
from headstand.preparation import manifest

HOME = Path(__file__).parents[1]
NEAREST = 4000


def source(folder: Path, count: int) -> None:
    """Generates `count` files, evenly distributed over the actions."""
    each, rest = divmod(count, len(ACTIONS))
    action_source.write(folder, {name: each + (index < rest) for index, name in enumerate(ACTIONS)}, seed=1)


def measured(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Runs a command; returns its seconds, its peak memory in MB, and its standard output."""
    environment = {**os.environ, "PYTHONPATH": str(HOME), "HEADSTAND_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    running = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    peak = 0

    def watch() -> None:
        nonlocal peak
        process = psutil.Process(running.pid)
        while running.poll() is None:
            held = 0
            for each in (process, *process.children(recursive=True)):
                try:
                    held += each.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, held)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed, _ = running.communicate()
    watcher.join()
    if running.returncode:
        sys.exit(f"error: {' '.join(command)} ended with {running.returncode}")
    return time.perf_counter() - start, peak / 1e6, printed


def nearest(folder: Path) -> float:
    """Returns the accuracy of a 1-nearest-neighbour classifier with `NEAREST` random training files."""
    dataset, rng = manifest.read(folder), np.random.default_rng(0)
    known, asked = (
        [photos[index] for index in rng.permutation(len(photos))[:NEAREST]]
        for photos in (dataset.split("train"), dataset.split("test"))
    )
    rows = [
        np.stack([heatmap_file.decode(folder / each.path).ravel() for each in part]) for part in (known, asked[:1000])
    ]
    distances = (rows[0] ** 2).sum(axis=1) - 2 * rows[1] @ rows[0].T
    found = [known[index].class_ for index in distances.argmin(axis=1)]
    return float(np.mean([name == each.class_ for name, each in zip(found, asked, strict=False)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=40_553)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    source(folder / "source", arguments.files)
    for name in ("data", "runs", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    commands = {
        "prepare": [
            "data_preparation.py",
            "heatmaps",
            "--source.folder",
            "source",
            "--source.groups",
            action_source.PERSON,
        ],
        "train": ["train.py", "heatmaps"],
    }
    total = 0.0
    print(
        f"{arguments.files:,} files on {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}", flush=True
    )
    for name, (script, *rest) in commands.items():
        seconds, peak, printed = measured([sys.executable, str(HOME / script), *rest], folder)
        total += seconds
        print(f"{name:10}{seconds:7.0f} s{peak:8.0f} MB", flush=True)
    (checkpoint,) = (folder / "runs/heatmaps").glob("*/*.h5")
    command = [sys.executable, "-m", "headstand", "evaluate", str(checkpoint)]
    seconds, peak, printed = measured(command, folder)
    total += seconds
    print(f"{'evaluate':10}{seconds:7.0f} s{peak:8.0f} MB")
    print(f"{'all':10}{total:7.0f} s, load {os.getloadavg()[0]:.1f}")
    print(*re.findall(r"^.*accuracy.*$", printed, re.MULTILINE), sep="\n")
    print(f"nearest of {NEAREST:,} raw files: {nearest(folder / 'data/heatmaps'):.3f}")


if __name__ == "__main__":
    main()
