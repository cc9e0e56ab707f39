from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from pydantic import ValidationError

from headstand import finetune, heads
from headstand.export import tflite_conversion
from headstand.features import backbones
from headstand.heads import checkpoint, epoch
from headstand.recipe import Backbone, Finetune, Head
from headstand.recipe.sections import Activation
from tests import networks
from tests.heads.test_head import blobs
from tests.networks import keras

NORMED = Head(inner=(6, 5), batch_norm=True, epochs=5, batch_size=8, learning_rate=0.02)


def test_layers_with_batch_normalization() -> None:
    built = heads.build(NORMED, 4, 3, seed=1)
    assert [layer.name for layer in built.layers[1:]] == [
        "inner_1", "norm_1", "activation_1", "inner_2", "norm_2", "activation_2", "logits", "probabilities",
    ]  # fmt: skip
    assert not built.get_layer("inner_1").use_bias
    assert built.get_layer("activation_2").activation is keras.activations.relu


def test_each_layer_has_its_activation_and_initialisation() -> None:
    built = heads.build(Head(inner=(400, 300), activation=("selu", "tanh")), 500, 3, seed=1)
    names = [built.get_layer(f"inner_{index}").activation.__name__ for index in (1, 2)]
    assert names == ["selu", "tanh"]
    first, second = (built.get_layer(f"inner_{index}").kernel.numpy().std() for index in (1, 2))
    assert first == pytest.approx(np.sqrt(1 / 500), rel=0.05)  # LeCun's: a variance of one over the inputs
    assert second == pytest.approx(np.sqrt(2 / 700), rel=0.05)  # Glorot's


def whole(head: Head, pooling: str = "avg") -> tuple[keras.Model, keras.Model]:
    """A trained head and the model with a backbone before it."""
    rng = np.random.default_rng(0)
    width = networks.WIDTH * (4 if pooling == "none" else 1)
    splits = [
        heads.FeatureSplit(rng.normal(0.5, 1, (count, width)).astype(np.float32), np.arange(count, dtype=np.int32) % 3)
        for count in (40, 15)
    ]
    fit = heads.fit(head, *splits, 3, 1)
    extractor = backbones.extractor(Backbone(name="MobileNet", size=networks.SIZE, weights="none", pooling=pooling))
    return fit.model, heads.assemble(extractor, fit.model, "shapes")


PIXELS = np.random.default_rng(1).integers(0, 256, (4, networks.SIZE, networks.SIZE, 3)).astype(np.float32)


def test_running_statistics_are_trained_and_saved(small_networks: None, tmp_path: Path) -> None:
    top, model = whole(NORMED)
    norm = top.get_layer("norm_1")
    assert abs(norm.moving_mean.numpy()).max() > 0.05
    assert abs(norm.moving_variance.numpy() - 1).max() > 0.05
    path = checkpoint.save(model, tmp_path / "shapes.h5", networks.about())
    np.testing.assert_allclose(checkpoint.load(path)(PIXELS), model(PIXELS), rtol=1e-5, atol=1e-6)


def check_statistics(fit: heads.Fit, features: np.ndarray) -> None:
    """The running statistics are those of all rows, in every layer."""
    for number in (1, 2):
        norm = fit.model.get_layer(f"norm_{number}")
        sums = keras.Model(fit.model.input, norm.input)(features).numpy()
        np.testing.assert_allclose(norm.moving_mean, sums.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(norm.moving_variance, sums.var(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "count",
    [3, 21, 22, *(pytest.param(count, marks=pytest.mark.slow) for count in (19, 20, 23, 39, 40, 41, 42, 59, 61, 81))],
)
def test_running_statistics_are_those_of_all_rows(count: int) -> None:
    """With any number of rows: one or two more than full batches, less than one batch."""
    data = blobs(count, 1, spread=1)
    for batch_size in (2, 3, 20):
        head = NORMED.model_copy(update={"batch_size": batch_size, "epochs": 2})
        check_statistics(heads.fit(head, data, data, 3, 1), data.features)


def test_running_statistics_of_many_rows_are_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch, "ROWS", 7)
    for cached in (epoch.statistics, epoch.validation):
        cached.cache_clear()
    data = blobs(40, 1, spread=1)
    fit = heads.fit(NORMED, data, data, 3, 1)
    for cached in (epoch.statistics, epoch.validation):
        cached.cache_clear()
    check_statistics(fit, data.features)
    answers = fit.model(data.features).numpy()
    assert fit.best["val_accuracy"] == pytest.approx((answers.argmax(axis=1) == data.labels).mean(), abs=1e-6)
    assert fit.best["val_loss"] == pytest.approx(-np.log(answers[np.arange(40), data.labels]).mean(), rel=1e-4)


def test_a_batch_of_one_row_is_not_normalised() -> None:
    with pytest.raises(
        ValidationError, match="batch_size = 1 does not work with batch_norm = true; allowed: 2 or more"
    ):
        Head(batch_norm=True, batch_size=1)


def test_probabilities_in_chunks_equal_one_pass() -> None:
    model = heads.build(NORMED, 4, 3, 1)
    features = np.random.default_rng(0).normal(size=(1500, 4)).astype(np.float32)
    np.testing.assert_allclose(heads.probabilities(model, features), model(features).numpy(), atol=1e-6)


def test_fine_tuning_does_not_change_the_statistics(small_networks: None, eager: None) -> None:
    _, model = whole(NORMED)
    statistics = [np.array(model.get_layer("norm_2").moving_mean), np.array(model.get_layer("norm_2").moving_variance)]
    logits = np.array(model.get_layer("logits").kernel)
    finetune.compile_for(model, Finetune(epochs=1, learning_rate=0.01), 3)
    model.fit(PIXELS, np.eye(3)[[0, 1, 2, 0]], epochs=3, verbose=0)
    after = model.get_layer("norm_2")
    assert np.array_equal(after.moving_mean, statistics[0])
    assert np.array_equal(after.moving_variance, statistics[1])
    assert abs(model.get_layer("logits").kernel.numpy() - logits).max() > 1e-4


def converted(model: keras.Model) -> np.ndarray:
    """The answers of the converted model to `PIXELS`."""
    interpreter = Interpreter(model_content=tflite_conversion.float32(model))
    interpreter.allocate_tensors()
    given = []
    for pixels in PIXELS:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
        interpreter.invoke()
        given.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(given)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.slow
def test_every_activation_converts(small_networks: None, batch_norm: bool) -> None:
    names = Activation.__args__
    _, model = whole(Head(inner=(6,) * len(names), activation=names, batch_norm=batch_norm, epochs=1))
    np.testing.assert_allclose(converted(model), model(PIXELS), atol=1e-5)


@pytest.mark.parametrize("pooling", ["none", "max"])
def test_every_pooling_is_saved_and_converts(small_networks: None, pooling: str, tmp_path: Path) -> None:
    _, model = whole(Head(inner=(), epochs=1), pooling)
    path = checkpoint.save(model, tmp_path / "shapes.h5", networks.about())
    np.testing.assert_allclose(checkpoint.load(path)(PIXELS), model(PIXELS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(converted(model), model(PIXELS), atol=1e-5)
