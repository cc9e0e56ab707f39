import re
from datetime import UTC, datetime, tzinfo

import pytest

from headstand import naming

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stop_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Replaces the clock by a constant time."""

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return now.astimezone(tz)

    monkeypatch.setattr(naming, "datetime", Stopped)


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_clock(monkeypatch, NOW)


def test_stamps_of_the_same_second_differ() -> None:
    names = {naming.stamp("%y%m%d%H%M%S") for _ in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch("260102030405-[a-z0-9]{6}", name) for name in names)


@pytest.mark.parametrize(
    ("existing", "time"),
    [
        ([], "2026-01-02T030405"),
        (["2026-01-02T030404-abc123"], "2026-01-02T030405"),
        (["2026-01-02T030405-zzzzzz"], "2026-01-02T030406"),
        # A clock that was set back, and names of earlier versions, which contain the local time.
        (["2027-12-31T235959", "2026-01-02T030405-2"], "2028-01-01T000000"),
        (["notes", "compare-2030-01-01T000000", "2030-02-31T000000"], "2026-01-02T030405"),
    ],
)
def test_a_folder_sorts_after_the_existing_ones(existing: list[str], time: str) -> None:
    name = naming.folder("", existing)
    assert re.fullmatch(f"{time}-[a-z0-9]{{6}}", name)
    assert name > max((each for each in existing if each.startswith("2") and "-02-31" not in each), default="")


def test_only_folders_of_the_same_prefix_are_compared() -> None:
    name = naming.folder("compare-", ["2030-01-01T000000", "compare-2026-01-02T030405-abc123"])
    assert re.fullmatch("compare-2026-01-02T030406-[a-z0-9]{6}", name)
