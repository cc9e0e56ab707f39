import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import train
from headstand.preparation.manifest import Dataset
from tests import photos
from tests.commands import status

SCRIPT = Path(__file__).parents[1] / "train.py"

RECIPE = (
    photos.SOURCE
    + photos.BACKBONE
    + """
[head]
inner = 8
epochs = 12
learning_rate = 0.02
batch_size = 8
[search]
selection = "accuracy"
"""
)


def recipe(text: str = RECIPE) -> str:
    Path("shapes.toml").write_text(text)
    return "shapes.toml"


def test_the_last_lines_are_the_next_commands(
    dataset: Dataset, small_networks: None, undrawn: None, eager: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main([recipe(), "--head.epochs", "6", "--search.selection", "log_loss"])
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("diagnosis: ")]
    convert, serve = lines[-2:]
    found = re.fullmatch(
        r"convert it        python convert_to_tflite\.py (runs/shapes/\S+/shapes_0\d_\d\.\d{3}_all\.h5)", convert
    )
    assert found
    path = Path(found[1])
    assert path.is_file()
    assert serve == f"serve it          HEADSTAND_MODEL={path.with_suffix('.tflite')} gunicorn predict:app"
    assert lines[-3] == f"report and plots  {path.parent}"
    assert [line.split()[0] for line in lines[-8:-4]] == ["precision", *dataset.classes]


def test_each_finding_is_printed_once_with_its_advice(
    dataset: Dataset, small_networks: None, undrawn: None, eager: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main([recipe(), "--finetune.epochs", "1", "--finetune.learning_rate", "1", "--finetune.ema", "0"])
    (path,) = Path("runs/shapes").glob("*/report.json")
    findings = json.loads(path.read_text())["diagnosis"]
    out = capsys.readouterr().out.splitlines()
    printed = [line for line in out if line.startswith("diagnosis: ")]
    assert printed == [
        f"diagnosis: {each['title']} ({each['evidence']}): {each['advice']}"
        for each in findings
        if each["severity"] != "note"
    ]
    # Each finding with an option is followed by the complete command.
    again = "  python train.py shapes.toml --finetune.epochs 1 --finetune.ema 0 --finetune.learning_rate 0.1"
    assert again in out
    assert "fine-tuning-worse" in [each["code"] for each in findings]


def test_the_last_logged_accuracy_is_that_of_the_selected_model(
    dataset: Dataset, small_networks: None, undrawn: None, eager: None, capsys: pytest.CaptureFixture[str]
) -> None:
    expression = re.search(r"`(val_accuracy=\S+)`", str(train.__doc__))
    assert expression
    search = '\n[[search.stages]]\nparameter = "dropout"\nvalues = [0.0, 0.5]\n'
    worse = ["--finetune.learning_rate", "1", "--finetune.ema", "0"]  # which a finding says with another accuracy
    tuning = ["--search.strategy", "none", "--finetune.epochs", "2", "--finetune.batch_size", "12", *worse]
    for argv in (["--search.selection", "log_loss"], tuning):
        train.main([recipe(RECIPE + search), *argv])
        read = re.findall(expression[1], capsys.readouterr().out)
        (report,) = Path("runs/shapes").glob("*/report.json")
        assert len(read) > 2
        assert float(read[-1]) == pytest.approx(json.loads(report.read_text())["validation"]["accuracy"], abs=1e-4)
        shutil.rmtree("runs")


def test_warnings_are_printed_and_notes_are_not(
    dataset: Dataset, small_networks: None, undrawn: None, eager: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main([recipe(), "--head.learning_rate", "1e-9", "--profile"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("diagnosis: ")]
    assert any(
        re.search(r"^diagnosis: The loss of the head does not fall \(loss went .*\): .*1e-08$", line) for line in lines
    )
    (report,) = Path("runs/shapes").glob("*/report.json")
    found = json.loads(report.read_text())["diagnosis"]
    assert [finding["title"] for finding in found if finding["severity"] != "note"] == [
        re.split(r": | \(", line)[1] for line in lines
    ]
    assert list((report.parent / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize(
    ("text", "argv", "message"),
    [
        (None, ["nothing"], "there is no recipe 'nothing'; existing ones: .*demo.*yoga6"),
        (None, ["nothing.toml"], "there is no recipe file nothing.toml"),
        (
            RECIPE.replace("[search]", "dropuot = 0.5\n[search]"),
            [],
            "unknown key head.dropuot = 0.5; allowed there: .*dropout",
        ),
        (RECIPE.replace("size = 32", "size = 4"), [], "backbone.size = 4: .*32"),
        ("head = [", [], "shapes.toml is not TOML"),
        (RECIPE, ["--head.dropout", "1.5"], "head.dropout = .*1.5.*less than 1"),
        (RECIPE, ["--head.dropuot", "0.5"], "dropuot"),
        (RECIPE, [], "no prepared data at data/shapes: run `python data_preparation.py shapes.toml`"),
    ],
    ids=["recipe", "file", "key", "value", "toml", "argument", "option", "data"],
)
def test_bad_input_is_reported_in_one_line(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
    argv: list[str],
    message: str,
) -> None:
    if text is not None:
        argv = [recipe(text), *argv]
    assert status(monkeypatch, train.main, "train.py", *argv) == 1
    out, error = capsys.readouterr()
    assert re.fullmatch(rf"error: .*{message}.*\n", error), error
    assert out == ""
    assert not Path("runs").exists()


def test_the_script_reports_an_error_in_one_line(workplace: Path) -> None:
    command = [sys.executable, str(SCRIPT), "nothing"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"error: there is no recipe 'nothing'; existing ones: .*\n", result.stderr), result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("MobileNet", "MobileNotNet"),
            r"unknown backbone 'MobileNotNet' \(did you mean MobileNet\?\); there are ConvNeXtBase.*Xception",
        ),
        (('"none"', '"lost.h5"'), "there is no lost.h5"),
    ],
    ids=["backbone", "weights"],
)
def test_an_unavailable_backbone_is_reported_in_one_line(
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    message: str,
) -> None:
    assert status(monkeypatch, train.main, "train.py", recipe(RECIPE.replace(*change))) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: .*{message}.*\n", error), error


def test_help_lists_the_keys(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(monkeypatch, train.main, "train.py", "--help") == 0
    out, error = capsys.readouterr()
    assert "--head.learning_rate" in out
    assert error == ""
