"""Tiny random presets of KerasHub; tests/conftest.py leaves this file out where the optional package is missing."""

from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import pytest

from headstand.evaluation.grad_cam import grad_cam
from headstand.export import tflite_conversion
from headstand.features import backbones, compiled
from headstand.features.backbones import BackboneError
from headstand.heads import checkpoint
from headstand.recipe import Backbone
from tests import networks
from tests.keras_files import files

SIZE = 32
VIT = {
    "image_shape": (SIZE, SIZE, 3),
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 12,
    "mlp_dim": 16,
}
EFFICIENTNET = {
    "width_coefficient": 1.0, "depth_coefficient": 1.0, "stackwise_kernel_sizes": [3, 3],
    "stackwise_num_repeats": [1, 1], "stackwise_input_filters": [8, 8], "stackwise_output_filters": [8, 16],
    "stackwise_expansion_ratios": [1, 6], "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
    "stackwise_strides": [1, 2], "stackwise_block_types": ["v1", "v1"], "input_shape": (SIZE, SIZE, 3),
}  # fmt: skip
VGG = {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [4, 8], "image_shape": (SIZE, SIZE, 3)}


@pytest.mark.parametrize(("kind", "arguments"), [("VGGBackbone", VGG), ("EfficientNetBackbone", EFFICIENTNET)])
def test_a_local_preset_is_extracted_saved_loaded_and_converted(
    tmp_path: Path, kind: str, arguments: dict[str, Any]
) -> None:
    network = getattr(keras_hub.models, kind)(**arguments)
    files.stirred(network)
    network.save_to_preset(tmp_path / "preset")
    keras_hub.layers.ImageConverter(scale=1 / 127.5, offset=-1.0).save_to_preset(tmp_path / "preset")
    settings = Backbone(name=f"keras_hub:{tmp_path / 'preset'}", size=SIZE, depths=4)
    extractor = backbones.extractor(settings)
    width = extractor.output.shape[1]
    features = np.asarray(network(files.pixels(3, SIZE) / 127.5 - 1))
    last = features.mean(axis=tuple(range(1, features.ndim - 1)))
    assert width > last.shape[1]  # earlier maps follow
    np.testing.assert_allclose(extractor(files.pixels(3, SIZE))[:, : last.shape[1]], last, rtol=1e-4, atol=1e-4)

    head = networks.heads.build(networks.Head(inner=()), width, 3, 1)
    model = networks.heads.assemble(extractor, head, "shapes")
    path = checkpoint.save(model, tmp_path / "shapes.h5", networks.about())
    loaded = checkpoint.load(path)
    np.testing.assert_allclose(
        compiled(loaded)(files.pixels(3, SIZE).astype(np.uint8)), compiled(model)(files.pixels(3, SIZE)), atol=1e-5
    )
    weights = backbones.extractor(settings.model_copy(update={"weights": str(path)}))
    assert backbones.digest(weights) == backbones.digest(extractor)
    random = backbones.extractor(settings.model_copy(update={"weights": "none"}))
    assert backbones.digest(random) != backbones.digest(extractor)
    assert grad_cam(loaded, files.pixels(3, SIZE).astype(np.uint8), np.zeros(3, int)).shape == (3, SIZE, SIZE)
    assert tflite_conversion.float32(loaded)[4:8] == b"TFL3"


def test_a_network_with_layers_of_its_own_is_refused(tmp_path: Path) -> None:
    keras_hub.models.ViTBackbone(**VIT).save_to_preset(tmp_path)
    with pytest.raises(BackboneError) as caught:
        backbones.extractor(Backbone(name=f"keras_hub:{tmp_path}", size=SIZE))
    message = str(caught.value)
    assert "has layers that only KerasHub defines (" in message and "ViTPatchingAndEmbedding" in message
