import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from headstand.prepare.manifest import Dataset
from tests import photos

settings.register_profile("headstand", deadline=None)  # how busy the machine is must fail no test
settings.load_profile("headstand")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without the settings of whoever runs the tests."""
    for variable in list(os.environ):
        if variable.startswith("HEADSTAND_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dataset(workplace: Path) -> Dataset:
    """The shapes, prepared under `data/shapes`."""
    return photos.prepare(Path("data/shapes"))


@pytest.fixture(autouse=True)
def read_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras files are read in the test's own process, without its limits: a process for each takes longer than a test.

    The fixture `reader_process` turns this off.
    """
    loading = sys.modules.get("headstand.keras_files.loading")  # not imported where no test needs Keras
    if loading and "reader_process" not in request.fixturenames:
        from headstand.keras_files import reader

        monkeypatch.setattr(loading, "_run", lambda path, folder: reader.take_apart(path, folder))


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network of `keras.applications` builds the stand-in of tests/networks.py."""
    from tests import networks

    for name in networks.backbones.names():
        monkeypatch.setattr(networks.keras.applications, name, networks.tiny)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training draws no plots, which takes two thirds of a small run's time; tests/learn/report looks at them."""
    from headstand.learn.report import record

    monkeypatch.setattr(record, "_draw", lambda folder, story: None)
