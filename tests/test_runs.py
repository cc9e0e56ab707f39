import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock

import headstand
from headstand import runs
from headstand.recipe import Recipe
from headstand.runs import Run, RunError, begin, finished, newest_checkpoint
from tests import networks
from tests.test_naming import stop_clock

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def recipe() -> Recipe:
    return networks.recipe()


def finish(folder: Path, checkpoint: str, refitted: str | None = None, files: tuple[str, ...] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files if files is not None else filter(None, (checkpoint, refitted)):
        (folder / name).write_bytes(b"weights")
    (folder / "report.json").write_text(json.dumps({"checkpoint": checkpoint, "refitted": refitted}))


def test_each_run_has_a_folder_with_its_recipe(recipe: Recipe) -> None:
    run = begin(recipe, "d1")
    assert not run.resumed
    assert re.fullmatch(r"runs/shapes/\d{4}-\d\d-\d\dT\d{6}-[a-z0-9]{6}", str(run.folder))
    written = json.loads((run.folder / "recipe.json").read_text())
    assert written["data"] == "d1"
    assert Recipe.model_validate(written["recipe"]) == recipe
    assert run.journal.parent == run.folder


def ended(run: Run) -> Run:
    """As it is when the run's process is gone."""
    run.lock.release()
    return run


def test_running_run_is_not_resumed_by_another_process(recipe: Recipe) -> None:
    first = begin(recipe, "d1")
    second = begin(recipe, "d1")
    assert not second.resumed
    assert second.folder != first.folder
    ended(first)
    assert begin(recipe, "d1").folder == first.folder


def test_only_the_same_recipe_on_the_same_data_is_resumed(recipe: Recipe) -> None:
    first = ended(begin(recipe, "d1"))
    again = ended(begin(recipe, "d1"))
    assert (again.folder, again.resumed) == (first.folder, True)
    other_data = begin(recipe, "d2")
    other_recipe = begin(recipe.model_copy(update={"seed": 2}), "d1")
    assert not other_data.resumed
    assert not other_recipe.resumed
    assert len({first.folder, other_data.folder, other_recipe.folder}) == 3
    assert begin(recipe, "d1").folder == first.folder


def test_a_run_that_has_just_finished_is_not_resumed(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process writes the report and releases the lock between the check and the lock of another process."""
    first = ended(begin(recipe, "d1"))
    real = runs._lock

    def lock(folder: Path) -> FileLock | None:
        if folder == first.folder:
            (folder / "report.json").write_text("{}")
        return real(folder)

    monkeypatch.setattr(runs, "_lock", lock)
    second = begin(recipe, "d1")
    assert (second.resumed, second.reason) == (False, "")
    assert second.folder != first.folder
    free = real(first.folder)
    assert free
    free.release()


@pytest.mark.parametrize("changed", ["version", "source"])
def test_a_run_of_other_code_is_not_resumed(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    first = ended(begin(recipe, "d1"))
    finish(ended(begin(recipe, "d2")).folder, "shapes.h5")
    with monkeypatch.context() as patch:
        if changed == "version":
            patch.setattr(headstand, "__version__", "0.0.9")
        else:
            patch.setattr(runs, "_source", lambda: "0" * 64)
        second = ended(begin(recipe, "d1"))
        assert not second.resumed
        key = {"version": "code.headstand", "source": "code.source"}[changed]
        assert second.reason == f"{first.folder} was interrupted and is not resumed, since these have changed: {key}"
        assert finished(recipe, "d2") is None
    third = ended(begin(recipe, "d1"))
    assert (third.folder, third.resumed, third.reason) == (first.folder, True, "")
    assert finished(recipe, "d2")


def test_a_run_from_other_weights_is_not_resumed() -> None:
    Path("a.weights.h5").write_bytes(b"one")
    settings = networks.recipe(backbone={"name": "MobileNet", "size": 32, "weights": "a.weights.h5"})
    first = ended(begin(settings, "d1"))
    again = ended(begin(settings, "d1"))
    assert (again.folder, again.resumed) == (first.folder, True)
    Path("a.weights.h5").write_bytes(b"two")
    second = ended(begin(settings, "d1"))
    assert not second.resumed
    assert "is not resumed, since these have changed: weights.a.weights.h5" in second.reason
    finish(second.folder, "shapes.h5")
    assert finished(settings, "d1") == second.folder
    Path("a.weights.h5").write_bytes(b"three")
    assert finished(settings, "d1") is None


def test_a_run_from_another_network_is_not_resumed() -> None:
    Path("net.keras").write_bytes(b"one")
    settings = networks.recipe(backbone={"name": "net.keras", "size": 32})
    ended(begin(settings, "d1"))
    Path("net.keras").write_bytes(b"two")
    assert "since these have changed: weights.net.keras" in ended(begin(settings, "d1")).reason


def test_reason_for_a_new_run(recipe: Recipe) -> None:
    first = begin(recipe, "d1")
    assert first.reason == ""
    second = begin(recipe, "d1")
    assert second.reason == f"{first.folder} is not resumed: another process uses it"
    ended(first), ended(second)
    other = begin(recipe.model_copy(update={"seed": 2}), "d2")
    newest = max(first.folder, second.folder)
    assert other.reason == f"{newest} was interrupted and is not resumed, since these have changed: recipe.seed, data"


def test_finished_run_is_not_resumed(recipe: Recipe) -> None:
    first = begin(recipe, "d1")
    (first.folder / "report.json").write_text("{}")
    second = ended(begin(recipe, "d1"))
    assert not second.resumed
    assert second.folder != first.folder
    assert begin(recipe, "d1").folder == second.folder


def test_a_finished_run_is_found_by_its_recipe_and_data(recipe: Recipe) -> None:
    run = ended(begin(recipe, "d1"))
    assert finished(recipe, "d1") is None
    finish(run.folder, "shapes.h5")
    assert finished(recipe, "d1") == run.folder
    assert finished(recipe, "d2") is None
    assert finished(recipe.model_copy(update={"seed": 2}), "d1") is None
    again = ended(begin(recipe, "d1"))
    finish(again.folder, "shapes.h5")
    assert finished(recipe, "d1") == again.folder


def test_names_of_runs_increase_if_the_clock_goes_back(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    other = recipe.model_copy(update={"name": "other"})
    runs = [ended(begin(each, "d1")) for each in (recipe, other)]
    stop_clock(monkeypatch, datetime(2020, 1, 1, tzinfo=UTC))
    for each in (recipe, recipe, other):
        finish(runs[-1].folder, "x.h5")
        runs.append(ended(begin(each, f"d{len(runs)}")))
    names = [run.folder.name for run in runs]
    assert names == sorted(names) and len({name[:17] for name in names}) == 5
    finish(runs[-1].folder, "newest.h5")
    assert newest_checkpoint() == runs[-1].folder / "newest.h5"


def test_runs_started_in_the_same_second_have_different_names(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_clock(monkeypatch, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    names = set()
    for number in range(20):
        monkeypatch.setenv("HEADSTAND_RUNS", str(tmp_path / str(number)))
        names.add(begin(recipe, "d1").folder.name)
    assert len(names) == 20 and {name[:17] for name in names} == {"2026-01-02T030405"}


def test_run_killed_while_writing_its_recipe_is_not_resumed(recipe: Recipe) -> None:
    first = begin(recipe, "d1")
    text = (first.folder / "recipe.json").read_text()
    (first.folder / "recipe.json").write_text(text[:-9])
    assert not begin(recipe, "d1").resumed


def test_missing_finished_run_is_reported_with_the_commands(recipe: Recipe) -> None:
    begin(recipe, "d1")
    with pytest.raises(RunError, match=r"no finished run under runs/: .*`python -m headstand train PHOTOS`"):
        newest_checkpoint()


def test_report_with_the_keys_of_an_earlier_version_is_read(tmp_path: Path, recipe: Recipe) -> None:
    values = recipe.model_dump(mode="json")
    values["evaluation"] = {"sure": 0.8, "average": "none"}
    (tmp_path / "report.json").write_text(json.dumps({"recipe": values, "straddling": {"photos": []}, "leak": {}}))
    report = runs.read_report(tmp_path)
    assert set(report) == {"recipe", "split_leak", "leak"}
    assert report["split_leak"] == {"photos": []}
    assert report["recipe"]["evaluation"] == {"confidence_target": 0.8, "average": "none"}


def test_the_newest_finished_run_is_used() -> None:
    runs = Path("runs")
    finish(runs / "b" / "2026-01-02T000000", "b_01_0.500.h5")
    finish(runs / "a" / "2026-01-03T000000", "a_04_0.700.h5")
    finish(runs / "b" / "2026-01-01T000000", "b_09_0.900.h5")
    (runs / "b" / "2026-01-04T000000").mkdir()
    # By the time in its name, whatever happened to the files since.
    os.utime(runs / "b" / "2026-01-01T000000" / "report.json")
    assert newest_checkpoint() == runs / "a" / "2026-01-03T000000" / "a_04_0.700.h5"
    assert newest_checkpoint("b") == runs / "b" / "2026-01-02T000000" / "b_01_0.500.h5"
    with pytest.raises(RunError):
        newest_checkpoint("c")


def test_refitted_checkpoint_is_preferred() -> None:
    finish(Path("runs/a/2026-01-02T000000"), "a_04_0.700.h5", "a_05_all.h5")
    assert newest_checkpoint().name == "a_05_all.h5"
    assert newest_checkpoint("a", refitted=False).name == "a_04_0.700.h5"


def test_run_with_a_deleted_checkpoint_is_skipped() -> None:
    finish(Path("runs/a/2026-01-01T000000"), "a_01_0.100.h5")
    finish(Path("runs/a/2026-01-02T000000"), "a_04_0.700.h5", files=())
    assert newest_checkpoint().name == "a_01_0.100.h5"
