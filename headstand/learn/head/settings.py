"""A head's values in words."""

from typing import Any

from headstand import recipe as recipes

_ALWAYS = ("learning_rate", "inner", "dropout", "activation", "epochs", "batch_size")

KEYS = (*_ALWAYS, *sorted(set(recipes.Head.model_fields) - set(_ALWAYS)))
"""A head's values that trials are told apart by: all of them, those that are tried most often first."""


def words(head: recipes.Head) -> str:
    """A head in a line: what is tried most often, and what else is not as it would be without a word."""
    default = recipes.Head.model_fields
    said = [key for key in KEYS if key in _ALWAYS or getattr(head, key) != default[key].default]
    return " ".join(f"{key}={shown(head, key)}" for key in said)


def shown(head: recipes.Head, key: str) -> str:
    """One of a head's values as people write it."""
    value: Any = getattr(head, key)
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
