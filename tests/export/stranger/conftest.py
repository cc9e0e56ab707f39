from pathlib import Path

import pytest

from headstand.export.stranger import reader, stored


@pytest.fixture(autouse=True)
def near(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in the test's own process, without its limits: a process for each takes longer than the tests."""
    if "apart" not in request.fixturenames:
        monkeypatch.setattr(stored, "_run", lambda path, folder: reader.take_apart(path, Path(folder)))


@pytest.fixture
def apart() -> None:
    """Files are read as for users, by a process of its own."""
