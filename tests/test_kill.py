"""Kills at a few random moments; `python -m benchmarks.kill` strikes sixty times."""

from pathlib import Path

import pytest

from benchmarks.kill import Workshop

COUNTS = {"train": 64, "validation": 16, "test": 16}


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "at_once"), [("features", 1), ("search", None), ("fine-tuning", 1)])
def test_a_kill_costs_what_was_in_flight_and_changes_nothing(tmp_path: Path, phase: str, at_once: int | None) -> None:
    workshop = Workshop(tmp_path, phase, COUNTS)
    assert workshop.undisturbed.kept >= 4
    for strike in workshop.strikes(seed=7, count=2):
        assert strike.repeated <= strike.in_flight
        if at_once:  # heads that are drawn at random are trained side by side
            assert strike.in_flight <= at_once
        # Within float noise for fine-tuning, which adds up in an order of its own; equal for the others.
        assert strike.difference <= (1e-3 if phase == "fine-tuning" else 0)
