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


def run(journal: Path, plan: Search = GRID, told: list[Any] | None = None) -> search.SearchResult:
    after = None if told is None else lambda trial, known: told.append((trial, known))
    return search.run(plan, START, EMPTY, EMPTY, 3, 1, journal, after)


def test_every_combination_is_tried_and_the_best_wins(tmp_path: Path, scores: Scores) -> None:
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
    # Without layers the size says nothing: such twins are trained once.
    assert len(scores.asked) == 20
    assert len({head.model_dump_json() for head in scores.asked}) == 20


@pytest.mark.parametrize("crash_at", [1, 2, 11, 20])
def test_a_grid_goes_on_where_it_stopped(tmp_path: Path, scores: Scores, crash_at: int) -> None:
    whole = run(tmp_path / "whole")
    before = list(scores.asked)
    scores.asked, scores.crash_at = [], crash_at
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "journal")
    assert len(scores.asked) == crash_at - 1
    scores.crash_at = None
    assert run(tmp_path / "journal") == whole
    assert scores.asked == before  # each once, over both runs


def test_grids_in_turn(tmp_path: Path, scores: Scores) -> None:
    jobs = [{"parameters": {"units": {"values": [2, 9]}}}, {"parameters": {"dropout": {"values": [0.5]}}}]
    found = run(tmp_path / "journal", Search.model_validate({"strategy": "grid", "jobs": jobs}))
    assert [(trial.stage, trial.number, trial.head.inner, trial.head.dropout) for trial in found.trials] == [
        (1, 1, (2,), 0), (1, 2, (9,), 0), (2, 1, (4,), 0.5),
    ]  # fmt: skip
    assert found.head.inner == (9,)


def test_a_grid_over_what_the_stages_name(tmp_path: Path, scores: Scores) -> None:
    stages = [{"parameter": "dropout", "values": [0.0, 0.2]}, {"parameter": "inner", "values": [[], [6, 5], 7]}]
    found = run(tmp_path / "journal", Search.model_validate({"strategy": "grid", "stages": stages}))
    assert [(trial.head.dropout, trial.head.inner) for trial in found.trials] == [
        (0, ()), (0, (6, 5)), (0, (7,)), (0.2, ()), (0.2, (6, 5)), (0.2, (7,)),
    ]  # fmt: skip
    assert found.head.inner == (6, 5)
    assert run(tmp_path / "journal", Search.model_validate({"strategy": "grid", "stages": stages})) == found
    assert len(scores.asked) == 6


def test_a_search_for_nothing_keeps_the_head_and_writes_no_journal(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal", Search(strategy="none"))
    assert (found.trials, found.head) == ((), START)
    assert not (tmp_path / "journal").exists()
