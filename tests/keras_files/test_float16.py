import zipfile
from pathlib import Path

import numpy as np
import pytest

from headstand.features import backbones
from headstand.keras_files import float16, loading
from headstand.keras_files.parts import KerasFileError
from headstand.recipe import HOME, Backbone
from tests.keras_files import files
from tests.networks import keras


def test_kernels_are_float16_in_the_file_and_float32_when_loaded(tmp_path: Path) -> None:
    model = files.stirred(files.base())
    source = files.saved(model, tmp_path / "net.keras")
    target = float16.write(source, tmp_path / "half.keras")
    for loaded in (keras.models.load_model(target), loading.load(target)):
        for weight, given in zip(loaded.weights, model.weights, strict=True):
            assert weight.dtype == "float32"
            wanted = given.numpy().astype(np.float16).astype(np.float32) if len(given.shape) > 1 else given.numpy()
            np.testing.assert_array_equal(weight.numpy(), wanted)
    assert target.stat().st_size < source.stat().st_size
    again = float16.write(source, tmp_path / "again.keras")
    assert again.read_bytes() == target.read_bytes()


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    model = files.base()
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel + 7e4)
    source = files.saved(model, tmp_path / "net.keras")
    with pytest.raises(KerasFileError, match=r"layers/conv2d/vars/0 have values that float16 cannot hold"):
        float16.write(source, tmp_path / "half.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["net.keras"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.h5").write_bytes(b"HDF")
    with pytest.raises(KerasFileError, match=r"net\.h5 is not a \.keras file"):
        float16.write(tmp_path / "net.h5", tmp_path / "half.keras")


def test_the_shipped_network_has_googles_weights() -> None:
    """The reference values are those of the float32 weights, for the drawing of a tree pose."""
    path = HOME / "models/backbones/efficientnet_lite0.keras"
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
    assert path.stat().st_size < 7e6
    settings = Backbone(name="EfficientNetLite0", depths=4)
    assert (settings.size, settings.weights) == (224, "imagenet")
    extractor = backbones.extractor(settings)
    photo = settings.input.decode(HOME / "models/yoga6/samples/tree.webp")
    features = extractor(photo[None].astype(np.float32)).numpy()[0]
    assert features.shape == (1280 + 6 * 672 + 240 + 144,)
    assert np.linalg.norm(features[:1280]) == pytest.approx(18.101992, rel=2e-3)
    assert features[1280:-384].mean() == pytest.approx(0.194011, rel=2e-3)
    assert features[-384:].mean() == pytest.approx(0.827400, rel=2e-3)
    np.testing.assert_allclose(features[[0, 2]], [0.303603, 0.716711], rtol=0.02)
