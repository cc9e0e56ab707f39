import json
from functools import partial
from pathlib import Path

import pytest

from headstand import __main__
from headstand.preparation.manifest import Dataset
from headstand.report import evaluation_page
from tests import tiny
from tests.commands import status
from tests.evaluation import colours


@pytest.fixture
def evaluate(workplace, monkeypatch):
    """Calls `python -m headstand evaluate` with arguments and returns the exit status, 1 for a message."""
    return partial(status, monkeypatch, __main__.main, "headstand", "evaluate")


@pytest.fixture
def bundle(workplace: Path) -> Path:
    colours.write(
        workplace / "photos",
        {"blue/1.png": "blue", "blue/2.png": "red", "green/1.png": "green", "red/1.png": "red", "red/2.png": "red"},
    )
    return tiny.bundle(workplace / "tiny.tflite")


def test_a_bundle_on_a_folder(evaluate, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("tiny.tflite", "--folder", "photos", "--output", "out/results") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "model             tiny.tflite (3 classes, 32 px)"
    assert lines[1] == "photos            5, photos"
    assert lines[2] == "accuracy=0.8000 (95 % interval 0.376 to 0.964)"
    assert "blue       1.000   0.500  0.667       2" in out
    assert "accuracy            0.800  0.376 to 0.964" in out
    assert (
        "On these photos, 100% of the predictions have a probability of 0.50 or more; "
        "their accuracy is 0.800 (0.376 to 0.964).\n" in out
    )
    assert "on average (expected calibration error, ECE). On 5 photos " in out
    assert "note              the model's training photos are not known" in out
    assert lines[-1] == "written           out/results/evaluation.html and out/results/evaluation.json"
    record = json.loads(Path("out/results/evaluation.json").read_text())
    assert record["scores"]["accuracy"] == 0.8
    assert not list(Path("out").rglob("*.part"))


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creates an empty result, because the page with its plots takes most of the time; other tests write it."""

    def write(folder: Path, result: object) -> None:
        folder.mkdir(parents=True)
        (folder / "evaluation.json").touch()

    monkeypatch.setattr(evaluation_page, "write", write)


def test_without_output_the_results_are_written_beside_the_runs(evaluate, bundle: Path, unwritten: None) -> None:
    for _ in range(2):
        assert evaluate("tiny.tflite", "--folder", "photos") == 0
    folders = sorted(Path("runs/tiny").iterdir())
    assert len(folders) == 2
    assert all(folder.name.startswith("evaluate-20") for folder in folders)
    assert all((folder / "evaluation.json").is_file() for folder in folders)


def test_a_checkpoint_on_its_splits(
    evaluate, checkpoint: Path, dataset: Dataset, unwritten: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("shapes.h5") == 0
    out = capsys.readouterr().out
    assert "photos            12, the test split of data/shapes" in out
    assert "\ntest_accuracy=0." in out
    assert "the training run has scored this test split already: do not select models by these metrics" in out
    assert evaluate("shapes.h5", "--split", "validation") == 0
    out = capsys.readouterr().out
    assert "photos            12, the validation split of data/shapes" in out
    assert "\nval_accuracy=0." in out
    assert "scored this test split" not in out


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "Missing argument 'MODEL'"),
        (["tiny.tflite", "--splits", "test"], "Did you mean '--split'?"),
        (["tiny.tflite", "--split", "train"], "'train' is not one of 'validation', 'test'"),
        (["tiny.tflite", "--folder", "nowhere"], "there is no folder nowhere"),
        (["tiny.tflite"], "there is no prepared data at data/tiny"),
        (["tiny.tflite", "--folder", "photos", "--split", "test"], "is not divided into splits"),
        (["tiny.tflite", "--folder", "photos", "--output", "tiny.tflite"], "tiny.tflite is a file: name a folder"),
        (["nothing"], "there is no recipe 'nothing'"),
        (["nothing.h5"], "there is no checkpoint nothing.h5"),
        (["photos"], "photos is a folder: name"),
    ],
)
def test_invalid_arguments_exit_with_1_and_one_line(evaluate, bundle, capsys, argv, reason) -> None:
    assert evaluate(*argv) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not Path("runs").exists()
