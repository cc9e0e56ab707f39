"""A head's settings as text, for logs and tables."""

from typing import Any

from headstand import recipe as recipes

_ALWAYS = ("learning_rate", "inner", "dropout", "activation", "epochs", "batch_size")

KEYS = (*_ALWAYS, *sorted(set(recipes.Head.model_fields) - set(_ALWAYS)))
"""All settings of a head, those that are searched most often first; columns in tables of trials."""


def words(head: recipes.Head) -> str:
    """Returns a head's settings in one line: those searched most often, and others that differ from their default."""
    default = recipes.Head.model_fields
    said = [key for key in KEYS if key in _ALWAYS or getattr(head, key) != default[key].default]
    return " ".join(f"{key}={shown(head, key)}" for key in said)


def shown(head: recipes.Head, key: str) -> str:
    """Returns one setting of a head as text: `100+50` or `none` for a tuple, `yes` or `no` for a boolean."""
    value: Any = getattr(head, key)
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
