"""Kills a training process at a few random times; `python -m benchmarks.kill` does so sixty times."""

from pathlib import Path

import pytest

from benchmarks.kill import Workshop

COUNTS = {"train": 64, "validation": 16, "test": 16}


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "at_once"), [("features", 1), ("search", None), ("fine-tuning", 1)])
def test_a_kill_repeats_only_work_in_flight_and_does_not_change_the_result(
    tmp_path: Path, phase: str, at_once: int | None
) -> None:
    workshop = Workshop(tmp_path, phase, COUNTS)
    assert workshop.undisturbed.kept >= 4
    for strike in workshop.strikes(seed=7, count=2):
        assert strike.repeated <= strike.in_flight
        if at_once:  # the heads of a random search are trained concurrently
            assert strike.in_flight <= at_once
        # Fine-tuning sums floats in varying order; the other phases are exact.
        assert strike.difference <= (1e-3 if phase == "fine-tuning" else 0)
