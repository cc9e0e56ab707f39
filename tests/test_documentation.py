"""The commands in README, docs and recipes exist and take the arguments that are shown."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

import data_preparation
import train
from headstand import recipe
from headstand.cli import app
from headstand.cli.command import DEFAULT_RECIPE

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
