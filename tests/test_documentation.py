"""The commands in README, docs and recipes exist and take the arguments that are shown; the main ones are run."""

import importlib.util
import json
import re
import runpy
import shlex
from pathlib import Path

import click
import pytest

import data_preparation
import train
from headstand import recipe
from headstand.__main__ import main as headstand
from headstand.cli import app
from headstand.cli.command import DEFAULT_RECIPE
from tests.commands import status
from tests.preparation.photos import class_folders
from tests.serve.service import running

ROOT = Path(__file__).parents[1]

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

SCRIPTS = {
    "convert_to_tflite.py": app.convert,
    "data_preparation.py": data_preparation.data_preparation,
    "train.py": train.train,
}

COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*(headstand|python|make|gunicorn) (.*)$")


def commands(text: str) -> list[str]:
    """Returns the commands in indented blocks, in comments of recipes and in backquotes, without their explanations."""
    lines = re.findall(r"^(?: {4}|#   )(\S.*)$", text, re.MULTILINE) + re.findall(r"`([^`\n]+)`", text)
    found = [part for line in lines for part in re.split(r"\s+# |\s{3,}| && | \| ", line)]
    return [line.strip() for line in found if COMMAND.match(line.strip())]


def check(line: str) -> None:
    """Fails if the program, the command, the options, the recipe or its keys do not exist."""
    match = COMMAND.match(line)
    assert match
    program, arguments = match[1], shlex.split(match[2].replace("[", "").replace("]", ""))
    if "--help" in arguments or "--help-all" in arguments or "..." in line:
        return
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {each for each in arguments if "=" not in each} <= set(targets)
        return
    if program == "gunicorn":
        assert "predict:app" in arguments
        return
    if program == "python" and arguments[0] != "-m":
        assert (ROOT / arguments[0]).is_file()
        if arguments[0] not in SCRIPTS:
            return
        command, arguments = SCRIPTS[arguments[0]], arguments[1:]
    else:
        arguments = arguments[1:] if program == "python" else arguments
        if program == "python" and arguments[0] != "headstand":
            assert importlib.util.find_spec(arguments[0])
            return
        arguments = arguments[1:] if program == "python" else arguments
        if not arguments:
            return
        command, arguments = app.headstand.commands[arguments[0]], arguments[1:]
    try:
        context = command.make_context(command.name, list(arguments))
    except click.MissingParameter:  # the name of a command alone
        assert not arguments
        return
    except click.BadParameter as error:
        assert re.match(r"'[A-Z]+' is not", error.message), error.message  # FORMAT stands for a value
        return
    if "overrides" in context.params:
        named = context.params.get("name") or context.params.get("recipe") or context.params.get("base")
        recipe.load(named if named in recipe.names() else "photos", context.params["overrides"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents(document: Path) -> None:
    for line in commands(document.read_text(encoding="utf-8")):
        try:
            check(line)
        except Exception as error:
            raise AssertionError(f"{document.name}: `{line}`: {error}") from error


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_commands_in_recipes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = commands(text)
    for line in found:
        check(line)
    assert found and any(path.stem in line or path.stem == DEFAULT_RECIPE for line in found), (
        "a recipe shows how it is used"
    )


def test_readme_shows_the_main_commands_and_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = "\n".join(commands(text))
    for line in ("make demo", "make test", "headstand train photos", "headstand serve", "python train.py"):
        assert line in shown
    assert len(text.splitlines()) <= 150
    assert len(commands(text)) > 20


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, workplace: Path, undrawn: None, eager: None) -> None:
    """Replaces downloads: the photos of Kaggle by small ones in the cache, Xception by a small network."""
    from tests import networks

    for number, name in enumerate(("downdog", "tree")):
        folder = workplace / ".cache/headstand/kaggle/suradechk/yoga-posture-cleaned"
        class_folders(folder, {name: 20}, first=20 * number)
    monkeypatch.setattr(
        networks.keras.applications,
        "Xception",
        lambda include_top, weights, input_shape: networks.tiny(include_top, None, input_shape),
    )


@pytest.mark.slow
def test_the_commands_of_the_readme_lead_from_photos_to_answers(
    local: None, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(line: str) -> list[str]:
        """Runs a command line in this process, and returns the lines that it prints."""
        _, *argv = shlex.split(line)
        program = headstand if line.startswith("headstand") else runpy.run_path(str(ROOT / argv.pop(0)))["main"]
        code = status(monkeypatch, program, "", *argv)
        out, errors = capsys.readouterr()
        assert code == 0, f"{line}: {out}{errors}"
        return out.splitlines()

    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("The scripts run the steps one by one")[2]
    *scripts, serve = commands(readme)[:4]
    assert [line.split()[1] for line in scripts] == ["data_preparation.py", "train.py", "convert_to_tflite.py"]
    printed = [run(line) for line in scripts]
    (model,) = Path("runs/yoga6").glob("*/*.tflite")
    # The commands that the scripts print are complete, too.
    convert_it, serve_it = printed[1][-2:]
    assert convert_it.split() == ["convert", "it", *scripts[2].split(), str(model.with_suffix(".h5"))]
    assert serve_it.split("it", 1)[1].strip() == serve.replace("runs/yoga6/TIME/NAME.tflite", str(model))
    try_it = next(line for line in printed[2] if line.startswith("try it")).removeprefix("try it").strip()
    photo = try_it.split()[-1]
    expected = json.loads(run(try_it)[0])
    assert set(expected) == {"downdog", "tree"}
    with running(model.absolute(), workplace / "service") as service:
        answer = json.loads(
            "\n".join(run(f"python test.py {photo} --endpoint http://127.0.0.1:{service.port}/predict"))
        )
    assert answer == pytest.approx(expected, abs=1e-5)

    folder = Path("data/yoga6/test")
    others = {
        "headstand predict runs/photos FOLDER --csv": f"headstand predict runs/yoga6 {folder} --csv",
        "headstand doctor photos": "headstand doctor data/yoga6",
        "headstand init photos": f"headstand init {folder} --name mine",
        "headstand evaluate MODEL --folder FOLDER": f"headstand evaluate {model} --folder {folder}",
    }
    shown = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    for line, possible in others.items():
        assert line in shown
        run(possible)
