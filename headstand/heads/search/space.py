"""Conversion between a recipe's search space and Optuna's: distributions, stored values, and heads as points."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from headstand.recipe import Head
from headstand.recipe.search_space import LAYERS, UNITS, Dimension, whole

Space = dict[str, BaseDistribution]


def distribution(name: str, dimension: Dimension) -> BaseDistribution:
    """Returns the Optuna distribution of a recipe's dimension."""
    if dimension.low is None or dimension.high is None:
        return CategoricalDistribution([stored(value) for value in dimension.values])
    if whole(name):
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, int(dimension.step or 1))
    return FloatDistribution(dimension.low, dimension.high, dimension.log, dimension.step)


def stored(value: Any) -> CategoricalChoiceType:
    """Returns a value as a type that Optuna can store: a list or tuple becomes text."""
    return str(list(value)) if isinstance(value, list | tuple) else value


def recipe_value(name: str, value: Any, dimension: Dimension) -> Any:
    """Returns the recipe's value that Optuna stored as `value`, the inverse of `stored`."""
    return next((choice for choice in dimension.values if stored(choice) == value), value)


def head_value(head: Head, name: str) -> Any:
    """Returns a parameter's value in a head; None for `units` without inner layers or with layers of several sizes.

    With layers of several sizes `layers` is None too: the two parameters cannot describe such a head.
    """
    if name not in (LAYERS, UNITS):
        return getattr(head, name)
    if len(set(head.inner)) > 1:
        return None
    return len(head.inner) if name == LAYERS else next(iter(head.inner), None)


def point(head: Head, known: Mapping[str, Any], space: Space) -> dict[str, Any] | None:
    """Returns a head's parameter values in a search space, or None if the head lies outside of it.

    Args:
        head: the head.
        known: the values that the search set for it. They may hold more than the head: `units` without inner layers.
        space: parameters with their distributions.

    Returns:
        A value for each parameter, as Optuna stores it.
    """
    values = {}
    for name, range_ in space.items():
        value = known[name] if name in known else head_value(head, name)
        if isinstance(range_, CategoricalDistribution):
            choice = _choice(stored(value), range_)
            if choice is None and None not in range_.choices:
                return None
            values[name] = choice
        elif isinstance(value, int | float) and range_._contains(value):
            values[name] = value
        else:
            return None
    return values


def nearest(head: Head, known: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Returns the point of a search space that is nearest to a head, which may lie outside; arguments as for `point`.

    Returns:
        A value for each parameter, as Optuna stores it; without parameters that have no order, such as an activation
        that is not among the choices.
    """
    values: dict[str, Any] = {}
    for name, range_ in space.items():
        inside = point(head, known, {name: range_})
        value = known[name] if name in known else head_value(head, name)
        if inside:
            values |= inside
        elif isinstance(value, int | float) and isinstance(range_, CategoricalDistribution):
            numbers = [choice for choice in range_.choices if isinstance(choice, int | float)]
            if numbers:
                values[name] = min(numbers, key=lambda number: abs(number - value))
        elif isinstance(value, int | float) and isinstance(range_, FloatDistribution | IntDistribution):
            clipped = min(max(value, range_.low), range_.high)
            steps = round((clipped - range_.low) / range_.step) if range_.step else 0
            values[name] = range_.low + steps * range_.step if range_.step else clipped
    return values


def _choice(value: CategoricalChoiceType, range_: CategoricalDistribution) -> CategoricalChoiceType:
    """Returns the equivalent choice, or None: a recipe's `100` or `"relu"` is `(100,)` or `("relu",)` in the head."""
    for choice in range_.choices:
        if choice == value or str([choice]) == value:
            return choice
    return None
