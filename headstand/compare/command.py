"""The verb `compare`."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from headstand import recipe as recipes
from headstand.recipe import Recipe

_SHORT = {
    "--backbones": "--compare.backbones",
    "--under-ms": "--compare.under_ms",
    "--under-mb": "--compare.under_mb",
}


def run(name: str, words: list[str]) -> None:
    """Race the recipe's variants and backbones, print the leaderboard and the command that trains the pick.

    Args:
        name: the recipe's name or file.
        words: changes to it, as `headstand.recipe.load` takes them; `--backbones`, `--under-ms` and `--under-mb` are
            short for the keys of its section `compare`.

    Raises:
        HeadstandError: the recipe is not as it must be, an unknown backbone, damaged data.
    """
    words = _spelled(words)
    recipe = recipes.load(name, words)
    # TensorFlow takes seconds to import; a mistyped recipe is told before. The first of these imports it quietly.
    import headstand.learn  # noqa: F401

    # isort: split
    from headstand.compare.comparison import compare
    from headstand.compare.table import lines, notes

    made = compare(recipe)
    print()
    print("\n".join(lines(made.results)))
    print()
    print("\n".join(notes(made.results)))
    print()
    print(made.verdict)
    if made.choice:
        print(f"train it          {training(name, words, recipe, made.choice.picked.entry)}")
    print(f"table and plot    {made.folder}")


def training(name: str, words: Sequence[str], recipe: Recipe, entry: Any) -> str:
    """The command that trains an entry: the recipe, what was said on the line, and what the entry changes.

    Args:
        name: the recipe's name or file.
        words: what was said on the line.
        recipe: what both gave.
        entry: an `Entry` of it.
    """
    changes: dict[str, Any] = {}
    for section in ("backbone", "augmentation", "head"):
        own, other = getattr(recipe, section), getattr(entry, section)
        changes |= {f"--{section}.{key}": value for key, value in other if getattr(own, key) != value}
    if changes and recipe.variants:
        # The recipe's variants need not go with what is changed, and training has no use for them.
        changes["--variants"] = ()
    kept = []
    rest = iter(words)
    for word in rest:
        key, equals, value = word.partition("=")
        pair = [key, value if equals else next(rest, "")]
        if key not in changes and not key.startswith("--compare."):
            kept += pair
    said = [*kept, *(part for key, value in changes.items() for part in (key, _shown(value)))]
    return shlex.join(["python", "train.py", name, *said])


def _spelled(words: Sequence[str]) -> list[str]:
    spelled = []
    for word in words:
        key, equals, value = word.partition("=")
        spelled.append(_SHORT.get(key, key) + equals + value)
    return spelled


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "[]"
    return json.dumps(value) if isinstance(value, bool | float) else str(value)
