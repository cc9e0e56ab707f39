"""The compiled epoch against Keras's own training loop with the same settings, order and initial weights."""

from typing import Any

import numpy as np
import pytest

from headstand import heads
from headstand.heads import fitting, network
from headstand.recipe import Head
from tests.heads.test_head import blobs
from tests.networks import keras

TRAIN, VALIDATION = blobs(17, 1, spread=1), blobs(15, 2, spread=1)
SEED = 3

OPTIMIZERS = {
    "adam": ({}, lambda rate: keras.optimizers.Adam(rate)),
    "adamw": ({}, lambda rate: keras.optimizers.AdamW(rate)),
    "adamw, decay": ({"weight_decay": 0.3}, lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.3)),
    "sgd": ({}, lambda rate: keras.optimizers.SGD(rate)),
    "sgd, decay": ({"weight_decay": 0.2}, lambda rate: keras.optimizers.SGD(rate, weight_decay=0.2)),
    "sgd, momentum": ({"momentum": 0.8}, lambda rate: keras.optimizers.SGD(rate, momentum=0.8)),
    "sgd, Nesterov": (
        {"momentum": 0.8, "nesterov": True},
        lambda rate: keras.optimizers.SGD(rate, momentum=0.8, nesterov=True),
    ),
    "rmsprop": ({}, lambda rate: keras.optimizers.RMSprop(rate)),
    "rmsprop, momentum": ({"momentum": 0.5}, lambda rate: keras.optimizers.RMSprop(rate, momentum=0.5)),
    "adadelta": ({}, lambda rate: keras.optimizers.Adadelta(rate)),
}


def as_keras_does(head: Head, optimizer: keras.optimizers.Optimizer) -> tuple[list[dict[str, float]], list[np.ndarray]]:
    """`model.fit` on the rows in the order that Headstand takes; figures an epoch, and the last weights."""
    model = network.build(head, 4, 3, SEED)
    logits = head.loss_from == "logits"
    trained = keras.Model(model.input, model.get_layer("logits").output) if logits else model
    trained.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=head.label_smoothing),
        metrics=["accuracy"],
        # Compiled, Keras takes the logits from behind the softmax even where it is told not to; and it takes long.
        run_eagerly=True,
    )
    weights = heads.class_weights(TRAIN.labels, 3, head.class_weights)[TRAIN.labels]
    one_hot = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(SEED)
    history: list[dict[str, float]] = []
    bounds = fitting.batch_bounds(len(TRAIN.labels), head.batch_size)
    for _ in range(head.epochs):
        rates = fitting.learning_rates(head, len(bounds) - 1, history)
        order = rng.permutation(len(TRAIN.labels))
        for step, rate in enumerate(rates):
            optimizer.learning_rate.assign(rate)
            rows = order[bounds[step] : bounds[step + 1]]
            trained.train_on_batch(TRAIN.features[rows], one_hot[TRAIN.labels[rows]], sample_weight=weights[rows])
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                sums = keras.Model(model.input, layer.input)(TRAIN.features).numpy()
                layer.moving_mean.assign(sums.mean(axis=0))
                layer.moving_variance.assign(sums.var(axis=0))
        answers = model(VALIDATION.features, training=False).numpy()
        right = answers[np.arange(len(answers)), VALIDATION.labels]
        history.append(
            {
                "val_loss": float(-np.log(right).mean()),
                "val_accuracy": float((answers.argmax(1) == VALIDATION.labels).mean()),
            }
        )
    return history, model.get_weights()


def check(head: Head, optimizer: keras.optimizers.Optimizer) -> float:
    """Compares a head with the same one trained by Keras, and returns its last validation loss."""
    history, weights = as_keras_does(head, optimizer)
    # The last epoch's weights are those of a fit in which no other epoch is better.
    fit = heads.fit(head, TRAIN, VALIDATION, 3, SEED)
    for mine, keras_ in zip(fit.history, history, strict=True):
        assert mine["val_loss"] == pytest.approx(keras_["val_loss"], rel=2e-4)
        assert mine["val_accuracy"] == pytest.approx(keras_["val_accuracy"], abs=1e-6)
    if fit.best_epoch == head.epochs:
        for one, other in zip(fit.model.get_weights(), weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)
    return fit.history[-1]["val_loss"]


def test_optimizers_equal_those_of_keras() -> None:
    losses = set()
    for name, (settings, optimizer) in OPTIMIZERS.items():
        rate = 1.0 if name == "adadelta" else 0.02
        head = Head(inner=(6,), optimizer=name.split(",")[0], learning_rate=rate, epochs=2, batch_size=7, **settings)
        losses.add(round(check(head, optimizer(rate)), 5))
    # They differ: otherwise one might be held against another.
    assert len(losses) == len(OPTIMIZERS)


@pytest.mark.parametrize(
    "settings",
    [
        {"label_smoothing": 0.2},
        {"class_weights": False},
        {"loss_from": "probabilities"},
        {"loss_from": "probabilities", "label_smoothing": 0.1},
        {"schedule": "cosine"},
        {"schedule": "plateau", "epochs": 8, "batch_size": 17},
        {"batch_norm": True},
        {"batch_norm": True, "inner": (6, 5), "optimizer": "adamw", "weight_decay": 0.1},
        {"inner": ()},
        {"inner": (7, 6, 5), "activation": ("selu", "gelu", "tanh")},
        {"inner": (7, 6, 5, 4), "activation": ("leaky_relu", "elu", "swish", "sigmoid")},
    ],
    ids=str,
)
def test_setting_equals_the_keras_setting(settings: dict[str, Any]) -> None:
    head = Head(**{"inner": (6,), "learning_rate": 0.02, "epochs": 2, "batch_size": 6, **settings})
    if head.optimizer == "adamw":
        check(head, keras.optimizers.AdamW(0.02, weight_decay=0.1))
    else:
        check(head, keras.optimizers.Adam(0.02))
