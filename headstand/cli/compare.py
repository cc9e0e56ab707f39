"""Command line of `python -m headstand compare`."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from headstand import recipe as recipes
from headstand.recipe import Recipe


def run(name: str, argv: list[str]) -> None:
    """Compares a recipe's variants and backbones, and prints the leaderboard and the command to train the best choice.

    Args:
        name: the recipe's name or file.
        argv: command-line overrides as for `headstand.recipe.load`.

    Raises:
        HeadstandError: the recipe is invalid, a backbone is unknown, or the prepared data are damaged.
    """
    recipe = recipes.load(name, list(argv))
    # Importing TensorFlow takes seconds, so the recipe is checked before. The first import suppresses its messages.
    import headstand.tensorflow_setup  # noqa: F401

    # isort: split
    from headstand.compare.comparison import compare
    from headstand.compare.comparison_table import lines, notes

    comparison = compare(recipe)
    print()
    print("\n".join(lines(comparison.results)))
    print()
    print("\n".join(notes(comparison.results)))
    print()
    print(comparison.verdict)
    if comparison.choice:
        print(f"train it          {training_command(name, argv, recipe, comparison.choice.selected.entry)}")
    print(f"table and plot    {comparison.folder}")


def training_command(name: str, argv: Sequence[str], recipe: Recipe, entry: Any) -> str:
    """Returns the command line that trains an entry: the recipe, the user's overrides and the entry's own settings.

    Args:
        name: the recipe's name or file.
        argv: the user's command-line overrides.
        recipe: the recipe with these overrides.
        entry: a `ComparisonEntry` of the recipe.
    """
    changes: dict[str, Any] = {}
    for section in ("backbone", "augmentation", "head"):
        own, other = getattr(recipe, section), getattr(entry, section)
        changes |= {f"--{section}.{key}": value for key, value in other if getattr(own, key) != value}
    if changes and recipe.variants:
        # Variants may be invalid together with the changed settings, and training does not use them.
        changes["--variants"] = ()
    kept = []
    rest = iter(argv)
    for argument in rest:
        key, equals, value = argument.partition("=")
        pair = [key, value if equals else next(rest, "")]
        if key not in changes and not key.startswith("--compare."):
            kept += pair
    options = [*kept, *(part for key, value in changes.items() for part in (key, _formatted(value)))]
    return shlex.join(["python", "train.py", name, *options])


def _formatted(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "[]"
    return json.dumps(value) if isinstance(value, bool | float) else str(value)
