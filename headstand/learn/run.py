"""A run's folder, `runs/<recipe>/<time>/`: made for a new run, found again for an interrupted one."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from filelock import FileLock, Timeout

from headstand import naming
from headstand.errors import HeadstandError
from headstand.recipe import Recipe
from headstand.remote import Mirror, is_remote

REPORT = "report.json"
"""Written last: a folder without it holds an interrupted run."""

RECIPE = "recipe.json"
"""The resolved recipe and the data's digest: what the run is."""

JOURNAL = "search.journal"
"""Optuna's file: every trial that was finished."""


def root() -> Path:
    """The folder of all runs: `HEADSTAND_RUNS`, else `runs` here, also where that is an address."""
    place = os.environ.get("HEADSTAND_RUNS") or "runs"
    return Path("runs") if is_remote(place) else Path(place).expanduser()


def _mirror() -> Mirror | None:
    """All runs at the address in `HEADSTAND_RUNS`; None where that is none."""
    place = os.environ.get("HEADSTAND_RUNS") or ""
    return Mirror(place, root()) if is_remote(place) else None


class RunError(HeadstandError):
    """A run that is asked for and not there."""


@dataclass(frozen=True)
class Run:
    """A run's folder, whether it was begun earlier, and the lock that keeps others from taking it up meanwhile."""

    folder: Path
    resumed: bool
    lock: FileLock

    @property
    def journal(self) -> Path:
        """The search's trials."""
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
    """Go on with the newest run of this recipe on this data that has no report and no process, or make a new one.

    Args:
        recipe: written into the folder; a run is only resumed with exactly the same one.
        data: the prepared dataset's digest.

    Raises:
        RemoteError: the address in `HEADSTAND_RUNS` cannot be reached.
    """
    if mirror := _mirror():
        _fetch_interrupted(mirror.below(recipe.name))
    return claim(_runs(recipe), "", RECIPE, _record(recipe, data), REPORT)


def finished(recipe: Recipe, data: str) -> Path | None:
    """The folder of the newest finished run of exactly this recipe on this data, if there is one.

    Args:
        recipe: all of the run.
        data: the prepared dataset's digest.
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
    return json.dumps({"recipe": recipe.model_dump(mode="json"), "data": data}, indent=1)


def _fetch_interrupted(mirror: Mirror) -> None:
    """Bring the newest run without a report here, unless it is: a machine that is gone may have begun it."""
    files = defaultdict(set)
    for name in mirror.listed():
        run, slash, file = name.partition("/")
        files[run if slash else ""].add(file)
    unfinished = [run for run, names in files.items() if RECIPE in names and REPORT not in names]
    if unfinished and not (mirror.folder / max(unfinished)).exists():
        mirror.below(max(unfinished)).pull()


def claim(parent: Path, prefix: str, name: str, record: str, last: str) -> Run:
    """Take up the newest folder of this kind of work that has no end and no process, or make a new one.

    Args:
        parent: where the folders lie.
        prefix: what their names begin with, before the time.
        name: the file that says what the work is.
        record: its text; only the very same work is taken up again.
        last: the file that is written when the work is done.
    """
    for folder in sorted(parent.glob(f"{prefix}*/"), reverse=True):
        written = folder / name
        if (folder / last).exists() or not written.is_file() or written.read_text(encoding="utf-8") != record:
            continue
        if lock := _lock(folder):
            return Run(folder, True, lock)
    # Names order the runs of all recipes: `newest_checkpoint` compares them.
    folder = parent / naming.folder(prefix, (path.name for path in parent.parent.glob(f"*/{prefix}*/")))
    folder.mkdir(parents=True)
    lock = _lock(folder)
    assert lock is not None
    (folder / name).write_text(record, encoding="utf-8")
    return Run(folder, False, lock)


def _lock(folder: Path) -> FileLock | None:
    """The folder's lock, which the operating system frees when its process ends however; None if another holds it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def newest_checkpoint(name: str | None = None, refitted: bool = True) -> Path:
    """The checkpoint to use of the newest finished run, of one recipe or of all.

    Args:
        name: the recipe's; None for any.
        refitted: the one that was refitted where there is one, not the one of the run's test figures.

    Raises:
        RunError: there is none, or the newest one's report is damaged.
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
