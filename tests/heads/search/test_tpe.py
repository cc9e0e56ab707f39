import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from headstand.heads import search
from headstand.heads.search import SearchError
from headstand.recipe import Head, Search
from headstand.runs import JOURNAL, REPORT
from tests.heads.search.scores import EMPTY, Scores
from tests.heads.test_head import blobs

START = Head(inner=(4,), epochs=6, batch_size=10, learning_rate=0.3)

RANGES = {
    "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.8},
    "layers": {"low": 0, "high": 3},
    "units": {"low": 2, "high": 64, "log": True},
    "activation": {"values": ["relu", "tanh"]},
    "batch_size": {"low": 4, "high": 20, "step": 4},
}


def plan(trials: int = 24, **keys: Any) -> Search:
    return Search.model_validate({"strategy": "tpe", "parameters": RANGES, "trials": trials, **keys})


def rule(head: Head) -> tuple[float, float]:
    """Best near a rate of 0.01 with little dropout and tanh."""
    distance = abs(math.log10(head.learning_rate) + 2) + head.dropout + (head.activation == "relu") * 0.5
    return 1 / (1 + distance), distance


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    return Scores(rule).stand_in(monkeypatch)


def run(journal: Path, settings: Search, start: Head = START, seed: int = 1) -> search.SearchResult:
    by_accuracy = settings.model_copy(update={"selection": "accuracy"})
    return search.run(by_accuracy, start, EMPTY, EMPTY, 3, seed, journal)


def test_heads_lie_in_the_ranges(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal", plan())
    assert [trial.number for trial in found.trials] == list(range(1, 25))
    for trial in found.trials:
        head = trial.head
        assert 1e-4 <= head.learning_rate <= 1
        assert 0 <= head.dropout <= 0.8
        assert len(head.inner) <= 3
        assert set(head.inner) <= set(range(2, 65))
        assert head.batch_size in (4, 8, 12, 16, 20)
        assert head.inner == (trial.values["units"],) * trial.values["layers"]
        kept = {name: value for name, value in trial.values.items() if name not in ("layers", "units")}
        assert head == Head.model_validate({**START.model_dump(), **kept, "inner": head.inner})
    rates = sorted(trial.head.learning_rate for trial in found.trials)
    assert rates[2] < 0.005 < rates[-3]  # not all at one end, as without log
    assert {len(trial.head.inner) for trial in found.trials} == {0, 1, 2, 3}


def test_search_improves_over_time(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal", plan(60, pruning=False))
    first, last = found.trials[:20], found.trials[40:]
    mean = [sum(trial.val_accuracy for trial in part) / 20 for part in (first, last)]
    assert mean[1] > mean[0] + 0.1
    assert found.head == max(found.trials, key=lambda trial: trial.val_accuracy).head
    assert rule(found.head)[0] > 0.75


def test_pruned_trials_are_stopped_early_and_never_selected(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal", plan(40))
    pruned = [trial for trial in found.trials if trial.pruned]
    assert 3 <= len(pruned) < 30
    assert not any(trial.pruned for trial in found.trials[:10])  # with whom should they be compared
    for trial in pruned:
        assert 2 <= len(trial.curve) < trial.head.epochs
        assert trial.epoch == len(trial.curve)
        assert trial.val_accuracy == pytest.approx(rule(trial.head)[0] * len(trial.curve) / trial.head.epochs)
        at_that_time = [other for other in found.trials[: trial.number - 1] if not other.pruned]
        reached = sorted(other.curve[len(trial.curve) - 1] for other in at_that_time)
        assert trial.val_accuracy < reached[len(reached) // 2]
    assert sum(scores.epochs) == sum(len(trial.curve) for trial in found.trials)
    winner = max((trial for trial in found.trials if not trial.pruned), key=lambda trial: trial.val_accuracy)
    assert found.head == winner.head


def test_without_pruning_all_are_trained_to_the_end(tmp_path: Path, scores: Scores) -> None:
    found = run(tmp_path / "journal", plan(20, pruning=False))
    assert set(scores.epochs) == {6}
    assert not any(trial.pruned for trial in found.trials)


@pytest.mark.parametrize("crash_at", [1, 2, 8, 9, 15, 24])
def test_interrupted_search_is_resumed(tmp_path: Path, scores: Scores, crash_at: int) -> None:
    whole = run(tmp_path / "whole", plan())
    before = list(scores.heads)
    scores.heads, scores.crash_at = [], crash_at
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "journal", plan())
    assert len(scores.heads) == crash_at - 1
    scores.crash_at = None
    assert run(tmp_path / "journal", plan()) == whole
    assert scores.heads == before  # each once, over both runs, and the same ones


def test_result_is_a_function_of_the_seed(tmp_path: Path, scores: Scores) -> None:
    first, again, other = (run(tmp_path / f"{n}", plan(), seed=seed) for n, seed in enumerate((1, 1, 2)))
    assert first == again
    assert [trial.head for trial in first.trials] != [trial.head for trial in other.trials]


def test_recipe_head_is_the_first_trial_if_it_lies_in_the_ranges(tmp_path: Path, scores: Scores) -> None:
    start = START.model_copy(update={"inner": (5, 5), "batch_size": 8})
    assert run(tmp_path / "inside", plan(2), start).trials[0].head == start
    outside = start.model_copy(update={"inner": (5, 6)})
    assert run(tmp_path / "outside", plan(2), outside).trials[0].head != outside


def test_non_finite_loss_is_never_selected(tmp_path: Path, scores: Scores) -> None:
    scores.rule = lambda head: (1.0, float("nan")) if head.learning_rate > 0.01 else rule(head)
    found = run(tmp_path / "journal", plan(20))
    assert found.head.learning_rate <= 0.01
    assert run(tmp_path / "journal", plan(20)).head == found.head


JOBS = [
    {"trials": 8, "parameters": {"learning_rate": RANGES["learning_rate"], "batch_size": {"values": [8, 12, 16]}}},
    {
        "trials": 6,
        "warm_start": True,
        "parameters": {
            "learning_rate": {"low": 1e-3, "high": 0.1, "log": True},
            "batch_size": {"values": [8, 12, 16]},
            "epochs": {"values": [6, 8]},
        },
    },
]


def test_later_job_is_warm_started_from_the_previous_job(
    tmp_path: Path, scores: Scores, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Search.model_validate({"strategy": "tpe", "jobs": JOBS})
    found = run(tmp_path / "journal", jobs)
    assert [(trial.stage, trial.number) for trial in found.trials] == [
        *((1, number) for number in range(1, 9)), *((2, number) for number in range(1, 7)),
    ]  # fmt: skip
    inside = [trial for trial in found.trials[:8] if 1e-3 <= trial.head.learning_rate <= 0.1]
    assert 0 < len(inside) < 8
    assert f"job 2: {len(inside)} of 8 earlier trials lie in its ranges" in capsys.readouterr().out
    assert all(1e-3 <= trial.head.learning_rate <= 0.1 for trial in found.trials[8:])
    assert {trial.head.epochs for trial in found.trials[8:]} == {6, 8}
    # The best so far goes first.
    top = max(found.trials[:8], key=lambda trial: (not trial.pruned, trial.val_accuracy))
    assert found.trials[8].head.batch_size == top.head.batch_size
    assert found.trials[8].head.learning_rate == min(max(top.head.learning_rate, 1e-3), 0.1)
    # What was learnt is made use of.
    cold = Search.model_validate({"strategy": "tpe", "jobs": [JOBS[0], {**JOBS[1], "warm_start": False}]})
    assert run(tmp_path / "cold", cold).trials[8:] != found.trials[8:]
    assert run(tmp_path / "again", jobs) == found


def test_run_is_warm_started_from_an_earlier_run(
    tmp_path: Path, scores: Scores, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = tmp_path / "runs" / "shapes" / "earlier"
    earlier.mkdir(parents=True)
    run(earlier / JOURNAL, plan())
    (earlier / REPORT).write_text("{}")
    before = (earlier / JOURNAL).read_bytes()
    warm = run(tmp_path / "warm", plan(6, warm_start=str(earlier)))
    assert "job 1: 24 of 24 earlier trials lie in its ranges" in capsys.readouterr().out
    assert len(warm.trials) == 6  # the others are not its own
    cold = run(tmp_path / "cold", plan(6))
    mean = [sum(rule(trial.head)[0] for trial in found.trials) / 6 for found in (warm, cold)]
    assert mean[0] > mean[1]
    assert (earlier / JOURNAL).read_bytes() == before
    assert run(tmp_path / "warm", plan(6, warm_start=str(earlier))) == warm


@pytest.mark.parametrize(
    ("state", "reported"),
    [("nothing", "does not exist"), ("folder", "is not finished"), ("report", "has no trials")],
)
def test_unusable_earlier_run_is_reported(tmp_path: Path, scores: Scores, state: str, reported: str) -> None:
    folder = tmp_path / "runs"
    if state != "nothing":
        folder.mkdir()
    if state == "report":
        (folder / REPORT).write_text("{}")
    with pytest.raises(SearchError, match=f"search.warm_start: the run {folder} {reported}"):
        run(tmp_path / "journal", plan(6, warm_start=str(folder)))
    assert not scores.heads
    assert not (folder / JOURNAL).exists()


def test_trials_of_another_version_are_skipped(tmp_path: Path, scores: Scores) -> None:
    whole = run(tmp_path / "journal", plan(6))
    lines = (tmp_path / "journal").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        if "user_attrs" in record:
            record["user_attrs"]["head"]["colour"] = "blue"
    (tmp_path / "other").write_text("".join(json.dumps(record) + "\n" for record in records))
    scores.heads.clear()
    assert run(tmp_path / "other", plan(6)) == whole
    assert len(scores.heads) == 6


def test_stale_lock_is_removed(tmp_path: Path, scores: Scores) -> None:
    whole = run(tmp_path / "journal", plan(6))
    (tmp_path / "journal.lock").symlink_to(tmp_path / "journal")
    assert run(tmp_path / "journal", plan(6)) == whole


@pytest.mark.slow
def test_real_search_prunes_heads_that_do_not_learn(tmp_path: Path) -> None:
    train, validation = blobs(60, 1, spread=2), blobs(30, 2, spread=2)
    ranges = {"learning_rate": {"low": 1e-6, "high": 0.1, "log": True}}
    settings = Search.model_validate({"strategy": "tpe", "trials": 12, "parameters": ranges})
    start = Head(inner=(4,), epochs=5, batch_size=10)
    found = search.run(settings, start, train, validation, 3, 1, tmp_path / "journal")
    assert found.head.learning_rate > 1e-3
    assert any(trial.pruned for trial in found.trials)
    shutil.copy(tmp_path / "journal", tmp_path / "half")
    lines = (tmp_path / "half").read_text().splitlines(keepends=True)
    (tmp_path / "half").write_text("".join(lines[: len(lines) * 2 // 3]))
    again = search.run(settings, start, train, validation, 3, 1, tmp_path / "half")
    assert [(trial.values, trial.curve) for trial in again.trials] == [
        (trial.values, trial.curve) for trial in found.trials
    ]
    assert again.head == found.head
