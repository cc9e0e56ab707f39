import shlex
from pathlib import Path
from typing import Any

import pytest

from headstand import __main__
from headstand.cli.compare import training_command
from headstand.compare.entry import entries
from headstand.errors import HeadstandError
from headstand.recipe import load
from tests import photos

RECIPE = (
    "seed = 3\n"
    + photos.SOURCE
    + photos.BACKBONE
    + """
[head]
inner = 50
weight_decay = 0.1
[[variants]]
name = "bare"
head.inner = []
[[variants]]
name = "deep"
head = { inner = [100, 500], activation = ["relu", "selu"], optimizer = "sgd", momentum = 0.9, nesterov = true }
[[variants]]
name = "soft"
head = { loss_from = "probabilities", learning_rate = 1e-5, class_weights = false, batch_size = 7 }
backbone.pooling = "none"
[[variants]]
name = "views"
augmentation = { views = 2, flip = "none", rotation = 7.5 }
[[variants]]
name = "backbone"
backbone = { name = "VGG16", size = 64, weights = "some file.h5" }
[compare]
backbones = ["Xception@71=imagenet"]
"""
)


@pytest.fixture(autouse=True)
def mine(workplace: Path) -> None:
    Path("mine.toml").write_text(RECIPE)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--seed", "5", "--head.epochs=4", "--head.inner", "20"],
        ["--backbone.pooling", "max", "--compare.under_ms", "5", "--compare.under_mb=3"],
    ],
)
def test_the_command_trains_exactly_the_compared_entry(argv: list[str]) -> None:
    recipe = load("mine.toml", argv)
    candidates = entries(recipe)
    assert len(candidates) == 7
    for entry in candidates:
        python, script, name, *rest = shlex.split(training_command("mine.toml", argv, recipe, entry))
        assert (python, script, name) == ("python", "train.py", "mine.toml")
        assert not any("compare" in argument for argument in rest)
        again = load(name, rest)
        assert (again.backbone, again.augmentation, again.head) == (entry.backbone, entry.augmentation, entry.head)
        assert (again.seed, again.search) == (recipe.seed, recipe.search)


def test_the_recipe_itself_needs_no_options() -> None:
    recipe = load("mine.toml", ["--seed", "5"])
    itself = next(entry for entry in entries(recipe) if entry.variant == "as the recipe")
    assert training_command("mine.toml", ["--seed", "5"], recipe, itself) == "python train.py mine.toml --seed 5"


def test_short_options_for_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    from headstand.compare import comparison

    received: list[Any] = []

    def stop(recipe: Any) -> None:
        received.append(recipe.compare)
        raise HeadstandError("stopped")

    monkeypatch.setattr(comparison, "compare", stop)
    argv = ["--backbones", "VGG16,Xception@96=none", "--under-ms=50", "--under-mb", "30.5"]
    with pytest.raises(HeadstandError, match="stopped"):
        __main__.main(["compare", "mine.toml", *argv])
    assert (received[0].backbones, received[0].under_ms, received[0].under_mb) == (
        ("VGG16", "Xception@96=none"),
        50.0,
        30.5,
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--under-ms", "soon"], "compare.under_ms = 'soon': .*valid number"),
        (["--backbones", "VGG 16"], "compare.backbones.0 = 'VGG 16'"),
        (["--backbone", "VGG16"], "backbone is a section; its keys are --backbone.name, .* `headstand compare --help`"),
    ],
)
def test_an_invalid_option_is_reported(argv: list[str], message: str) -> None:
    with pytest.raises(HeadstandError, match=message):
        __main__.main(["compare", "mine.toml", *argv])
