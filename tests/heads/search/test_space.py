from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from headstand.heads.search import space as spaces
from headstand.recipe import Head
from headstand.recipe.search_space import Dimension

HEAD = Head(inner=(50, 50), learning_rate=0.02, batch_size=24, dropout=0.3)


@pytest.mark.parametrize(
    ("name", "keys", "wanted"),
    [
        ("learning_rate", {"low": 0.01, "high": 1, "log": True}, FloatDistribution(0.01, 1, log=True)),
        ("dropout", {"low": 0, "high": 0.8, "step": 0.2}, FloatDistribution(0, 0.8, step=0.2)),
        ("epochs", {"low": 2, "high": 8, "step": 3}, IntDistribution(2, 8, step=3)),
        ("units", {"low": 2, "high": 64, "log": True}, IntDistribution(2, 64, log=True)),
        ("inner", {"values": [[], 5, [6, 5]]}, CategoricalDistribution(("[]", 5, "[6, 5]"))),
        ("batch_norm", {"values": [True, False]}, CategoricalDistribution((True, False))),
    ],
)
def test_dimension_is_converted_to_an_optuna_distribution(name: str, keys: dict[str, Any], wanted: Any) -> None:
    dimension = Dimension.model_validate(keys)
    assert spaces.distribution(name, dimension) == wanted
    for value in dimension.values:
        assert spaces.recipe_value(name, spaces.stored(value), dimension) == value


def test_layers_and_units_of_a_head() -> None:
    assert [spaces.head_value(HEAD, name) for name in ("layers", "units", "dropout")] == [2, 50, 0.3]
    assert [spaces.head_value(Head(inner=(5, 6)), name) for name in ("layers", "units")] == [None, None]
    assert [spaces.head_value(Head(inner=()), name) for name in ("layers", "units")] == [0, None]


SPACE: spaces.Space = {
    "learning_rate": FloatDistribution(0.01, 0.1, log=True),
    "batch_size": CategoricalDistribution((16, 20, 24)),
    "activation": CategoricalDistribution(("relu", "tanh")),
    "units": IntDistribution(10, 100, step=10),
}


def test_point_of_a_head_inside_the_space() -> None:
    inside = {"learning_rate": 0.02, "batch_size": 24, "activation": "relu", "units": 50}
    assert spaces.point(HEAD, {}, SPACE) == inside
    assert spaces.nearest(HEAD, {}, SPACE) == inside
    bare = HEAD.model_copy(update={"inner": ()})
    assert spaces.point(bare, {}, SPACE) is None
    assert spaces.point(bare, {"units": 70}, SPACE) == {**inside, "units": 70}


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"learning_rate": 0.5}, {"learning_rate": 0.1}),
        ({"learning_rate": 0.001}, {"learning_rate": 0.01}),
        ({"batch_size": 19}, {"batch_size": 20}),
        ({"batch_size": 100}, {"batch_size": 24}),
        ({"inner": (34,)}, {"units": 30}),
        ({"inner": (7,)}, {"units": 10}),
    ],
)
def test_nearest_point_of_a_head_outside_the_space(changes: dict[str, Any], near: dict[str, Any]) -> None:
    head = HEAD.model_copy(update=changes)
    assert spaces.point(head, {}, SPACE) is None
    inside = {"learning_rate": 0.02, "batch_size": 24, "activation": "relu", "units": 50}
    assert spaces.nearest(head, {}, SPACE) == {**inside, **near}


def test_unlisted_category_has_no_nearest_value() -> None:
    head = HEAD.model_copy(update={"activation": ("selu",)})
    assert "activation" not in spaces.nearest(head, {}, SPACE)
    assert spaces.point(head, {}, SPACE) is None
