import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError, ModelMetadata
from tests import networks, skips
from tests.networks import keras

pytestmark = pytest.mark.usefixtures("small_networks")

ABOUT = ModelMetadata("shapes", ("a b", "ü", "c"), 32, "MobileNet", "f" * 64, ("s1", "s2"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(networks.classifier("ResNet50"), tmp_path / "new" / "shapes_03_0.750.h5", ABOUT)


def test_metadata_is_read_back(saved: Path) -> None:
    assert checkpoint.metadata(saved) == ABOUT


def test_loaded_model_has_the_same_predictions(saved: Path) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    loaded = checkpoint.load(saved)
    np.testing.assert_allclose(loaded(pixels), networks.classifier("ResNet50")(pixels), atol=1e-6)
    assert not loaded.compiled


PLAIN = """
import sys
import numpy as np, keras
assert not any(name.startswith("headstand") for name in sys.modules)
try:
    import headstand
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("headstand can be imported here")
model = keras.models.load_model(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
np.save(sys.argv[2], model.predict(pixels, verbose=0))
"""


@pytest.mark.slow
def test_plain_keras_loads_a_checkpoint_without_headstand(saved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", PLAIN, str(saved), str(tmp_path / "answers.npy")],
        cwd=elsewhere, env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    answers = np.load(tmp_path / "answers.npy")
    np.testing.assert_allclose(answers, networks.classifier("ResNet50")(pixels), atol=1e-5)


def test_the_optimizer_is_left_out(tmp_path: Path) -> None:
    model = networks.classifier()
    bare = checkpoint.save(model, tmp_path / "bare.h5", ABOUT).stat().st_size
    model.compile("adam", "categorical_crossentropy", run_eagerly=True)
    model.fit(np.zeros((2, 32, 32, 3)), np.eye(3)[:2], verbose=0)
    path = checkpoint.save(model, tmp_path / "shapes.h5", ABOUT)
    with h5py.File(path) as file:
        assert sorted(file) == ["headstand", "model_weights"]
    assert path.stat().st_size < bare * 1.2
    # It may go on training.
    model.fit(np.zeros((2, 32, 32, 3)), np.eye(3)[:2], verbose=0)


def test_failed_save_keeps_the_previous_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def broken(self: keras.Model, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", broken)
    with pytest.raises(CheckpointError, match=r"cannot write .*new\.h5: No space left on device"):
        checkpoint.save(networks.classifier(), saved.with_name("new.h5"), ABOUT)
    with pytest.raises(CheckpointError):
        checkpoint.save(networks.classifier(), saved, ABOUT)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == before


FULL = """
import resource, signal, sys
from dataclasses import asdict, replace
from pathlib import Path
from headstand.heads import checkpoint
import keras
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
pixels = keras.Input((32, 32, 3))
model = keras.Model(pixels, keras.layers.Dense(400)(keras.layers.Flatten()(pixels)))
# As on a full disk, h5py fails while it writes and once more while it closes the file.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.save(model, Path(sys.argv[1]) / "a.h5", checkpoint.ModelMetadata("a", ("b", "c"), 32, "x", "y"))
except checkpoint.CheckpointError as error:
    print(error, flush=True)
"""


@pytest.mark.slow
@skips.unix
def test_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    result = subprocess.run([sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True)
    # HDF5 may fail once more while Python exits, so the exit status is not checked.
    assert result.stdout == f"cannot write {folder}/a.h5: File too large\n", result.stderr
    assert list(folder.iterdir()) == []


def test_too_little_disk_space_is_reported_before_anything_is_written(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()
    usage = shutil.disk_usage(saved.parent)
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    monkeypatch.setattr(keras.Model, "save", lambda *_, **__: pytest.fail("it was written"))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.save(networks.classifier(), saved, ABOUT)
    assert str(caught.value) == f"cannot write {saved}: it takes 0.1 MB and 0.0 MB are free; make room"
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_required_space_is_at_least_the_file_size(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []
    usage = shutil.disk_usage(saved.parent)

    class Free(int):
        def __lt__(self, needed: int) -> bool:
            requested.append(needed)
            return False

    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: usage._replace(free=Free(0)))
    checkpoint.save(networks.classifier("ResNet50"), saved, ABOUT)
    assert saved.stat().st_size <= requested[0] <= saved.stat().st_size + 200_000


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    for read in (checkpoint.load, checkpoint.metadata):
        with pytest.raises(CheckpointError, match=r"model\.h5") as caught:
            read(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("part", [0.2, 0.5, 0.95])
def test_truncated_checkpoint_is_refused(saved: Path, part: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * part)])
    for read in (checkpoint.load, checkpoint.metadata):
        with pytest.raises(CheckpointError, match=saved.name):
            read(saved)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.h5", tmp_path):
        with pytest.raises(CheckpointError, match=path.name):
            checkpoint.load(path)
        with pytest.raises(CheckpointError, match=path.name):
            checkpoint.metadata(path)


def test_plain_keras_model_is_loaded_and_has_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "plain.h5"
    checkpoint.save(networks.classifier(), path, ABOUT)
    with h5py.File(path, "a") as file:
        del file["headstand"]
    assert checkpoint.load(path).output.shape == (None, 3)
    with pytest.raises(CheckpointError, match=r"plain\.h5 is not a checkpoint that Headstand wrote"):
        checkpoint.metadata(path)


RECORDS = [
    "[]",
    "{",
    '{"labels": 3, "training_fingerprints": []}',
    '{"name": "x"}',
    '{"labels": [], "training_fingerprints": []}',
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_damaged_record(saved: Path, record: str) -> None:
    with h5py.File(saved, "a") as file:
        del file["headstand"]
        file["headstand"] = record
    with pytest.raises(CheckpointError, match="not a checkpoint that Headstand wrote"):
        checkpoint.metadata(saved)


def test_metadata_with_the_keys_of_an_earlier_version_is_read(saved: Path) -> None:
    known = checkpoint.metadata(saved)
    record = asdict(replace(known, training_fingerprints=("12", "ab"), evaluation_fingerprints=("ef",)))
    earlier = {"training_fingerprints": "seen", "evaluation_fingerprints": "examined"}
    with h5py.File(saved, "a") as file:
        del file["headstand"]
        file["headstand"] = json.dumps({earlier.get(key, key): value for key, value in record.items()})
    expected = replace(known, training_fingerprints=("12", "ab"), evaluation_fingerprints=("ef",))
    assert checkpoint.metadata(saved) == expected


def lambda_model(path: Path, mark: Path, old: bool) -> None:
    """A .h5 whose Lambda layer leaves `mark` when its code runs; `old` writes it as Keras 2 did."""
    pixels = keras.Input((8, 8, 3))
    code = eval(f"lambda t: (open({str(mark)!r}, 'w').close(), t)[1]")
    layer = keras.layers.Lambda(code, name="trap", output_shape=(8, 8, 3))
    checkpoint.save(keras.Model(pixels, layer(pixels)), path, ABOUT)
    mark.unlink(missing_ok=True)
    if old:
        with h5py.File(path, "a") as file:
            config = json.loads(file.attrs["model_config"])
            (trap,) = (one for one in config["config"]["layers"] if one["class_name"] == "Lambda")
            trap["config"]["function"] = [trap["config"]["function"]["config"]["code"], None, None]
            trap["config"]["function_type"] = "lambda"
            file.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize("old", [False, True])
def test_code_inside_a_file_is_not_run(tmp_path: Path, old: bool) -> None:
    path, mark = tmp_path / "lambda.h5", tmp_path / "mark"
    lambda_model(path, mark, old)
    with h5py.File(path) as file:
        assert "Lambda" in file.attrs["model_config"]
    with pytest.raises(CheckpointError, match=r"lambda\.h5 is not a Keras model that can be loaded"):
        checkpoint.load(path)
    assert not mark.exists()
