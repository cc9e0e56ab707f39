import importlib.util
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from headstand import HOME, cores
from headstand.preparation.manifest import Dataset
from tests import photos
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

MOST_WORKERS = 8
"""Maximum number of parallel test processes; each one that imports TensorFlow takes up to 2 GB."""

settings.register_profile("headstand", deadline=None)  # a busy machine must not fail a test
settings.load_profile("headstand")


collect_ignore_glob = []
if importlib.util.find_spec("keras_hub") is None:  # optional and not in the Pipfile
    collect_ignore_glob += ["features/test_keras_hub.py"]
if sys.platform == "win32":
    # Tests that need gunicorn, containers or their substitutes, clusters, or a Unix shell.
    collect_ignore_glob += [
        "serve/test_worker*.py", "serve/test_ceiling.py", "serve/test_fuzz.py", "serve/test_endpoint.py",
        "serve/test_framing.py", "serve/test_nginx.py", "scale/*", "container/*", "test_attack.py",
        "test_predict.py", "test_test_script.py", "test_quiet.py", "test_kill.py", "images/test_encoded.py",
        "test_threat_model.py", "cli/test_page.py", "cli/test_deploy.py", "test_dockerfile.py", "cli/test_demo.py",
    ]  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Returns the number of processes for `-n auto`: one more than cores, as an eighth of the time is spent waiting."""
    return min(cores.available() + 1, MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Limits each of several processes to one thread, because more threads than cores are slower."""
    if config.getoption("numprocesses", None):
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(variable, "1")


@pytest.fixture
def gunicorn_settings(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """Returns a function that executes gunicorn.conf.py, whose changes to this process are undone after the test."""

    def execute() -> dict[str, Any]:
        from headstand.serve import service_metrics

        monkeypatch.setattr(service_metrics, "SHARED", None)
        monkeypatch.setattr(sys, "path", [*sys.path])
        return runpy.run_path(str(HOME / "gunicorn.conf.py"))

    return execute


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes to an empty folder and removes the user's `HEADSTAND_*` variables from the environment."""
    for variable in list(os.environ):
        if variable.startswith("HEADSTAND_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dataset(workplace: Path) -> Dataset:
    """The dataset of shapes, prepared under `data/shapes`."""
    return photos.prepare(Path("data/shapes"))


@pytest.fixture(autouse=True)
def read_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads Keras files in the test process without limits, because starting a process takes longer than a test.

    Nor is the work of a model measured, which takes half of the time. The fixture `reader_process` turns this off, and
    tests/keras_files measures the work.
    """
    loading = sys.modules.get("headstand.keras_files.loading")  # not imported if no test needs Keras
    if loading and "reader_process" not in request.fixturenames:
        from headstand.keras_files import reader

        monkeypatch.setattr(loading, "_run", lambda path, folder: reader.extract(path, folder))
        if "keras_files" not in request.path.parts:
            graph = loading._graph
            monkeypatch.setattr(loading, "graph", lambda model, size: graph(model, (1, size, size, 3)))
            monkeypatch.setattr(loading, "_graph", lambda model, shape: None)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces every network of `keras.applications` by the small one of tests/networks.py."""
    from tests import networks

    for name in networks.backbones.names():
        monkeypatch.setattr(networks.keras.applications, name, networks.tiny)


@pytest.fixture
def graphs() -> None:
    """Trains with compiled graphs, as in production, in a module whose other tests are `eager`."""


@pytest.fixture
def eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains without compiled graphs: compilation takes most of the time of a small training."""
    if "graphs" in request.fixturenames:
        return
    from tests import networks

    real = networks.keras.Model.compile

    def compile_eagerly(self: object, *arguments: object, **keywords: object) -> None:
        real(self, *arguments, **{**keywords, "run_eagerly": True})

    monkeypatch.setattr(networks.keras.Model, "compile", compile_eagerly)

    def compiled(model: networks.keras.Model) -> Callable[..., object]:
        return lambda pixels: model(networks.keras.ops.cast(pixels, "float32"), training=False)

    for name in ("headstand.features.extractor", "headstand.training"):
        if name in sys.modules:
            monkeypatch.setattr(sys.modules[name], "compiled", compiled)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables plots, which take two thirds of a small run's time; tests/report tests them."""
    from headstand.report import record

    monkeypatch.setattr(record, "_draw", lambda folder, context: None)


@pytest.fixture
def checkpoint(dataset: Dataset, small_networks: None) -> Path:
    """An untrained network for the shapes with fingerprints of their training and evaluation photos."""
    from dataclasses import replace

    from headstand.evaluation import leakage
    from headstand.heads import checkpoint
    from tests import networks

    about = replace(
        networks.about(dataset.digest),
        training_fingerprints=leakage.of(dataset, ["train"]),
        evaluation_fingerprints=leakage.of(dataset, ["validation", "test"]),
        temperature=1.5,
        threshold=0.34,
    )
    return checkpoint.save(networks.classifier(), Path("shapes.h5"), about)
