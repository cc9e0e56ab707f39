import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand import files
from headstand.preparation.manifest import Dataset
from tests import photos, shared

_ANEW: list[bool] = []
"""Not empty while a test has the fixture `anew`."""


@pytest.fixture(scope="session")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of converted models, which all test processes fill."""
    return shared.folder(tmp_path_factory, "conversions", lambda: None)


@pytest.fixture(autouse=True, scope="module")
def cached_conversions(conversions: Path) -> Iterator[None]:
    """Convert each model once in all test processes; tests with the fixture `anew` convert it each time."""
    from headstand.export import candidates, tflite_conversion

    def once(name: str, real: Callable[..., bytes]) -> Callable[..., bytes]:
        def call(model: Any, *arguments: Any) -> bytes:
            if _ANEW:
                return real(model, *arguments)
            values = [*model.get_weights(), *(each for each in arguments if isinstance(each, np.ndarray))]
            settings = (name, model.to_json(), *(each for each in arguments if not isinstance(each, np.ndarray)))
            key = hashlib.sha256(repr(settings).encode() + b"".join(value.tobytes() for value in values))
            path = conversions / key.hexdigest()
            if not path.is_file():
                files.write(path, real(model, *arguments))
            return path.read_bytes()

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (tflite_conversion, "float32"),
            (tflite_conversion, "float16"),
            (tflite_conversion, "dynamic"),
            (candidates, "int8"),
        ):
            patch.setattr(module, name, once(name, getattr(module, name)))
        yield


@pytest.fixture
def anew() -> Iterator[None]:
    """Conversions are not cached."""
    _ANEW.append(True)
    yield
    _ANEW.clear()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, np.ndarray]:
    """The small network quantized and in float32, and its calibration pixels, `uint8 [N, size, size, 3]`."""
    from tests import networks

    pixels = np.random.default_rng(3).integers(0, 256, (24, networks.SIZE, networks.SIZE, 3)).astype(np.uint8)

    def fill() -> None:
        from headstand.export.quantize import int8
        from headstand.export.tflite_conversion import float32

        model = networks.classifier()
        Path("int8.tflite").write_bytes(int8(model, pixels))
        Path("float32.tflite").write_bytes(float32(model))

    folder = shared.folder(tmp_path_factory, "small", fill)
    return (folder / "int8.tflite").read_bytes(), (folder / "float32.tflite").read_bytes(), pixels


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
def exported(trained: Path, workplace: Path) -> Path:
    """The run's folder in a copy that a test may change, with its bundle."""
    shutil.copytree(trained, workplace, dirs_exist_ok=True)
    (folder,) = Path("runs/shapes").iterdir()
    return folder


@pytest.fixture
def run(exported: Path) -> Path:
    """The run's folder in a copy that a test may change; its bundle is taken away."""
    folder = exported
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
    from headstand.preparation import manifest

    return manifest.read(Path("data/shapes"))
