"""The part that is trained: a few layers on cached features, one compiled call an epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from headstand import recipe as recipes

KEYS = ("learning_rate", "inner", "dropout", "activation", "epochs", "batch_size")
"""A head's values that trials are told apart by."""


@dataclass(frozen=True)
class Split:
    """Features `float32 [N, D]` and class indices `int32 [N]` of one split."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Fit:
    """What training gave: figures an epoch, the best epoch (from 1), and the head as it was then.

    `history` holds for every epoch `loss`, `accuracy`, `val_loss`, `val_accuracy`; the best epoch has the highest
    validation accuracy, the lower validation loss among equals.
    """

    history: list[dict[str, float]]
    best_epoch: int
    model: keras.Model

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


def build(head: recipes.Head, width: int, classes: int, seed: int) -> keras.Model:
    """The head: features `float32 [N, width]` to probabilities `float32 [N, classes]`, freshly initialised by seed."""
    keras.utils.set_random_seed(seed)
    features = keras.Input((width,), name="features")
    x = features
    for place, size in enumerate(head.inner, start=1):
        x = keras.layers.Dense(size, activation=head.activation, name=f"inner_{place}")(x)
    if head.dropout:
        x = keras.layers.Dropout(head.dropout, seed=seed, name="dropout")(x)
    logits = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(features, keras.layers.Softmax(name="probabilities")(logits), name="head")


def class_weights(labels: np.ndarray, classes: int, balanced: bool = True) -> np.ndarray:
    """A weight for each class, `float32 [classes]`: N / (classes x count), so that every class counts the same.

    The formula is scikit-learn's `class_weight="balanced"` (King & Zeng 2001). All ones where not `balanced`.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * np.maximum(counts, 1)) if balanced else np.ones(classes)
    return weights.astype(np.float32)


def fit(
    head: recipes.Head,
    train: Split,
    validation: Split,
    classes: int,
    seed: int,
    after_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> Fit:
    """Train a head with Adam (Kingma & Ba 2015) on shuffled batches.

    `model.fit` on vectors is nearly all overhead; one epoch as one graph is several times faster.

    Args:
        head: sizes, rates and epochs.
        train: what is learnt from.
        validation: what chooses the epoch.
        classes: number of classes.
        seed: of initial weights, dropout and order.
        after_epoch: called with the epoch (from 1) and its figures.
    """
    model = build(head, train.features.shape[1], classes, seed)
    to_logits = keras.Model(model.input, model.get_layer("logits").output)
    optimizer = keras.optimizers.Adam(head.learning_rate)
    optimizer.build(model.trainable_variables)
    features, labels = tf.constant(train.features), tf.constant(train.labels, tf.int32)
    weights = tf.gather(tf.constant(class_weights(train.labels, classes, head.class_weights)), labels)
    steps = -(-len(train.labels) // head.batch_size)

    @tf.function
    def epoch(order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss_sum, right = tf.constant(0.0), tf.constant(0.0)
        for step in tf.range(steps):
            rows = order[step * head.batch_size : (step + 1) * head.batch_size]
            target = tf.gather(labels, rows)
            with tf.GradientTape() as tape:
                logits = to_logits(tf.gather(features, rows), training=True)
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
                loss = tf.reduce_mean(each * tf.gather(weights, rows))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            loss_sum += loss * tf.cast(tf.size(rows), tf.float32)
            right += tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == target, tf.float32))
        return loss_sum, right

    @tf.function
    def validate() -> tuple[tf.Tensor, tf.Tensor]:
        logits = to_logits(tf.constant(validation.features), training=False)
        target = tf.constant(validation.labels, tf.int32)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
        return tf.reduce_mean(each), tf.reduce_mean(tf.cast(tf.argmax(logits, 1, tf.int32) == target, tf.float32))

    rng = np.random.default_rng(seed)
    history: list[dict[str, float]] = []
    best_epoch, best_weights = 0, model.get_weights()
    for number in range(1, head.epochs + 1):
        loss, right = epoch(tf.constant(rng.permutation(len(train.labels)).astype(np.int32)))
        val_loss, val_accuracy = validate()
        figures = {
            "loss": float(loss) / len(train.labels),
            "accuracy": float(right) / len(train.labels),
            "val_loss": float(val_loss),
            "val_accuracy": float(val_accuracy),
        }
        history.append(figures)
        if not best_epoch or rank(figures) > rank(history[best_epoch - 1]):
            best_epoch, best_weights = number, model.get_weights()
        if after_epoch:
            after_epoch(number, figures)
    model.set_weights(best_weights)
    return Fit(history, best_epoch, model)


def fit_many(heads: Sequence[recipes.Head], train: Split, validation: Split, classes: int, seed: int) -> list[Fit]:
    """Train several heads; the results are those of `fit` one by one."""
    return [fit(head, train, validation, classes, seed) for head in heads]


def rank(figures: dict[str, float]) -> tuple[bool, float, float]:
    """Higher is better: validation accuracy, the lower loss among equals; a loss that is no number ranks last.

    Where the loss is no number all answers are the first class, whose share may well look like an accuracy.
    """
    accuracy, loss = figures["val_accuracy"], figures["val_loss"]
    return (True, accuracy, -loss) if np.isfinite(loss) else (False, accuracy, 0.0)


def assemble(extractor: keras.Model, head: keras.Model, name: str) -> keras.Model:
    """Backbone and head as one model: `float32 [N, size, size, 3]` in 0..255 to probabilities `[N, classes]`."""
    x = extractor.output
    for layer in head.layers[1:]:
        x = layer(x)
    return keras.Model(extractor.input, x, name=name)


def words(head: recipes.Head) -> str:
    """A head in a line."""
    return " ".join(f"{key}={shown(head, key)}" for key in KEYS)


def shown(head: recipes.Head, key: str) -> str:
    """One of a head's values as people write it."""
    value = getattr(head, key)
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
