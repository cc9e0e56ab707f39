from pathlib import Path

import numpy as np
import pytest

from headstand import heads
from headstand.evaluation.grad_cam import grad_cam
from headstand.features import backbones
from headstand.heads import checkpoint
from headstand.recipe import Backbone, Head
from tests import networks


def test_the_heatmap_is_high_where_the_class_is(small_networks: None) -> None:
    """The head is set to read one channel of the feature maps: the attention is that channel's map."""
    model = networks.classifier(size=64)
    for layer in model.layers:
        if layer.name.startswith("inner"):
            kernel = np.zeros(layer.kernel.shape, np.float32)
            kernel[5, 0] = 1.0
            layer.set_weights([kernel, np.ones(layer.bias.shape, np.float32)])
    logits = np.zeros(model.get_layer("logits").kernel.shape, np.float32)
    logits[0, 2] = 3.0
    model.get_layer("logits").set_weights([logits, np.zeros(3, np.float32)])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    heat = grad_cam(model, pixels, np.array([2, 2, 0]))
    assert heat.shape == (3, 64, 64) and heat.dtype == np.float32
    maps = model.get_layer("backbone")(model.get_layer("scale")(pixels.astype(np.float32)), training=False).numpy()
    for one in range(2):
        channel = maps[one, :, :, 5]
        assert channel.max() > 0
        # Pillow's bilinear puts a pixel's value at its middle; 16 of the picture's make one of the map's.
        middles = heat[one, 7::16, 7::16] / 2 + heat[one, 8::16, 8::16] / 2
        np.testing.assert_allclose(middles, channel / channel.max(), atol=0.06)
    assert not heat[2].any()  # no evidence for class 0


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["MobileNetV2", "ResNet50", "EfficientNetB0"])
def test_every_kind_of_preprocessing_is_supported(
    name: str, real: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not real:
        request.getfixturevalue("small_networks")
    extractor = backbones.extractor(Backbone(name=name, size=64, weights="none"))
    model = heads.assemble(extractor, heads.build(Head(inner=(4,)), extractor.output.shape[-1], 3, 1), "m")
    loaded = checkpoint.load(checkpoint.save(model, tmp_path / "m.h5", networks.about()))
    heat = grad_cam(loaded, np.full((2, 64, 64, 3), 90, np.uint8), np.array([0, 1]))
    assert heat.shape == (2, 64, 64)
    assert np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1.0001
