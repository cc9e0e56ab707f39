import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.heads.search import Trial, trial_table
from headstand.heads.search.trial import best, pack_bits
from headstand.heads.search.trial_table import importance
from headstand.recipe import Head
from headstand.stats import wilson


def trial(number: int, accuracy: float, loss: float = 1.0, **keys: Any) -> Trial:
    more = {key: keys.pop(key) for key in ("stage", "pruned", "curve", "seconds", "epoch", "right") if key in keys}
    head = Head.model_validate(keys)
    return Trial(more.pop("stage", 1), number, keys, head, accuracy, loss, more.pop("epoch", 1), **more)


TRIALS = [
    trial(1, 0.80, dropout=0.1, seconds=1.23456, curve=(0.5, 0.8), epoch=2),
    trial(2, 0.90, dropout=0.2, seconds=0.5),
    trial(3, 0.95, dropout=0.3, pruned=True),
    trial(4, 0.87, dropout=0.4),
    trial(1, 0.90, dropout=0.2, stage=2),
]


def test_the_best_is_the_first_of_equals_that_was_trained_to_the_end() -> None:
    assert best(TRIALS) is TRIALS[1]
    assert best([trial(1, 0.8, 0.5), trial(2, 0.8, 0.4)]).number == 2
    assert best([trial(1, 1.0, float("nan")), trial(2, 0.1)]).number == 2
    assert best(TRIALS[2:3]) is None


def test_heads_within_noise_of_the_best_are_counted_once() -> None:
    def others(photos: int) -> list[int]:
        return [trial.number for trial in trial_table.indistinguishable(TRIALS, photos)]

    # Not the best itself in another stage, not the pruned one.
    assert others(200) == [4]
    assert others(10) == [1, 4]
    assert others(10_000) == []
    assert trial_table.indistinguishable([], 100) == []
    assert trial_table.indistinguishable(TRIALS, 0) == []


def test_heads_are_compared_by_photo_if_outcomes_are_known() -> None:
    def right(*wrong: int) -> str:
        return pack_bits(np.array([photo not in wrong for photo in range(100)]))

    known = [
        trial(1, 0.90, dropout=0.1, right=right(*range(10))),
        # Wrong where the best one is, and for seven photos more: six would be beyond noise.
        trial(2, 0.83, dropout=0.2, right=right(*range(17))),
        # As many wrong, but others.
        trial(3, 0.83, dropout=0.3, right=right(*range(80, 97))),
        trial(4, float("nan"), float("nan"), dropout=0.4),
    ]
    assert [one.number for one in trial_table.indistinguishable(known, 100)] == [3]
    # Written by a version that did not keep them.
    unknown = [replace(one, right="") for one in known]
    assert [one.number for one in trial_table.indistinguishable(unknown, 100)] == [2, 3]


@pytest.mark.parametrize("count", [1, 8, 57])
def test_correct_photos_of_a_trial_are_stored_as_bits(count: int) -> None:
    right = np.arange(count) % 3 == 0
    outcomes = trial(1, 0.5, right=pack_bits(right)).outcomes(count)
    assert outcomes.correct is not None and outcomes.correct.tolist() == right.tolist()
    assert (outcomes.right, outcomes.count) == (int(right.sum()), count)
    assert len(pack_bits(right)) == 2 * -(-count // 8)


def test_the_summary() -> None:
    assert trial_table.summary([], 100) is None
    assert trial_table.summary(TRIALS, 100) == {
        "trials": 5,
        "pruned": 1,
        "best": {"stage": 1, "number": 2, "val_accuracy": 0.9},
        "interval": wilson(90, 100),
        "settings": 3,
        "within_noise": 2,
        "importance": {},
    }


def test_every_trial_is_a_row(tmp_path: Path) -> None:
    trial_table.write(tmp_path / "trials.csv", TRIALS, 100)
    with (tmp_path / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["number"], row["state"]) for row in rows] == [
        ("1", "1", "complete"), ("1", "2", "complete"), ("1", "3", "pruned"), ("1", "4", "complete"),
        ("2", "1", "complete"),
    ]  # fmt: skip
    first = rows[0]
    assert (first["dropout"], first["inner"], first["epochs"]) == ("0.1", "100", "10")
    assert (float(first["val_accuracy"]), first["best_epoch"], first["epochs_run"]) == (0.8, "2", "2")
    assert (float(first["low"]), float(first["high"])) == wilson(80, 100)
    assert first["seconds"] == "1.235"
    assert [path.name for path in tmp_path.iterdir()] == ["trials.csv"]
    assert "seconds" not in trial_table.row(TRIALS[0], 100)  # a resumed run's report is an uninterrupted one's


def test_decisive_parameter_has_the_largest_importance() -> None:
    trials = [
        trial(index, 0.5 + 0.4 * (rate == 0.01) + 0.01 * dropout, learning_rate=rate, dropout=dropout, activation=kind)
        for index, (rate, dropout, kind) in enumerate(
            (rate, dropout, kind) for rate in (0.0001, 0.01, 0.1) for dropout in (0.0, 0.5) for kind in ("relu", "tanh")
        )
    ]
    shares = importance(trials)
    assert next(iter(shares)) == "learning_rate"
    assert shares["learning_rate"] > 0.9
    assert set(shares) == {"learning_rate", "dropout", "activation"}
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert importance(trials) == shares


def test_importance_is_empty_if_undefined() -> None:
    assert importance(TRIALS[:4]) == {}  # too few that were trained to the end
    alike = [trial(number, 0.5, dropout=number / 10) for number in range(8)]
    assert importance(alike) == {}
    assert importance([]) == {}
    same = [trial(number, number / 10, dropout=0.1) for number in range(8)]
    assert importance(same) == {}


def test_units_without_layers_count_as_sampled() -> None:
    trials = [
        Trial(1, index, {"layers": layers, "units": units}, Head(inner=(units,) * layers), layers / 4, 1.0, 1)
        for index, (layers, units) in enumerate((layers, units) for layers in (0, 1, 2) for units in (4, 8))
    ]
    assert next(iter(importance(trials))) == "layers"
    assert set(importance(trials)) == {"layers", "units"}
