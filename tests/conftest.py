import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from headstand import cores
from headstand.prepare.manifest import Dataset
from tests import photos
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

MOST_WORKERS = 8
"""Processes that test in parallel; each one that imports TensorFlow takes up to 2 GB."""

settings.register_profile("headstand", deadline=None)  # how busy the machine is must fail no test
settings.load_profile("headstand")


if sys.platform == "win32":
    # The service under gunicorn, containers and what stands in for them, clusters, and what calls a Unix shell.
    collect_ignore_glob = [
        "serve/test_worker*.py", "serve/test_ceiling.py", "serve/test_fuzz.py", "serve/test_endpoint.py",
        "serve/test_framing.py", "serve/test_nginx.py", "scale/*", "container/*", "test_attack.py",
        "test_predict.py", "test_test_script.py", "test_quiet.py", "test_kill.py", "images/test_encoded.py",
        "test_threat_model.py", "cli/test_page.py", "cli/test_deploy.py", "test_dockerfile.py", "cli/test_demo.py",
    ]  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: one more than cores, since a fifth of the time is spent waiting."""
    return min(cores.available() + 1, MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Let each of several processes compute on one thread: threads of all cores in each would only wait."""
    if config.getoption("numprocesses", None):
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(variable, "1")


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

        monkeypatch.setattr(loading, "_run", lambda path, folder: reader.extract(path, folder))


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network of `keras.applications` builds the stand-in of tests/networks.py."""
    from tests import networks

    for name in networks.backbones.names():
        monkeypatch.setattr(networks.keras.applications, name, networks.tiny)


@pytest.fixture
def graphs() -> None:
    """Keras trains with compiled graphs, as users do, in a module whose other tests are `eager`."""


@pytest.fixture
def eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras fine-tunes step by step: compiling a graph takes most of the time of a small training."""
    if "graphs" in request.fixturenames:
        return
    from tests import networks

    real = networks.keras.Model.compile

    def compile_eagerly(self: object, *arguments: object, **keywords: object) -> None:
        real(self, *arguments, **{**keywords, "run_eagerly": True})

    monkeypatch.setattr(networks.keras.Model, "compile", compile_eagerly)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training draws no plots, which takes two thirds of a small run's time; tests/report looks at them."""
    from headstand.report import record

    monkeypatch.setattr(record, "_draw", lambda folder, story: None)


@pytest.fixture
def checkpoint(dataset: Dataset, small_networks: None) -> Path:
    """An untrained network over the shapes that has seen their training photos."""
    from dataclasses import replace

    from headstand.evaluation import leakage
    from headstand.heads import checkpoint
    from tests import networks

    about = replace(
        networks.about(dataset.digest),
        seen=leakage.of(dataset, ["train"]),
        examined=leakage.of(dataset, ["validation", "test"]),
        temperature=1.5,
        threshold=0.34,
    )
    return checkpoint.save(networks.classifier(), Path("shapes.h5"), about)
