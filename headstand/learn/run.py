"""The folder of a run, `runs/<recipe>/<time>/`: created for a new run, found again for an interrupted one."""

import functools
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import headstand
from headstand import files, naming
from headstand.errors import HeadstandError
from headstand.recipe import Backbone, Recipe, RecipeError, locate
from headstand.remote import Mirror, is_remote

REPORT = "report.json"
"""Written last: a folder without it is that of an interrupted run."""

RECIPE = "recipe.json"
"""The identity of the run: the resolved recipe, the digests of data and weights, the version of the code."""

JOURNAL = "search.journal"
"""Optuna's file: every finished trial."""


def root() -> Path:
    """The folder of all runs: `HEADSTAND_RUNS`, else `runs` here, also if that is an address."""
    place = os.environ.get("HEADSTAND_RUNS") or "runs"
    return Path("runs") if is_remote(place) else Path(place).expanduser()


def _mirror() -> Mirror | None:
    """All runs at the address in `HEADSTAND_RUNS`; None if that is not an address."""
    place = os.environ.get("HEADSTAND_RUNS") or ""
    return Mirror(place, root()) if is_remote(place) else None


class RunError(HeadstandError):
    """There is no such run."""


@dataclass(frozen=True)
class Run:
    """The folder of a run, whether it is resumed, and the lock that keeps other processes out.

    `reason` is a sentence for the user on why the newest interrupted run was not resumed; empty if there is none.
    """

    folder: Path
    resumed: bool
    lock: FileLock
    reason: str = ""

    @property
    def journal(self) -> Path:
        """The trials of the search."""
        return self.folder / JOURNAL

    @contextmanager
    def kept_up(self) -> Iterator[None]:
        """Send what changes in the folder to the address in `HEADSTAND_RUNS`, if that is one; errors as `Mirror`'s."""
        mirror = _mirror()
        if mirror is None:
            yield
            return
        with mirror.below(self.folder.relative_to(root()).as_posix()).kept_up(REPORT):
            yield


def begin(recipe: Recipe, data: str) -> Run:
    """Resume the newest interrupted run of this recipe on this data, or begin a new one.

    A run is resumed only with exactly the same recipe, data, weights file and code: its second half would otherwise
    not belong to its first.

    Args:
        recipe: the resolved recipe.
        data: the digest of the prepared dataset.

    Raises:
        RemoteError: the address in `HEADSTAND_RUNS` cannot be reached.
    """
    if mirror := _mirror():
        _fetch_interrupted(mirror.below(recipe.name))
    return claim(_runs(recipe), "", RECIPE, _record(recipe, data), REPORT)


def finished(recipe: Recipe, data: str) -> Path | None:
    """The folder of the newest finished run of exactly this recipe, data, weights file and code, if there is one.

    Args:
        recipe: the resolved recipe.
        data: the digest of the prepared dataset.
    """
    record = _record(recipe, data)
    for report in sorted(_runs(recipe).glob(f"*/{REPORT}"), reverse=True):
        written = report.with_name(RECIPE)
        if written.is_file() and written.read_text(encoding="utf-8") == record:
            return report.parent
    return None


def _runs(recipe: Recipe) -> Path:
    return root() / recipe.name


def _record(recipe: Recipe, data: str) -> str:
    return json.dumps({"recipe": recipe.model_dump(mode="json"), "data": data, **identity(recipe.backbone)}, indent=1)


def identity(*backbones: Backbone) -> dict[str, Any]:
    """What a result depends on besides recipe and data, as JSON: versions of the code, digests of the weights files."""
    packages = ("tensorflow", "keras", "numpy", "pillow")
    code = {"headstand": headstand.__version__, "source": _source(), **{name: version(name) for name in packages}}
    return {"code": code, "weights": {backbone.weights: _weights(backbone) for backbone in backbones}}


@functools.cache
def _source() -> str:
    """SHA-256 of all modules of the package: between releases the version number stays the same."""
    digest, package = hashlib.sha256(), Path(headstand.__file__).parent
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _weights(backbone: Backbone) -> str | None:
    """SHA-256 of the file with the initial weights; None for `imagenet`, which the version of Keras determines."""
    if backbone.weights in ("imagenet", "none"):
        return None
    try:
        return files.digest(locate(backbone.weights, "HEADSTAND_WEIGHTS"))
    except (RecipeError, OSError):  # reported when the network is built
        return None


def _fetch_interrupted(mirror: Mirror) -> None:
    """Download the newest run without a report if it is not here: another machine may have begun it."""
    files = defaultdict(set)
    for name in mirror.listed():
        run, slash, file = name.partition("/")
        files[run if slash else ""].add(file)
    unfinished = [run for run, names in files.items() if RECIPE in names and REPORT not in names]
    if unfinished and not (mirror.folder / max(unfinished)).exists():
        mirror.below(max(unfinished)).pull()


def claim(parent: Path, prefix: str, name: str, record: str, last: str) -> Run:
    """Resume the newest interrupted folder with the same identity that no process works in, or create a new one.

    Args:
        parent: the folder of the folders.
        prefix: of their names, before the time.
        name: the file with the identity of the work.
        record: its content, a JSON object; only work with exactly the same identity is resumed.
        last: the file that is written when the work is finished.
    """
    folders = sorted(parent.glob(f"{prefix}*/"), reverse=True)
    for folder in folders:
        if not _resumable(folder, name, record, last):
            continue
        if lock := _lock(folder):
            # The process that held the lock may have finished since.
            if _resumable(folder, name, record, last):
                return Run(folder, True, lock)
            lock.release()
    reason = _reason(folders, name, record, last)
    # Names order the runs of all recipes: `newest_checkpoint` compares them.
    folder = parent / naming.folder(prefix, (path.name for path in parent.parent.glob(f"*/{prefix}*/")))
    folder.mkdir(parents=True)
    lock = _lock(folder)
    assert lock is not None
    (folder / name).write_text(record, encoding="utf-8")
    return Run(folder, False, lock, reason)


def _resumable(folder: Path, name: str, record: str, last: str) -> bool:
    """Whether a folder holds unfinished work with this identity; arguments as of `claim`."""
    written = folder / name
    return not (folder / last).exists() and written.is_file() and written.read_text(encoding="utf-8") == record


def _reason(folders: list[Path], name: str, record: str, last: str) -> str:
    """Why the newest interrupted folder is not resumed; empty if there is none."""
    for folder in folders:
        written = folder / name
        if (folder / last).exists() or not written.is_file():
            continue
        try:
            changed = _changes(json.loads(written.read_text(encoding="utf-8")), json.loads(record))
        except ValueError:  # the process was killed while it wrote the file
            continue
        if not changed:
            return f"{folder} is not resumed: another process works in it"
        return f"{folder} was interrupted and is not resumed, since these have changed: {', '.join(changed)}"
    return ""


def _changes(before: Any, now: Any, key: str = "") -> list[str]:
    """The keys at which two JSON values differ, such as `recipe.head.epochs`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*now, *(name for name in before if name not in now)]
        return [
            change
            for name in keys
            for change in _changes(before.get(name), now.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if before == now else [key]


def _lock(folder: Path) -> FileLock | None:
    """The folder's lock, which the operating system releases when the process ends; None if another holds it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def newest_checkpoint(name: str | None = None, refitted: bool = True) -> Path:
    """The checkpoint of the newest finished run, of one recipe or of all.

    Args:
        name: the recipe's; None for any.
        refitted: the refitted checkpoint if there is one, and not the one of the test metrics.

    Raises:
        RunError: there is none, or the report of the newest run is damaged.
    """
    if mirror := _mirror():
        mirror.pull(lambda found: fnmatch(found, f"{name or '*'}/*/{REPORT}") and found.count("/") == 2)
    reports = sorted(root().glob(f"{name or '*'}/*/{REPORT}"), key=lambda path: path.parent.name, reverse=True)
    for report in reports:
        checkpoint = _checkpoint(report, refitted)
        if mirror and not checkpoint.is_file():
            mirror.below(checkpoint.parent.relative_to(root()).as_posix()).pull(checkpoint.name.__eq__)
        if checkpoint.is_file():
            return checkpoint
    raise RunError("there is no finished run under runs/; `python train.py` makes one, and `make demo` the whole way")


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint to use of a finished run, by its folder, or of the newest run in a recipe's folder.

    Raises:
        RunError: there is no finished run in it, or its report is damaged.
    """
    reports = [folder / REPORT] if (folder / REPORT).is_file() else sorted(folder.glob(f"*/{REPORT}"))
    if not reports:
        held = ", ".join(sorted(str(path) for path in folder.glob("*.h5"))[:5])
        raise RunError(
            f"{folder} is a folder without a finished run ({REPORT}); name "
            + (f"a checkpoint: {held}" if held else "a checkpoint, or train one with `python train.py`")
        )
    return _checkpoint(reports[-1], refitted=True)


def _checkpoint(report: Path, refitted: bool) -> Path:
    try:
        record = json.loads(report.read_text(encoding="utf-8"))
        scored = record.get("scored", record["checkpoint"])
        return report.parent / ((refitted and record["refitted"]) or scored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{report} is damaged ({error}): name the checkpoint, or remove the run's folder") from error
