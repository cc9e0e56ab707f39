import numpy as np
import pytest

from headstand import features
from headstand.features import backbones
from tests import networks

pytestmark = pytest.mark.usefixtures("small_networks")


def test_compiled_is_the_model_in_inference_mode() -> None:
    model = networks.classifier()
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, networks.keras.layers.BatchNormalization):
            layer.moving_mean.assign(layer.moving_mean + 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    call = features.compiled(model)
    np.testing.assert_allclose(call(pixels), model(pixels.astype(np.float32), training=False), atol=1e-6)
    # One graph for every batch size.
    np.testing.assert_allclose(call(pixels[:1]), call(pixels)[:1], atol=1e-6)
    assert backbones.digest(model) == backbones.digest(model)
