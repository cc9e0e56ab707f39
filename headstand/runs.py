"""Run folders `runs/<recipe>/<time>/`: creates one for a new run, finds those of interrupted and finished runs."""

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
from headstand.recipe import Backbone, Recipe, RecipeError, locate, with_current_keys
from headstand.storage import Mirror, is_remote

REPORT = "report.json"
"""Name of the report, which is written last; a folder without it belongs to an interrupted run."""

RECIPE = "recipe.json"
"""Name of the file with the run's identity: resolved recipe, digests of data and weights, versions of the code."""

_RENAMED = {"straddling": "split_leak"}
"""Keys of reports of earlier versions with their present names."""

JOURNAL = "search.journal"
"""Name of Optuna's journal file, which holds every finished trial."""


def root() -> Path:
    """Returns the local folder of all runs: `HEADSTAND_RUNS`, or `runs` if that is unset or a remote address."""
    location = os.environ.get("HEADSTAND_RUNS") or "runs"
    return Path("runs") if is_remote(location) else Path(location).expanduser()


def _mirror() -> Mirror | None:
    """Returns the mirror of all runs at the remote address in `HEADSTAND_RUNS`; None if it holds no such address."""
    location = os.environ.get("HEADSTAND_RUNS") or ""
    return Mirror(location, root()) if is_remote(location) else None


class RunError(HeadstandError):
    """There is no such run, or its report is damaged."""


@dataclass(frozen=True)
class Run:
    """A run's folder, whether the run is resumed, and the lock that excludes other processes.

    `reason` is a sentence for the user on why the newest interrupted run was not resumed; empty if there is none.
    """

    folder: Path
    resumed: bool
    lock: FileLock
    reason: str = ""

    @property
    def journal(self) -> Path:
        """Returns the path of the search's journal."""
        return self.folder / JOURNAL

    @contextmanager
    def active(self) -> Iterator[None]:
        """Uploads changed files to the remote address in `HEADSTAND_RUNS`, if any, while the block runs.

        Releases the lock at the end of the block. Raises the errors of `Mirror.uploading`.
        """
        try:
            if mirror := _mirror():
                with mirror.below(self.folder.relative_to(root()).as_posix()).uploading(REPORT):
                    yield
            else:
                yield
        finally:
            self.lock.release()


def begin(recipe: Recipe, data: str) -> Run:
    """Resumes the newest interrupted run of this recipe on this data, or creates a new one.

    A run is resumed only with exactly the same recipe, data, weights file and code; otherwise its two halves would be
    trained differently.

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
    """Returns the folder of the newest finished run of exactly this recipe, data, weights file and code, or None.

    Args:
        recipe: the resolved recipe.
        data: the digest of the prepared dataset.
    """
    record = _record(recipe, data)
    for report in sorted(_runs(recipe).glob(f"*/{REPORT}"), reverse=True):
        file = report.with_name(RECIPE)
        if file.is_file() and file.read_text(encoding="utf-8") == record:
            return report.parent
    return None


def _runs(recipe: Recipe) -> Path:
    return root() / recipe.name


def _record(recipe: Recipe, data: str) -> str:
    return json.dumps({"recipe": recipe.model_dump(mode="json"), "data": data, **identity(recipe.backbone)}, indent=1)


def identity(*backbones: Backbone) -> dict[str, Any]:
    """Returns what a result depends on besides recipe and data: versions of the code and digests of networks' files.

    The dictionary can be written as JSON.
    """
    packages = ("tensorflow", "keras", "numpy", "pillow")
    code = {"headstand": headstand.__version__, "source": _source(), **{name: version(name) for name in packages}}
    paths = {path for one in backbones for path in (one.network_file, one.weights_file) if path}
    return {"code": code, "weights": {path: _digest(path) for path in sorted(paths)}}


@functools.cache
def _source() -> str:
    """Returns the SHA-256 of all modules of the package, since the version number changes only with a release."""
    digest, package = hashlib.sha256(), Path(headstand.__file__).parent
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _digest(path: str) -> str | None:
    """Returns the SHA-256 of a file of a network or its weights; None if it is unreadable."""
    try:
        return files.digest(locate(path, "HEADSTAND_WEIGHTS"))
    except (RecipeError, OSError):  # reported when the network is built
        return None


def _fetch_interrupted(mirror: Mirror) -> None:
    """Downloads the newest interrupted run if it has no local folder, since another machine may have started it."""
    files = defaultdict(set)
    for name in mirror.listed():
        run, slash, file = name.partition("/")
        files[run if slash else ""].add(file)
    unfinished = [run for run, names in files.items() if RECIPE in names and REPORT not in names]
    if unfinished and not (mirror.folder / max(unfinished)).exists():
        mirror.below(max(unfinished)).pull()


def claim(parent: Path, prefix: str, name: str, record: str, last: str) -> Run:
    """Resumes the newest interrupted folder with the same identity that no process has locked, or creates a new one.

    Args:
        parent: parent of the folders.
        prefix: prefix of their names, before the time.
        name: name of the file with the identity of the work.
        record: content of that file, a JSON object; only work with exactly the same identity is resumed.
        last: name of the file that is written when the work is finished.
    """
    folders = sorted(parent.glob(f"{prefix}*/"), reverse=True)
    for folder in folders:
        if not _resumable(folder, name, record, last):
            continue
        if lock := _lock(folder):
            # The process that held the lock may have finished the work since the first check.
            if _resumable(folder, name, record, last):
                return Run(folder, True, lock)
            lock.release()
    reason = _reason(folders, name, record, last)
    # The name must be later than those of all recipes' runs, since `newest_checkpoint` compares them.
    folder = parent / naming.folder(prefix, (path.name for path in parent.parent.glob(f"*/{prefix}*/")))
    folder.mkdir(parents=True)
    lock = _lock(folder)
    assert lock is not None
    (folder / name).write_text(record, encoding="utf-8")
    return Run(folder, False, lock, reason)


def _resumable(folder: Path, name: str, record: str, last: str) -> bool:
    """Returns whether a folder holds unfinished work with this identity; arguments as in `claim`."""
    file = folder / name
    return not (folder / last).exists() and file.is_file() and file.read_text(encoding="utf-8") == record


def _reason(folders: list[Path], name: str, record: str, last: str) -> str:
    """Returns a sentence on why the newest interrupted folder is not resumed; empty if there is none."""
    for folder in folders:
        file = folder / name
        if (folder / last).exists() or not file.is_file():
            continue
        try:
            changed = _changes(json.loads(file.read_text(encoding="utf-8")), json.loads(record))
        except ValueError:  # the process was killed while writing the file
            continue
        if not changed:
            return f"{folder} is not resumed: another process uses it"
        return f"{folder} was interrupted and is not resumed, since these have changed: {', '.join(changed)}"
    return ""


def _changes(before: Any, now: Any, key: str = "") -> list[str]:
    """Returns the dotted keys at which two JSON values differ, such as `recipe.head.epochs`."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*now, *(name for name in before if name not in now)]
        return [
            change
            for name in keys
            for change in _changes(before.get(name), now.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if before == now else [key]


def _lock(folder: Path) -> FileLock | None:
    """Acquires the folder's lock, which the operating system releases when the process ends; None if it is taken."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def newest_checkpoint(name: str | None = None, refitted: bool = True) -> Path:
    """Returns the checkpoint of the newest finished run of one recipe or of all recipes.

    Args:
        name: name of the recipe; None for any.
        refitted: prefer the refitted checkpoint, if there is one, to the one that the test metrics belong to.

    Raises:
        RunError: there is no finished run, or a report is damaged.
    """
    if mirror := _mirror():
        mirror.pull(lambda path: fnmatch(path, f"{name or '*'}/*/{REPORT}") and path.count("/") == 2)
    reports = sorted(root().glob(f"{name or '*'}/*/{REPORT}"), key=lambda path: path.parent.name, reverse=True)
    for report in reports:
        checkpoint = _checkpoint(report, refitted)
        if mirror and not checkpoint.is_file():
            mirror.below(checkpoint.parent.relative_to(root()).as_posix()).pull(checkpoint.name.__eq__)
        if checkpoint.is_file():
            return checkpoint
    raise RunError("there is no finished run under runs/: train a model with `python -m headstand train PHOTOS`")


def newest_in(folder: Path) -> Path | None:
    """Returns the newest finished run in a folder: the folder itself, that of a recipe, or that of all recipes."""
    reports = [path for pattern in (REPORT, f"*/{REPORT}", f"*/*/{REPORT}") for path in folder.glob(pattern)]
    return max((report.parent for report in reports), key=lambda path: path.name, default=None)


def checkpoint_in(folder: Path, refitted: bool = True) -> Path:
    """Returns the checkpoint of a finished run, given a folder as in `newest_in`.

    Args:
        folder: the folder.
        refitted: as in `newest_checkpoint`.

    Raises:
        RunError: there is no finished run in the folder, or its report is damaged.
    """
    run = newest_in(folder)
    if not run:
        checkpoints = ", ".join(sorted(str(path) for path in folder.glob("*.h5"))[:5])
        raise RunError(
            f"{folder} is a folder without a finished run ({REPORT}); name "
            + (
                f"a checkpoint: {checkpoints}"
                if checkpoints
                else "a checkpoint, or train a model with `python -m headstand train PHOTOS`"
            )
        )
    return _checkpoint(run / REPORT, refitted)


def read_report(folder: Path) -> dict[str, Any]:
    """Returns the report of a finished run, also of one that an earlier version wrote.

    Raises:
        OSError: the report cannot be read.
        ValueError: it is not JSON.
    """
    record = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return {
        **{_RENAMED.get(key, key): value for key, value in record.items()},
        "recipe": with_current_keys(record["recipe"]),
    }


def _checkpoint(report: Path, refitted: bool) -> Path:
    try:
        record = json.loads(report.read_text(encoding="utf-8"))
        scored = record.get("scored", record["checkpoint"])
        return report.parent / ((refitted and record["refitted"]) or scored)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{report} is damaged ({error}): name the checkpoint, or remove the run's folder") from error
