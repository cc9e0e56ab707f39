"""Cost of SIGKILL during training, and equality of the resumed run with an uninterrupted one.

    python -m benchmarks.kill [--moments 20] [--seed 1] [--phases features search fine-tuning]

Runs `train.py` on a small synthetic dataset with a randomly initialised network, once uninterrupted. Then, for each
moment, a run is killed at a random time within the phase and restarted until it finishes. A unit is a batch of
features, a trial of the search or an epoch of fine-tuning. It is logged when it begins and when it is saved:

- *in flight*: units that had begun but were not saved at the time of the kill,
- *repeated*: units that the two runs together began in excess of the uninterrupted run.

Compared are the cached features row by row; for the search all trials, the selected head and its trained weights; for
fine-tuning the weights, the best epoch and the test accuracy. For reference, the difference between two uninterrupted
runs is printed.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from headstand.features.cache import KEY_BYTES
from headstand.runs import REPORT
from tests import photos

HOME = Path(__file__).resolve().parents[1]
COUNTS = {"train": 160, "validation": 32, "test": 32}
"""Photos per class in each split."""

WIDTH = 1024
"""Values in one row of MobileNet features."""

RECIPES = {
    "features": """
[head]
inner = []
epochs = 2
""",
    "search": """
[head]
inner = [32]
epochs = 25
patience = 10
[search]
strategy = "tpe"
trials = 18
[search.parameters]
learning_rate = {low = 1e-5, high = 0.1, log = true}
dropout = {low = 0.0, high = 0.6}
layers = {low = 0, high = 2}
units = {low = 8, high = 128, log = true}
""",
    "fine-tuning": """
[head]
inner = []
epochs = 2
[finetune]
epochs = 4
batch_size = 32
""",
}

COMMON = """
name = "shapes"
[source]
folder = "photos"
[backbone]
name = "MobileNet"
size = 48
weights = "none"
"""

TRAIN = """
import os, sys, time
import train
from headstand.features import extractor
from headstand.finetune import callbacks
from headstand.heads import fitting
from headstand.heads.search import trial
log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def record(event):
    if event:
        os.write(log, f"{event} {time.monotonic()}\\n".encode())
def wrap(owner, name, before=None, after=None):
    real = getattr(owner, name)
    def wrapped(*arguments, **options):
        record(before)
        result = real(*arguments, **options)
        record(after)
        return result
    setattr(owner, name, wrapped)
PHASE = sys.argv[1]
if PHASE == "features":
    wrap(extractor.FeatureCache, "append", after="saved")
    real = extractor.compiled
    def compiled(model):
        call = real(model)
        return lambda pixels: (record("begun"), call(pixels))[1]
    extractor.compiled = compiled
if PHASE == "search":
    wrap(fitting, "_fit", before="begun")
    wrap(trial.TrialJournal, "add", after="saved")
if PHASE == "fine-tuning":
    wrap(callbacks.EpochCallback, "on_epoch_begin", before="begun")
    wrap(callbacks.CheckpointCallback, "on_epoch_end", after="saved")
train.main(["shapes.toml"])
"""


@dataclass(frozen=True)
class Log:
    """Number of units begun and saved in all starts of a run, and seconds from the first begin to the last save."""

    begun: int
    saved: int
    seconds: float


@dataclass(frozen=True)
class Kill:
    """One kill: its time as a share of the phase, its cost, and the difference of the results (0: equal)."""

    moment: float
    saved: int
    in_flight: int
    repeated: int
    difference: float


class KillBenchmark:
    """Folder with a dataset, an uninterrupted run, and one subfolder for each killed run."""

    def __init__(self, folder: Path, phase: str, counts: dict[str, int] = COUNTS) -> None:
        """Creates the dataset with `counts` photos per class in each split, and the uninterrupted run."""
        self.phase = phase
        self._root = folder
        photos.prepare(folder / "data" / "shapes", counts)
        if phase != "features":
            self._run(self._new_folder("warm"))  # fills the feature cache that the later runs share
        self._whole = self._new_folder("whole")
        self._run(self._whole)
        self.uninterrupted = read(self._whole)

    def kill(self, moment: float, name: str) -> Kill | None:
        """Kills a run at a share of the phase, resumes it and compares; None if the phase was already over."""
        folder = self._new_folder(name)
        process = self._start(folder)
        while not read(folder).begun and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moment * self.uninterrupted.seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = read(folder)
        if process.returncode != -signal.SIGKILL or killed.saved >= self.uninterrupted.saved:
            return None
        self._run(folder)
        repeated = read(folder).begun - self.uninterrupted.begun
        return Kill(moment, killed.saved, killed.begun - killed.saved, repeated, self._difference(folder))

    def kills(self, seed: int, count: int) -> Iterator[Kill]:
        """Yields `count` kills at random moments."""
        rng, number = np.random.default_rng(seed), 0
        while count:
            number += 1
            if kill := self.kill(float(rng.uniform()), f"{number:03d}"):
                count -= 1
                yield kill

    def noise(self) -> float:
        """Returns the difference between two uninterrupted runs."""
        folder = self._new_folder("again")
        self._run(folder)
        return self._difference(folder)

    def _new_folder(self, name: str) -> Path:
        folder = self._root / name
        folder.mkdir()
        (folder / "data").symlink_to(self._root / "data")
        (folder / "shapes.toml").write_text(COMMON + RECIPES[self.phase])
        return folder

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("HEADSTAND_")}
        cache = folder if self.phase == "features" else self._root
        environment = {**own, "PYTHONPATH": str(HOME), "HEADSTAND_CACHE": str(cache / "cache")}
        command = [sys.executable, "-c", TRAIN, self.phase]
        with (folder / "output").open("ab") as output:
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)

    def _run(self, folder: Path) -> None:
        if self._start(folder).wait():
            raise SystemExit(f"training failed in {folder}:\n" + (folder / "output").read_text())

    def _difference(self, folder: Path) -> float:
        """Returns the largest difference to the uninterrupted run; infinite if selected settings or scores differ."""
        if self.phase == "features":
            one, other = rows(folder / "cache"), rows(self._whole / "cache")
            if one.keys() != other.keys():
                return float("inf")
            return max(float(np.abs(one[key] - other[key]).max()) for key in other)
        (report, weights), (wanted, wanted_weights) = end(folder), end(self._whole)
        if report != wanted:
            return float("inf")
        return max(float(np.abs(a - b).max()) for a, b in zip(weights, wanted_weights, strict=True))


def read(folder: Path) -> Log:
    """Returns the contents of a run's log so far."""
    path = folder / "log"
    # Lines are complete even after a kill, because each is written by a single call.
    lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
    times = [float(moment) for _, moment in lines]
    saved = [float(moment) for word, moment in lines if word == "saved"]
    return Log(len(lines) - len(saved), len(saved), max(saved, default=0.0) - min(times, default=0.0))


def rows(cache: Path) -> dict[bytes, np.ndarray]:
    """Returns every feature row in a cache by key, without a row that was only partly written."""
    record = np.dtype([("key", f"V{KEY_BYTES}"), ("row", "<f4", (WIDTH,)), ("crc", "<u4")])
    found = {}
    for path in cache.glob("features/*/*.rows"):
        whole = path.stat().st_size // record.itemsize
        for entry in np.fromfile(path, record, whole):
            found[entry["key"].tobytes()] = entry["row"].copy()
    return found


def end(folder: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Returns the settings and scores of a run from its report, and the weights of its checkpoint."""
    (path,) = folder.glob(f"runs/shapes/*/{REPORT}")
    report = json.loads(path.read_text())
    weights: list[np.ndarray] = []
    with h5py.File(path.parent / report["checkpoint"]) as file:
        file["model_weights"].visititems(lambda _, item: weights.append(item[()]) if hasattr(item, "shape") else None)
    chosen = {key: report[key] for key in ("head", "trials", "search", "best_epoch", "checkpoint")}
    return {**chosen, "test": report["test"]["accuracy"]}, weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; seed {arguments.seed}", flush=True)
    lines = []
    for phase in arguments.phases:
        with tempfile.TemporaryDirectory() as folder:
            benchmark = KillBenchmark(Path(folder), phase)
            print(
                f"\n{phase}: {benchmark.uninterrupted.saved} units in {benchmark.uninterrupted.seconds:.1f} s",
                flush=True,
            )
            noise = benchmark.noise()
            kills = []
            for kill in benchmark.kills(arguments.seed, arguments.moments):
                kills.append(kill)
                print(
                    f"  killed at {kill.moment:5.1%} with {kill.saved:3} saved: {kill.in_flight} in flight, "
                    f"{kill.repeated} repeated, difference {kill.difference:.1e}",
                    flush=True,
                )
            lines.append(
                f"{phase:<12}{len(kills):>7}{max(s.in_flight for s in kills):>17}"
                f"{max(s.repeated for s in kills):>15}{sum(s.difference == 0 for s in kills):>7}"
                f"{max(s.difference for s in kills):>12.1e}{noise:>24.1e}"
            )
    print(f"\n{'':<12}{'kills':>7}{'most in flight':>17}{'most repeated':>15}{'equal':>7}{'largest':>12}", end="")
    print(f"{'two uninterrupted runs':>24}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
