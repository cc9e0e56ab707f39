from pathlib import Path
from typing import Any

import pytest

from headstand.heads import search
from headstand.recipe import Head, Search
from tests.heads.search.scores import EMPTY, Scores

START = Head(inner=(4,), epochs=2, batch_size=10)

GRID = Search.model_validate(
    {
        "strategy": "grid",
        "parameters": {
            "dropout": {"low": 0.0, "high": 0.3, "step": 0.1},
            "layers": {"low": 0, "high": 2},
            "units": {"values": [3, 8]},
        },
    }
)


def rule(head: Head) -> tuple[float, float]:
    """Best: two layers of 8, dropout 0.3 by its loss alone."""
    return 0.1 + 0.2 * len(head.inner) + 0.01 * sum(head.inner), 1.0 - head.dropout


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    return Scores(rule).stand_in(monkeypatch)


def run(journal: Path, plan: Search = GRID, reported: list[Any] | None = None) -> search.SearchResult:
    after = None if reported is None else lambda trial, known: reported.append((trial, known))
    by_accuracy = plan.model_copy(update={"selection": "accuracy"})
    return search.run(by_accuracy, START, EMPTY, EMPTY, 3, 1, journal, after)


def test_every_combination_is_trained_and_the_best_selected(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal")
    combinations = [
        {"dropout": dropout, "layers": layers, "units": units}
        for dropout in (0.0, 0.1, 0.2, 0.3) for layers in (0, 1, 2) for units in (3, 8)
    ]  # fmt: skip
    assert [trial.values for trial in found.trials] == combinations
    assert [trial.number for trial in found.trials] == list(range(1, 25))
    for trial in found.trials:
        assert trial.head.inner == (trial.values["units"],) * trial.values["layers"]
        assert (trial.val_accuracy, trial.val_loss) == rule(trial.head)
    assert found.head == START.model_copy(update={"inner": (8, 8), "dropout": 0.3})
    # Without layers, units have no effect: such heads are trained once.
    assert len(scores.heads) == 20
    assert len({head.model_dump_json() for head in scores.heads}) == 20


@pytest.mark.parametrize("crash_at", [1, 2, 11, 20])
def test_interrupted_grid_is_resumed(tmp_path: Path, scores: Scores, crash_at: int) -> None:
    whole = run(tmp_path / "whole")
    before = list(scores.heads)
    scores.heads, scores.crash_at = [], crash_at
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "journal")
    assert len(scores.heads) == crash_at - 1
    scores.crash_at = None
    assert run(tmp_path / "journal") == whole
    assert scores.heads == before  # each once, over both runs


def test_several_grids(tmp_path: Path, scores: Scores) -> None:
    jobs = [{"parameters": {"units": {"values": [2, 9]}}}, {"parameters": {"dropout": {"values": [0.5]}}}]
    found = run(tmp_path / "journal", Search.model_validate({"strategy": "grid", "jobs": jobs}))
    assert [(trial.stage, trial.number, trial.head.inner, trial.head.dropout) for trial in found.trials] == [
        (1, 1, (2,), 0), (1, 2, (9,), 0), (2, 1, (4,), 0.5),
    ]  # fmt: skip
    assert found.head.inner == (9,)


def test_grid_over_the_parameters_of_the_stages(tmp_path: Path, scores: Scores) -> None:
    stages = [{"parameter": "dropout", "values": [0.0, 0.2]}, {"parameter": "inner", "values": [[], [6, 5], 7]}]
    found = run(tmp_path / "journal", Search.model_validate({"strategy": "grid", "stages": stages}))
    assert [(trial.head.dropout, trial.head.inner) for trial in found.trials] == [
        (0, ()), (0, (6, 5)), (0, (7,)), (0.2, ()), (0.2, (6, 5)), (0.2, (7,)),
    ]  # fmt: skip
    assert found.head.inner == (6, 5)
    assert run(tmp_path / "journal", Search.model_validate({"strategy": "grid", "stages": stages})) == found
    assert len(scores.heads) == 6


def test_strategy_none_keeps_the_head_and_writes_no_journal(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal", Search(strategy="none"))
    assert (found.trials, found.head) == ((), START)
    assert not (tmp_path / "journal").exists()
