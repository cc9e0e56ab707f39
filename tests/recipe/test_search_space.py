import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headstand.recipe import Head, RecipeError, Search, load
from headstand.recipe.search_space import Dimension, Job, with_overrides
from tests.recipe.test_recipe import MINIMAL

HEAD = Head(inner=(30, 20), dropout=0.1)


@pytest.mark.parametrize(
    ("values", "inner"),
    [
        ({"layers": 3}, (30, 30, 30)),
        ({"layers": 0}, ()),
        ({"units": 7}, (7, 7)),
        ({"layers": 2, "units": 5}, (5, 5)),
        ({"layers": 0, "units": 5}, ()),
        ({"inner": 9}, (9,)),
        ({"inner": [9, 8]}, (9, 8)),
        ({"dropout": 0.5}, (30, 20)),
    ],
)
def test_number_and_size_of_the_layers_define_the_inner_layers(values: dict[str, Any], inner: tuple[int, ...]) -> None:
    head = with_overrides(HEAD, values)
    assert head.inner == inner
    assert head.dropout == values.get("dropout", 0.1)


def test_layers_need_a_size() -> None:
    bare = Head(inner=())
    assert with_overrides(bare, {"layers": 0}).inner == ()
    assert with_overrides(bare, {"units": 5}).inner == (5,)
    with pytest.raises(ValueError, match="2 inner layers have no size"):
        with_overrides(bare, {"layers": 2})


def test_parameters_without_effect_are_left_out() -> None:
    head = Head(optimizer="sgd", momentum=0.9, nesterov=True, batch_norm=True)
    assert with_overrides(head, {"learning_rate": 0.1}) == head.model_copy(update={"learning_rate": 0.1})
    assert (
        with_overrides(head, {"optimizer": "adam"}).momentum,
        with_overrides(head, {"optimizer": "adam"}).nesterov,
    ) == (0, False)
    assert (
        with_overrides(head, {"optimizer": "rmsprop"}).momentum,
        with_overrides(head, {"momentum": 0.0}).nesterov,
    ) == (0.9, False)
    assert with_overrides(head, {"layers": 0}).batch_norm is False
    assert with_overrides(head, {"layers": 2}).batch_norm is True


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "either values"),
        ({"low": 1}, "both low and high"),
        ({"values": [1], "low": 0, "high": 1}, "either values"),
        ({"values": [1], "log": True}, "need a range"),
        ({"values": [1, 2, 1]}, "contains a duplicate"),
        ({"low": 2, "high": 1}, "low = 2 is not below high = 1"),
        ({"low": 1, "high": 1}, "not below"),
        ({"low": 0, "high": math.inf}, "not below"),
        ({"low": math.nan, "high": 1}, "not below"),
        ({"low": 0, "high": 1, "log": True}, "must start above 0"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "have no step"),
        ({"low": 0, "high": 1, "step": 0.3}, "steps of 0.3 do not reach high = 1"),
        ({"low": 0, "high": 1, "step": 0}, "greater than 0"),
    ],
)
def test_an_invalid_dimension_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dimension.model_validate(keys)


@given(st.integers(-50, 50), st.integers(1, 40), st.sampled_from([0.1, 0.25, 0.001, 2.0]))
def test_the_steps_of_a_range_are_round_numbers(low: int, count: int, step: float) -> None:
    """Compared with integer arithmetic: 0.1 + 0.2 is 0.3 here."""
    start = low * step
    listed = Dimension(low=start, high=start + count * step, step=step).listed("dropout")
    assert len(listed) == count + 1
    assert listed[0] == pytest.approx(start)
    assert listed[-1] == pytest.approx(start + count * step)
    assert all(value == float(f"{value:.12g}") for value in listed)


def test_integers_stay_integers() -> None:
    listed = Dimension(low=1, high=7, step=2).listed("epochs")
    assert listed == (1, 3, 5, 7)
    assert all(isinstance(value, int) for value in listed)
    assert Dimension(low=0, high=2).listed("layers") == (0, 1, 2)


def test_a_grid_changes_its_last_parameter_fastest() -> None:
    job = Job.model_validate({"parameters": {"dropout": {"values": [0.1, 0.2]}, "epochs": {"values": [1, 2]}}})
    assert [tuple(values.values()) for values in job.grid()] == [(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)]


TPE = "[search]\nstrategy = 'tpe'\n"
GRID = "[search]\nstrategy = 'grid'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TPE + "[search.parameters]\ncolour = {values = [1]}\n",
            r"search\.parameters\.colour.*not a parameter.*layers",
        ),
        (
            TPE + "[search.parameters]\ndropout = {low = 0, hihg = 1}\n",
            r"unknown key search\.parameters\.dropout\.hihg = 1; allowed there: high, log, low, step, values",
        ),
        (TPE + "[search.parameters]\ndropout = {low = 0}\n", r"search\.parameters\.dropout: .*both low and high"),
        (TPE + "[search.parameters]\ndropout = {low = 0, high = 1.5}\n", "parameter dropout: 1.5: .*less than 1"),
        (
            TPE + "[search.parameters]\nactivation = {low = 0, high = 1}\n",
            "activation is not a number: it needs values",
        ),
        (TPE + "[search.parameters]\nactivation = {values = ['relu', 'rule']}\n", "activation: 'rule': .*'relu'"),
        (TPE + "[search.parameters]\nepochs = {low = 1.5, high = 3}\n", "epochs is an integer"),
        (TPE + "[search.parameters]\nlayers = {low = -1, high = 3}\n", "layers = -1 is not an integer from 0"),
        (TPE + "[search.parameters]\nunits = {values = ['many']}\n", "units = 'many' is not an integer from 1"),
        (TPE + "[search.parameters]\nlayers = {values = [1]}\ninner = {values = [1]}\n", "search either inner"),
        (TPE + "[search.parameters]\nlayers = {values = [1]}\n[head]\ninner = []\n", "have no size"),
        (TPE, "'tpe' needs parameters"),
        (TPE + "trials = 0\n", "search.trials = 0"),
        (TPE + "warm_start = true\n[search.parameters]\ndropout = {values = [0]}\n", "there is no previous job"),
        (TPE + "trials = 5\n[[search.jobs]]\ntrials = 5\n", "must be set in each job"),
        (TPE + "[[search.jobs]]\ntrials = 5\n", "job 1: strategy 'tpe' needs parameters"),
        (GRID + "[search.parameters]\ndropout = {low = 0, high = 0.5}\n", "low, high and step"),
        (GRID + "trials = 3\n[search.parameters]\ndropout = {values = [0]}\n", "need strategy = 'tpe'"),
        (GRID + "[search.parameters]\nepochs = {low = 1, high = 10001}\n", "a grid of more than 10000 heads"),
        ("[search]\nstrategy = 'genetic'\n", "search.strategy = 'genetic': .*'staged', 'grid', 'tpe' or 'none'"),
        ("[search.parameters]\ndropout = {values = [0]}\n", "need strategy = 'grid' or 'tpe'"),
        ("[search]\ntrials = 4\n", "need strategy = 'tpe'"),
        ("[[search.stages]]\nparameter = 'layers'\nvalues = [1, 2]\n[head]\ninner = []\n", "have no size"),
    ],
)
def test_an_invalid_search_is_refused(text: str, message: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(text + MINIMAL)
    with pytest.raises(RecipeError, match=message) as raised:
        load("mine.toml")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_strategy_on_the_command_line_uses_the_keys_of_the_stages() -> None:
    stages = [{"parameter": "dropout", "values": [0.1, 0.2]}, {"parameter": "epochs", "values": [3]}]
    search = Search.model_validate({"strategy": "tpe", "stages": stages, "trials": 7})
    (job,) = search.plan
    assert job.trials == 7
    assert {name: dimension.values for name, dimension in job.parameters.items()} == {
        "dropout": (0.1, 0.2),
        "epochs": (3,),
    }


def test_without_a_search_the_stages_are_ignored() -> None:
    for name in ("yoga6", "yoga107"):
        assert load(name, ["--search.strategy", "none"]).search.plan == ()


def test_the_shipped_search_by_jobs_is_that_of_the_original() -> None:
    search = load("yoga107").search
    assert search.strategy == "tpe"
    assert [job.warm_start for job in search.plan] == [False, True, False, True, False]
    rates = [job.parameters["learning_rate"] for job in search.plan]
    assert [(rate.low, rate.high) for rate in rates[:4]] == [(0.005, 0.015)] * 2 + [(0.015, 0.125), (0.12, 0.125)]
    assert [rate.log for rate in rates[:4]] == [True, True, True, False]
    assert [job.parameters["epochs"].values for job in search.plan] == [(5, 10), (5, 10), (6,), (6,), (30,)]
    assert [job.parameters["batch_size"].values for job in search.plan[:4]] == [
        (16, 20, 30, 40), (16, 20, 30, 40), (16, 20, 30), (20, 30),
    ]  # fmt: skip


def test_the_number_of_layers_is_searched_where_the_original_did() -> None:
    layers = next(stage for stage in load("cifar100").search.stages if stage.parameter == "layers")
    assert layers.values == (0, 1, 2, 3)


def test_ranges_and_warm_starts_on_the_command_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ranges = (
        "[search.parameters]\ndropout = {low = 0, high = 0.5}\nlearning_rate = {low = 0.01, high = 0.1, log = true}\n"
    )
    (tmp_path / "mine.toml").write_text(TPE + ranges + MINIMAL)
    search = load("mine.toml", ["--search.parameters", '{"learning_rate": {"high": 1}}', "--search.trials", "5"]).search
    assert search.trials == 5
    assert search.parameters["learning_rate"] == Dimension(low=0.01, high=1, log=True)
    assert search.parameters["dropout"] == Dimension(low=0, high=0.5)
    assert load("mine.toml", ["--search.warm_start", "runs/mine/earlier"]).search.warm_start == "runs/mine/earlier"
    with pytest.raises(RecipeError, match="there is no previous job"):
        load("mine.toml", ["--search.warm_start", "true"])
