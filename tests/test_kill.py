"""Kills at a few random moments; `python -m benchmarks.kill` kills sixty runs."""

from pathlib import Path

import pytest

from benchmarks.kill import KillBenchmark

COUNTS = {"train": 64, "validation": 16, "test": 16}


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "at_once"), [("features", 1), ("search", None), ("fine-tuning", 1)])
def test_a_kill_costs_what_was_in_flight_and_changes_nothing(tmp_path: Path, phase: str, at_once: int | None) -> None:
    benchmark = KillBenchmark(tmp_path, phase, COUNTS)
    assert benchmark.uninterrupted.saved >= 4
    for kill in benchmark.kills(seed=7, count=2):
        assert kill.repeated <= kill.in_flight
        if at_once:  # randomly sampled heads are trained in parallel
            assert kill.in_flight <= at_once
        # Within float noise for fine-tuning, whose summation order varies; equal for the others.
        assert kill.difference <= (1e-3 if phase == "fine-tuning" else 0)
