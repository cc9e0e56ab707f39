import numpy as np
import pytest

from headstand.heads import fitting
from headstand.recipe import Head
from tests.networks import keras


def epochs(count: int) -> list[dict[str, float]]:
    return [{"val_loss": 1.0 / number} for number in range(1, count + 1)]


def test_constant_schedule() -> None:
    rates = fitting.learning_rates(Head(learning_rate=0.3), 4, epochs(7))
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, [0.3] * 4)


def test_cosine_is_keras_cosine_step_by_step() -> None:
    head = Head(learning_rate=0.2, schedule="cosine", epochs=3)
    rates = np.concatenate([fitting.learning_rates(head, 5, epochs(done)) for done in range(3)])
    decay = keras.optimizers.schedules.CosineDecay(0.2, decay_steps=15)
    np.testing.assert_allclose(rates, [float(decay(step)) for step in range(15)], rtol=1e-5)
    assert rates[0] == np.float32(0.2)
    assert rates[-1] < 0.2 * 0.02


LOSSES = [1.0, 0.8, 0.9, 0.8, 0.7, 0.9, 0.7, 0.71, 0.72, 0.1, 0.2, 0.1]


def test_plateau_is_keras_plateau() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5))
    callback = keras.callbacks.ReduceLROnPlateau(factor=fitting.FACTOR, patience=fitting.WAIT, min_delta=0)
    callback.set_model(model)
    callback.on_train_begin()
    head = Head(learning_rate=0.5, schedule="plateau")
    for epoch in range(len(LOSSES) + 1):
        given = fitting.learning_rates(head, 2, [{"val_loss": loss} for loss in LOSSES[:epoch]])
        assert given == pytest.approx([float(model.optimizer.learning_rate.numpy())] * 2)
        if epoch < len(LOSSES):
            callback.on_epoch_end(epoch, {"val_loss": LOSSES[epoch]})
    assert given == pytest.approx([0.5 / 16] * 2)


def test_non_finite_loss_does_not_reset_the_plateau() -> None:
    head = Head(learning_rate=1.0, schedule="plateau")
    assert fitting.learning_rates(head, 1, [{"val_loss": float("nan")}] * 4).tolist() == [0.25]
