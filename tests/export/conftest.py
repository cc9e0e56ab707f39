import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand.prepare.manifest import Dataset
from tests import photos, shared

_CONVERTED: dict[tuple[object, ...], bytes] = {}


@pytest.fixture(autouse=True)
def cached_conversions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert each model once in all tests of a process; tests with the fixture `anew` convert it each time."""
    if "anew" in request.fixturenames:
        return
    from headstand.export import candidates, convert

    def once(name: str, real: Callable[..., bytes]) -> Callable[..., bytes]:
        def call(model: Any, *arguments: Any) -> bytes:
            weights = hashlib.sha256(b"".join(values.tobytes() for values in model.get_weights())).digest()
            given = (each.tobytes() if isinstance(each, np.ndarray) else each for each in arguments)
            key = (name, model.to_json(), weights, *given)
            if key not in _CONVERTED:
                _CONVERTED[key] = real(model, *arguments)
            return _CONVERTED[key]

        return call

    for module, name in ((convert, "float32"), (convert, "float16"), (convert, "dynamic"), (candidates, "int8")):
        monkeypatch.setattr(module, name, once(name, getattr(module, name)))


@pytest.fixture
def anew() -> None:
    """Conversions are not cached."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared photos, a run over them and its bundle, made once; tests work on a copy of it."""

    def fill() -> None:
        from headstand.export.exporting import export
        from headstand.report import record
        from headstand.training import train
        from tests import networks

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(record, "_draw", lambda folder, context: None)
            photos.prepare(Path("data/shapes"))
            export(train(networks.recipe()).checkpoint)

    return shared.folder(tmp_path_factory, "trained", fill)


@pytest.fixture
def run(trained: Path, workplace: Path) -> Path:
    """The run's folder in a copy that a test may change; its bundle is taken away."""
    shutil.copytree(trained, workplace, dirs_exist_ok=True)
    (folder,) = Path("runs/shapes").iterdir()
    for result in (*folder.glob("*.tflite"), *folder.glob("*.parity.json")):
        result.unlink()
    return folder


@pytest.fixture
def model(run: Path) -> Path:
    """The run's checkpoint."""
    (path,) = run.glob("shapes_*.h5")
    return path


@pytest.fixture(scope="session")
def bundle(trained: Path) -> Path:
    """The bundle, not to be changed."""
    (path,) = trained.glob("runs/shapes/*/*.tflite")
    return path


@pytest.fixture
def dataset(run: Path) -> Dataset:
    from headstand.prepare import manifest

    return manifest.read(Path("data/shapes"))
