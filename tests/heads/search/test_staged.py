from pathlib import Path
from typing import Any

import pytest

from headstand import heads
from headstand.heads import search
from headstand.recipe import Head, Search
from tests.heads.search.scores import EMPTY, Scores
from tests.heads.test_head import blobs

START = Head(inner=(4,), epochs=2, learning_rate=0.01, batch_size=10)

STAGES = Search.model_validate(
    {
        "stages": [
            {"parameter": "learning_rate", "values": [0.001, 0.01, 0.1]},
            {"parameter": "inner", "values": [3, [6, 5], 9], "finalists": 2, "finalist_epochs": 5},
            {"parameter": "dropout", "values": [0.0, 0.2]},
        ]
    }
)


def rule(head: Head) -> tuple[float, float]:
    """Best: a rate of 0.1, five and six units once given more epochs, dropout 0.2 by its loss alone."""
    accuracy = {0.001: 0.1, 0.01: 0.2, 0.1: 0.3}[head.learning_rate]
    accuracy += {(4,): 0, (3,): 0.01, (6, 5): 0.05, (9,): 0.06}[head.inner]
    if head.epochs == 5 and head.inner == (6, 5):
        accuracy += 0.1
    return accuracy, 1.0 - head.dropout


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    return Scores(rule).stand_in(monkeypatch)


def run(journal: Path, stages: Search = STAGES, reported: list[Any] | None = None) -> search.SearchResult:
    after = None if reported is None else lambda trial, known: reported.append((trial, known))
    by_accuracy = stages.model_copy(update={"selection": "accuracy"})
    return search.run(by_accuracy, START, EMPTY, EMPTY, 3, 1, journal, after)


def settings_of(head: Head) -> tuple[Any, ...]:
    return head.learning_rate, head.inner, head.dropout, head.epochs


IN_ORDER = [
    (0.001, (4,), 0, 2), (0.01, (4,), 0, 2), (0.1, (4,), 0, 2),
    (0.1, (3,), 0, 2), (0.1, (6, 5), 0, 2), (0.1, (9,), 0, 2), (0.1, (9,), 0, 5), (0.1, (6, 5), 0, 5),
    (0.1, (6, 5), 0, 2), (0.1, (6, 5), 0.2, 2),
]  # fmt: skip

TRAINED = [*IN_ORDER[:8], IN_ORDER[9]]
"""The last stage's first is the second stage's winner: it is not trained again."""


def test_stages_run_in_order_with_the_others_at_their_best(tmp_path: Path, scores: Scores) -> None:
    reported: list[Any] = []
    found = run(tmp_path / "journal", reported=reported)
    assert [settings_of(head) for head in scores.heads] == TRAINED
    assert [settings_of(trial.head) for trial in found.trials] == IN_ORDER
    assert [trial.stage for trial in found.trials] == [1] * 3 + [2] * 5 + [3] * 2
    assert [trial.number for trial in found.trials] == [1, 2, 3, 1, 2, 3, 4, 5, 1, 2]
    assert [trial.description for trial in found.trials[2:9]] == [
        "learning_rate=0.1", "inner=3", "inner=6+5", "inner=9", "inner=9 epochs=5", "inner=6+5 epochs=5", "dropout=0",
    ]  # fmt: skip
    assert found.head == START.model_copy(update={"learning_rate": 0.1, "inner": (6, 5), "dropout": 0.2})
    assert [trial.val_accuracy for trial in found.trials[:3]] == [0.1, 0.2, 0.3]
    assert found.trials[-1].val_loss == 0.8
    assert tuple(trial for trial, _ in reported) == found.trials
    assert not any(known for _, known in reported)


@pytest.mark.parametrize("crash_at", [1, 3, 4, 7, 9])
def test_interrupted_search_is_resumed(tmp_path: Path, scores: Scores, crash_at: int) -> None:
    whole = run(tmp_path / "whole")
    scores.heads, scores.crash_at = [], crash_at
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "journal")
    scores.crash_at = None
    reported: list[Any] = []
    assert run(tmp_path / "journal", reported=reported) == whole
    assert [settings_of(head) for head in scores.heads] == TRAINED  # each once, over both runs
    from_journal = crash_at if crash_at == 9 else crash_at - 1  # the identical head was recorded before
    assert [known for _, known in reported] == [True] * from_journal + [False] * (10 - from_journal)


def test_incomplete_last_line_of_the_journal_is_removed(tmp_path: Path, scores: Scores) -> None:
    whole = run(tmp_path / "journal")
    scores.heads.clear()
    journal = tmp_path / "journal"
    data = journal.read_bytes()
    journal.write_bytes(data[:-30])
    assert run(journal) == whole
    assert len(scores.heads) <= 1


def test_finished_search_is_read_from_the_journal(tmp_path: Path, scores: Scores) -> None:
    first = run(tmp_path / "journal")
    scores.heads.clear()
    assert run(tmp_path / "journal") == first
    assert scores.heads == []


def test_without_stages_the_start_is_the_head(tmp_path: Path, scores: Scores) -> None:
    assert run(tmp_path / "journal", Search()) == search.SearchResult((), START)
    assert scores.heads == []


def test_the_first_of_equals_wins(tmp_path: Path, scores: Scores) -> None:
    scores.rule = lambda head: (0.5, 1.0)
    stages = Search.model_validate({"stages": [{"parameter": "dropout", "values": [0.3, 0.1, 0.2]}]})
    assert run(tmp_path / "journal", stages).head.dropout == 0.3


def test_non_finite_loss_is_never_selected(tmp_path: Path, scores: Scores) -> None:
    scores.rule = lambda head: (1.0, float("nan")) if head.dropout == 0.3 else (0.4, 1.0)
    stages = Search.model_validate({"stages": [{"parameter": "dropout", "values": [0.3, 0.1]}]})
    for _ in range(2):  # also when it is read back from the journal
        assert run(tmp_path / "journal", stages).head.dropout == 0.1


def test_values_of_every_type_are_stored_and_read(tmp_path: Path, scores: Scores) -> None:
    scores.rule = lambda head: (0.5, 1.0)
    stages = Search.model_validate(
        {
            "stages": [
                {"parameter": "activation", "values": ["relu", "tanh"]},
                {"parameter": "epochs", "values": [1, 2]},
                {"parameter": "batch_size", "values": [10, 20]},
                {"parameter": "inner", "values": [[], 3]},
            ]
        }
    )
    first = run(tmp_path / "journal", stages)
    assert len(scores.heads) == 6  # the head so far is among the values of two stages
    assert run(tmp_path / "journal", stages) == first
    assert len(scores.heads) == 6


def test_a_real_search_finds_the_rate_that_learns(tmp_path: Path) -> None:
    train, validation = blobs(60, 1), blobs(30, 2)
    stages = Search.model_validate({"stages": [{"parameter": "learning_rate", "values": [1e-6, 0.05]}]})
    found = search.run(stages, START, train, validation, 3, 1, tmp_path / "journal")
    assert found.head.learning_rate == 0.05
    slow, fast = found.trials
    assert fast.val_accuracy > 0.9 > slow.val_accuracy
    # A trial is the very training that the chosen head will have.
    fit = heads.fit(found.head, train, validation, 3, 1)
    assert (fit.best["val_accuracy"], fit.best["val_loss"]) == (fast.val_accuracy, pytest.approx(fast.val_loss))


def test_by_log_loss_the_lowest_loss_is_selected(tmp_path: Path, scores: Scores) -> None:
    # The rule's loss depends on dropout alone; the accuracy would select an inner layer of 6 and 5.
    stages = Search.model_validate(
        {"stages": [{"parameter": "inner", "values": [4, [6, 5]]}, {"parameter": "dropout", "values": [0.0, 0.2]}]}
    )
    scores.rule = lambda head: (0.9 if head.inner == (6, 5) else 0.1, 1.0 - head.dropout + 0.1 * (head.inner == (6, 5)))
    for _ in range(2):  # also when it is read back from the journal
        found = search.run(stages, START, EMPTY, EMPTY, 3, 1, tmp_path / "journal")
        assert settings_of(found.head)[1:3] == ((4,), 0.2)
        assert [trial.objective for trial in found.trials] == pytest.approx([-1.0, -1.1, -1.0, -0.8])
