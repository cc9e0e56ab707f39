import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.finetune import freezing
from headstand.finetune.freezing import FreezingError
from tests.networks import keras

layers = keras.layers


def network(names: tuple[str, ...] = ("block_1", "block_2", "block_3")) -> keras.Model:
    """A stem, a residual block for each name, a convolution after them."""
    pixels = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(pixels)
    for name in names:
        y = layers.Conv2D(4, 3, padding="same", name=f"{name}_conv")(x)
        y = layers.BatchNormalization(name=f"{name}_bn")(y)
        x = layers.Add(name=f"{name}_add")([x, layers.ReLU(name=f"{name}_relu")(y)])
    x = layers.Conv2D(6, 1, name="top_conv")(x)
    return keras.Model(pixels, x, name="backbone")


def whole(backbone: keras.Model) -> keras.Model:
    pixels = keras.Input((8, 8, 3))
    x = backbone(layers.Rescaling(1 / 255, name="scale")(pixels))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, layers.Dense(3, activation="softmax", name="logits")(x))


def names(found: tuple[keras.layers.Layer, ...]) -> list[str]:
    return [layer.name for layer in found]


@pytest.mark.parametrize(
    ("unfreeze", "last"),
    [("1 block", "block_2_add"), ("3 blocks", "stem"), ("1 layer", "block_3_add"), ("4 layers", "block_3_conv")],
)
def test_last_layers_or_blocks_are_trained(unfreeze: str, last: str) -> None:
    model = network()
    still = freezing.frozen(model, unfreeze)
    assert names(still)[-1] == last
    assert names(still) == [layer.name for layer in model.layers][: len(still)]


def test_all_freezes_nothing() -> None:
    model = whole(network())
    assert freezing.frozen(model.get_layer("backbone"), "all") == ()
    parts = freezing.split(model, "all")
    assert (parts.prefix, parts.rest) == (None, model)


@pytest.mark.parametrize(
    ("unfreeze", "message"),
    [
        ("4 blocks", "finetune.unfreeze = '4 blocks': the backbone has 3 blocks; use fewer, or 'all'"),
        ("99 layers", "finetune.unfreeze = '99 layers': the backbone has 15 layers; use fewer, or 'all'"),
    ],
)
def test_too_many_layers_are_reported(unfreeze: str, message: str) -> None:
    with pytest.raises(FreezingError) as caught:
        freezing.frozen(network(), unfreeze)
    assert str(caught.value) == message


def test_blocks_without_names_end_where_all_paths_merge() -> None:
    model = network(("a", "b", "c"))
    assert list(freezing.blocks(model)) == [model.layers[0].name, "b_conv", "c_conv"]
    assert names(freezing.frozen(model, "1 block"))[-1] == "b_add"
    assert names(freezing.frozen(model, "2 blocks"))[-1] == "a_add"
    assert freezing.frozen(model, "3 blocks") == ()
    assert freezing.split(whole(model), "1 block").layer == "b_add"


def test_network_without_blocks_is_reported() -> None:
    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, layers.Conv2D(2, 1)(layers.Conv2D(2, 1)(pixels)))
    with pytest.raises(FreezingError, match="neither name any nor merge all paths; use 'N layers', of which it has 3"):
        freezing.frozen(model, "1 block")


# The names are keras.applications' own, as its networks have them.
@pytest.mark.parametrize(
    ("given", "block"),
    [
        ("block_13_expand_BN", "block_13"), ("expanded_conv_depthwise", "expanded_conv"),
        ("block14_sepconv2_act", "block14"), ("block5_conv3", "block5"), ("block7a_se_squeeze", "block7a"),
        ("conv5_block3_1_conv", "conv5_block3"), ("conv4_block24_concat", "conv4_block24"),
        ("expanded_conv_10_squeeze_excite_conv", "expanded_conv_10"), ("conv_dw_13_bn", "13"), ("conv_pw_13", "13"),
        ("convnext_tiny_stage_3_block_2_gelu", "convnext_tiny_stage_3_block_2"),
        ("block8_10_mixed", None), ("mixed10", None), ("normal_add_5_12", None), ("conv_1", None), ("Conv_1", None),
        ("conv2d_3", None), ("top_conv", None), ("pool4_conv", None), ("conv_7b", None),
    ],
)  # fmt: skip
def test_the_names_of_blocks(given: str, block: str | None) -> None:
    pixels = keras.Input((4,))
    model = keras.Model(pixels, layers.ReLU(name=given)(pixels))
    assert list(freezing.blocks(model)) == ([block] if block else [])


@pytest.mark.parametrize(
    ("unfreeze", "cut"),
    [
        ("1 block", "block_2_add"),
        # In the middle of a block the shortcut goes past: the cut lies before it.
        ("5 layers", "block_2_add"),
        # BatchNormalization never learns, so that the block before the last convolution is whole.
        ("4 layers", "block_3_add"),
        ("1 layer", "block_3_add"),
    ],
)
def test_parts_equal_the_whole_model(unfreeze: str, cut: str) -> None:
    model = whole(network())
    parts = freezing.split(model, unfreeze)
    assert (parts.layer, model.get_layer("backbone").layers[parts.depth].name) == (cut, cut)
    assert parts.prefix is not None
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(parts.rest(parts.prefix(pixels)), model(pixels), atol=1e-6)
    # The variables are the model's own, each in one of the parts.
    mine = [id(variable) for part in (parts.prefix, parts.rest) for variable in part.variables]
    assert sorted(mine) == sorted(id(variable) for variable in model.variables)


def test_split_model_can_be_saved(workplace: object) -> None:
    model = whole(network())
    freezing.split(model, "1 block")
    model.save("whole.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(keras.models.load_model("whole.keras")(pixels), model(pixels), atol=1e-6)


def test_cut_is_the_output_of_a_fully_frozen_backbone() -> None:
    pixels = keras.Input((8, 8, 3))
    x = layers.ReLU(name="block_2_relu")(layers.Conv2D(4, 3, name="block_1_conv")(pixels))
    model = whole(keras.Model(pixels, x, name="backbone"))
    parts = freezing.split(model, "1 block")
    assert parts.layer == "block_2_relu"
    assert parts.rest.input.shape[1:] == (6, 6, 4)
    given = np.ones((1, 8, 8, 3), np.float32)
    np.testing.assert_allclose(parts.rest(parts.prefix(given)), model(given), atol=1e-6)


def test_no_cut_if_the_first_layer_is_trained() -> None:
    model = whole(network())
    # The input layer alone stays.
    parts = freezing.split(model, f"{len(model.get_layer('backbone').layers) - 1} layers")
    assert (parts.prefix, parts.rest, len(parts.frozen)) == (None, model, 1)


@settings(max_examples=20, deadline=None)
@given(links=st.lists(st.integers(0, 4), min_size=1, max_size=7), count=st.integers(1, 9))
def test_cut_of_any_graph_is_a_tensor_on_all_paths(links: list[int], count: int) -> None:
    """Each convolution adds what one of the layers before it gave; the parts always make the whole."""
    pixels = keras.Input((4, 4, 3))
    tensors = [layers.Conv2D(2, 1)(pixels)]
    for back in links:
        new = layers.Conv2D(2, 1)(tensors[-1])
        tensors.append(layers.Add()([new, tensors[max(0, len(tensors) - 1 - back)]]))
    backbone = keras.Model(pixels, tensors[-1], name="backbone")
    model = keras.Model(pixels, layers.Flatten()(backbone(pixels)))
    if count > len(backbone.layers):
        return
    parts = freezing.split(model, f"{count} layers")
    given = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    got = parts.rest(parts.prefix(given) if parts.prefix else given)
    np.testing.assert_allclose(got, model(given), rtol=1e-5, atol=1e-6)
    learning = {layer.name for layer in backbone.layers[-count:] if layer.weights}
    assert parts.prefix is None or not learning & {layer.name for layer in parts.prefix._flatten_layers()}
