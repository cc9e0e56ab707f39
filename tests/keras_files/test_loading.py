"""The same check wherever a Keras file is loaded, and what the allow-list lets pass."""

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from headstand.export import foreign
from headstand.features import backbones
from headstand.features.backbones import BackboneError
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError
from headstand.keras_files import layers as allowed
from headstand.keras_files import loading
from headstand.keras_files.parts import KerasFileError
from headstand.recipe import Backbone
from tests import networks
from tests.keras_files import files
from tests.keras_files.files import LABELS, SIZE
from tests.networks import layers

FORMATS = pytest.mark.parametrize("suffix", [".h5", ".keras"])


def augmented() -> keras.Model:
    """A Functional model with augmentation inside, whose calls store the default `training=True`."""
    given = keras.Input((SIZE, SIZE, 3))
    x = layers.RandomFlip("horizontal", name="flip")(given)
    x = layers.RandomZoom(0.2)(layers.RandomRotation(0.1)(x))
    x = layers.GaussianNoise(1.0)(layers.RandomContrast(0.3)(x))
    x = layers.Dropout(0.5)(layers.Flatten()(layers.Rescaling(0.01)(x)))
    return files.stirred(keras.Model(given, layers.Dense(3, "softmax")(x)))


@FORMATS
def test_augmentation_whose_stored_training_is_a_default_answers_as_predict_does(tmp_path: Path, suffix: str) -> None:
    model = augmented()
    path = files.saved(model, tmp_path / f"m{suffix}")
    text = h5py.File(path).attrs["model_config"] if suffix == ".h5" else files.members(path)["config.json"].decode()
    flip = next(entry for entry in json.loads(text)["config"]["layers"] if entry["name"] == "flip")
    assert flip["inbound_nodes"][0]["kwargs"]["training"] is True
    expected = model.predict(files.pixels(), verbose=0)
    loaded, found = loading.load(path), foreign.load(path, LABELS, "none")
    for one in (loaded, found.model):
        np.testing.assert_allclose(one.predict(files.pixels(), verbose=0), expected, atol=1e-6)


@FORMATS
def test_names_trainability_and_weights_are_kept(tmp_path: Path, suffix: str) -> None:
    model = files.classifier()
    model.get_layer("base").get_layer("conv").trainable = False
    loaded = loading.load(files.saved(model, tmp_path / f"m{suffix}"))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert [layer.trainable for layer in loaded.get_layer("base").layers] == [
        layer.trainable for layer in model.get_layer("base").layers
    ]
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not loaded.compiled


def test_names_with_slashes_of_keras_2(tmp_path: Path) -> None:
    flat, first = files.entry("Flatten", "conv1/bn", "photo"), files.source("photo", SIZE, SIZE, 3)
    head = files.entry("Dense", "conv1_bn", "conv1/bn", units=3, use_bias=False, activation="softmax")
    kernel = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, 3))
    description = files.functional("m", [first, flat, head])
    path = files.legacy(tmp_path / "m.h5", description, {"conv1_bn": {"conv1_bn/kernel:0": kernel}})
    loaded = loading.load(path)
    assert [layer.name for layer in loaded.layers] == ["photo", "conv1_bn", "conv1_bn_1"]
    np.testing.assert_allclose(loaded.layers[-1].kernel, kernel, rtol=1e-6)


def test_weights_of_a_keras_archive_of_keras_2(tmp_path: Path) -> None:
    model = files.classifier()
    content = files.members(files.saved(model, tmp_path / "m.keras"))
    inner = tmp_path / "inner.h5"
    inner.write_bytes(content["model.weights.h5"])
    with h5py.File(inner, "r+") as file:
        file.move("layers/functional/layers", "layers/functional/_layer_checkpoint_dependencies")
        file.move("layers", "_layer_checkpoint_dependencies")
    path = files.archive(tmp_path / "m.keras", {**content, "model.weights.h5": inner.read_bytes()})
    np.testing.assert_allclose(loading.load(path)(files.pixels()), model(files.pixels()), atol=1e-6)


def test_bfloat16_weights(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Flatten(), layers.Dense(3, dtype="bfloat16")])
    loaded = loading.load(files.saved(model, tmp_path / "m.keras"))
    expected = np.asarray(keras.ops.cast(model.layers[-1].kernel, "float32"))
    np.testing.assert_array_equal(np.asarray(loaded.layers[-1].kernel), expected)


def test_layers_that_make_their_own_zeros_get_no_more_than_the_file_holds(tmp_path: Path) -> None:
    parts = [files.source("photo", SIZE, SIZE, 3)]
    for number in range(12):
        before = parts[-1]["name"]
        parts.append(files.entry("Concatenate", f"c{number}", before, before, axis=-1))
    parts += [
        files.entry("Normalization", "n", "c11", axis=[-1]),
        files.entry("Flatten", "flat", "n"),
        files.entry("Softmax", "end", "flat", axis=-1),
    ]
    path = files.legacy(tmp_path / "m.h5", files.functional("m", parts))
    with pytest.raises(KerasFileError, match="describes layers with more weights than its file holds"):
        loading.load(path)


def test_a_layer_scale_of_any_size_is_refused(tmp_path: Path) -> None:
    scale = files.entry("LayerScale", "s", "photo", init_values=1e-6, projection_dim=10**9)
    path = files.legacy(tmp_path / "m.h5", files.functional("m", [files.source("photo", SIZE, SIZE, 3), scale]))
    with pytest.raises(KerasFileError, match=r"its layer 's' is not a valid LayerScale of keras\.applications"):
        loading.load(path)


def harmful(path: Path, mark: Path) -> Path:
    given = keras.Input((SIZE, SIZE, 3))
    harm = eval(f"lambda x: [open({str(mark)!r}, 'w').close(), x][1]")
    x = layers.Lambda(harm, output_shape=(SIZE, SIZE, 3), name="harm")(given)
    files.saved(keras.Model(given, layers.Dense(3)(layers.Flatten()(x))), path)
    mark.unlink(missing_ok=True)
    return path


@FORMATS
def test_checkpoints_and_starting_weights_are_checked_too(tmp_path: Path, suffix: str, small_networks: None) -> None:
    mark = tmp_path / "mark"
    path = harmful(tmp_path / f"m{suffix}", mark)
    with pytest.raises(
        CheckpointError, match=r"is not a Keras model that can be loaded: .*its layer 'harm' is a Lambda"
    ):
        checkpoint.load(path)
    with pytest.raises(CheckpointError, match="its layer 'harm' is a Lambda"):
        backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(path)))
    assert not mark.exists()


def test_evaluate_and_convert_check_a_checkpoint(tmp_path: Path) -> None:
    from headstand.evaluate import model as evaluated
    from headstand.export import trained

    mark = tmp_path / "mark"
    path = harmful(tmp_path / "m.h5", mark)
    with h5py.File(path, "a") as file:
        record = {"name": "x", "labels": ["a", "b", "c"], "size": SIZE, "backbone": "MobileNet", "data": "0"}
        file["headstand"] = json.dumps(record)
    for read in (evaluated.load, trained.read):
        with pytest.raises(CheckpointError, match="its layer 'harm' is a Lambda"):
            read(path)
    assert not mark.exists()


def outside(file: h5py.File, secret: Path) -> None:
    name = next(iter(file["layers"]))
    del file[f"layers/{name}/vars"]
    file[f"layers/{name}/vars"] = h5py.ExternalLink(str(secret), "/")


def whole(file: h5py.File, secret: Path) -> None:
    file.attrs["model_config"] = "{}"
    file.create_group("model_weights").attrs["layer_names"] = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (outside, r"has a link instead of data at 'vars' \(ExternalLink\)"),
        (whole, "holds a whole model"),
    ],
)
def test_a_weights_file_is_checked_too(tmp_path: Path, small_networks: None, change: Any, reason: str) -> None:
    path, secret = tmp_path / "net.weights.h5", tmp_path / "secret.h5"
    networks.tiny(False, None, (32, 32, 3)).save_weights(path)
    with h5py.File(secret, "w") as file:
        file["0"] = np.zeros(3)
    assert backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(path))).output_shape == (None, 12)
    with h5py.File(path, "r+") as file:
        change(file, secret)
    with pytest.raises(BackboneError, match=reason):
        backbones.extractor(Backbone(name="MobileNet", size=32, weights=str(path)))


def test_a_record_in_another_file_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    record = {"name": "x", "labels": ["a", "b", "c"], "size": SIZE, "backbone": "MobileNet", "data": "0"}
    with h5py.File(secret, "w") as file:
        file["headstand"] = json.dumps(record)
    path = files.saved(files.classifier(), tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["headstand"] = h5py.ExternalLink(str(secret), "headstand")
    with pytest.raises(CheckpointError, match="is not a checkpoint that Headstand wrote"):
        checkpoint.metadata(path)


def test_the_documentation_lists_all_allowed_layers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    part = text[text.index("## Keras files that are loaded") :]
    part = part[: part.index("\n## ", 1)]
    for name in sorted(allowed.LAYERS | allowed.AUGMENTATION):
        assert f"`{name}`" in part, name


@FORMATS
def test_what_was_loaded_can_be_cloned_and_saved_again(tmp_path: Path, suffix: str) -> None:
    loaded = loading.load(files.saved(files.classifier(), tmp_path / f"m{suffix}"))
    copy = keras.models.clone_model(loaded)
    copy.set_weights(loaded.get_weights())
    again = loading.load(files.saved(copy, tmp_path / f"again{suffix}"))
    np.testing.assert_allclose(again(files.pixels()), loaded(files.pixels()), atol=1e-6)
