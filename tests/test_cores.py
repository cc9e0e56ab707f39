from pathlib import Path

import pytest

from headstand import cores


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 6), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("9900000 100000", 6),
     ("", 6), ("odd", 6)],
)  # fmt: skip
def test_a_container_quota_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    (tmp_path / "cpu.max").write_text(text)
    assert cores.available(tmp_path / "cpu.max") == expected
    assert cores.available(tmp_path / "none") == 6


def test_without_affinity_all_cores_are_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cores.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 3)
    assert cores.available(tmp_path / "none") == 3
    monkeypatch.setattr(cores.os, "cpu_count", lambda: None)
    assert cores.available(tmp_path / "none") == 1
