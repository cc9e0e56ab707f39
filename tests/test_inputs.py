import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from headstand import inputs
from headstand.inputs import PhotoInput
from headstand.poses.heatmap_input import HeatmapInput
from headstand.preparation import prepare
from headstand.recipe import Backbone, Source


@pytest.mark.parametrize("kind", get_args(Source.model_fields["kind"].annotation))
def test_every_source_of_a_recipe_has_a_module_that_lists_it(kind):
    assert callable(prepare._module(kind).listing)


@pytest.mark.parametrize("name", HeatmapInput.backbones)
def test_backbones_for_heatmaps_take_their_one_size_and_no_weights(name):
    backbone = Backbone(name=name)
    assert (backbone.input, backbone.size, backbone.weights) == (HeatmapInput(), 64, "none")
    assert backbone.input.network(name).input.shape == (None, *HeatmapInput.shape)


def test_an_input_is_found_by_name_shape_backbone_and_file():
    for kind in (inputs.named("heatmaps", 1), inputs.of((17, 64, 48)), inputs.of_backbone("keypoints", 1)):
        assert kind == inputs.of_file("train/sit/1.npy") == HeatmapInput()
    assert inputs.named("photos", 96) == PhotoInput(96)
    assert inputs.of((96, 96, 3)) == inputs.of_backbone("Xception", 96) == PhotoInput(96, large=True)
    assert inputs.of_file("train/sit/1.jpg", 96) == PhotoInput(96, large=True)
    with pytest.raises(ValueError, match="unknown kind of input: 'sounds'"):
        inputs.named("sounds", 1)


@pytest.mark.parametrize("kind", [PhotoInput(32), HeatmapInput()])
def test_every_kind_decodes_its_examples_to_its_shape_and_draws_them(kind):
    decoded = [kind.decode(data) for data in kind.examples()]
    assert {(one.shape, one.dtype) for one in decoded} == {(kind.shape, np.dtype(kind.dtype))}
    assert kind.mirror(np.stack(decoded)).shape == (len(decoded), *kind.shape)
    picture = kind.picture(decoded[0])
    assert picture.dtype == np.uint8
    assert picture.shape[2:] == (3,)


def test_the_services_import_neither_tensorflow_nor_the_training_code_of_poses():
    code = (
        "import sys, headstand.serve.flask_app, headstand.serve.lambda_handler\n"
        "print(*(name for name in sys.modules if name in ('tensorflow', 'keras') or 'headstand.poses.' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["headstand.poses.heatmap_file", "headstand.poses.heatmap_input"]
