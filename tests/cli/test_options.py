import sys
from typing import Any, get_args

import pytest
import rich_click as click

from headstand.cli import app, options
from headstand.cli.options import KEYS, SECTIONS, split_keys
from headstand.recipe import Recipe, load
from headstand.recipe.sections import Preprocessing


def test_the_choices_are_those_of_the_types() -> None:
    assert get_args(Preprocessing) == app.PREPROCESSING


def test_the_sections_are_those_of_a_recipe() -> None:
    assert set(SECTIONS) == set(Recipe.model_fields)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_the_keys_of_the_help_exist_and_have_their_defaults(key: options.Key) -> None:
    section, _, name = key.name.rpartition(".")
    fields: Any = Recipe.model_fields
    if section:
        fields = fields[section].annotation.model_fields
    assert name in fields
    if name not in ("name", "source"):
        assert fields[name].default == key.default


@pytest.mark.parametrize(
    ("argv", "own", "keys"),
    [
        (["photos", "--head.dropout", "0.5"], ["photos"], ["--head.dropout", "0.5"]),
        (["--head.dropout=0.5", "photos"], ["photos"], ["--head.dropout", "0.5"]),
        (["--name", "a", "--csv", "b"], ["--csv", "b"], ["--name", "a"]),
        (["--head.inner", "[]", "--", "--seed"], ["--", "--seed"], ["--head.inner", "[]"]),
        (["--head", '{"dropout": 0.5}'], [], ["--head", '{"dropout": 0.5}']),
        (["-h"], ["-h"], []),
    ],
)
def test_keys_of_a_recipe_are_separated_from_other_arguments(argv: list[str], own: list[str], keys: list[str]) -> None:
    assert split_keys(argv) == (own, keys)


def test_the_help_shows_the_values_of_the_recipe() -> None:
    command = options.RecipeCommand("a", recipe="yoga66", shown=("backbone", "head.dropout"))
    defaults = {param.opts[0]: param.default for param in command.params if isinstance(param, click.Option)}
    assert defaults["--backbone.name"] == "MobileNetV2"
    assert defaults["--head.dropout"] == "0.2"
    assert "--head.inner" not in defaults


def test_an_option_that_the_search_overrides_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["--head.dropout", "0.1", "--head.epochs", "3", "--head.inner", "5"]
    assert [line.split(" from")[0] for line in options.searched(load("yoga6", overrides), overrides)] == [
        "note: the search chooses head.dropout",
        "note: the search chooses head.inner",
    ]
    assert options.searched(load("yoga6", [*overrides, "--search.strategy", "none"]), overrides) == []
    monkeypatch.setenv("HEADSTAND_HEAD__DROPOUT", "0.1")
    (line,) = options.searched(load("yoga6"), [])
    assert line.startswith("note: the search chooses head.dropout")


def test_quiet_discards_output_and_progress_bars(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        with options.silent(quiet):
            print("a step")
            print("a bar", file=sys.stderr)
    assert capsys.readouterr() == ("a step\n", "a bar\n")
