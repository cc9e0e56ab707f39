"""One epoch as one graph.

`model.fit` on vectors is nearly all overhead. Here a graph is traced once for each kind of head and works for all
sizes and values: the weights have no fixed shape, and rates, dropout, smoothing and batch size are tensors. So the
trials of a search share it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from headstand import recipe as recipes
from headstand.learn.head import network, optimizers

_CLIP = 1e-7
"""Probabilities are kept so far from 0 and 1 before their logarithm is taken, as Keras does."""


class Data(NamedTuple):
    """A split as tensors.

    `features` is `float32 [N, D]`, `views` `float32 [K * N, D]` (the rows of the first view, then of the second ...;
    `[0, D]` for none), `labels` `int32 [N]`, `weights` `float32 [classes]`.
    """

    features: Any
    views: Any
    labels: Any
    weights: Any


class State(NamedTuple):
    """What training changes, as variables without a fixed shape: `kernels[0]` and `offsets[0]` are the first layer's.

    `offsets` are biases; `scales`, `means` and `variances` are there with batch normalization only, where the inner
    layers' offsets are its beta. `slots` holds the optimizer's values for kernels, offsets and scales, in this order.
    """

    kernels: list[Any]
    offsets: list[Any]
    scales: list[Any]
    means: list[Any]
    variances: list[Any]
    slots: list[list[Any]]

    @property
    def trained(self) -> list[Any]:
        return [*self.kernels, *self.offsets, *self.scales]

    @property
    def kept(self) -> list[Any]:
        """What the model keeps, in the order of `of_model`."""
        return [*self.trained, *self.means, *self.variances]


def of_model(head: keras.Model) -> list[list[Any]]:
    """The model's own variables: kernels, offsets, scales, means and variances, as `State` has them."""
    logits = head.get_layer("logits")
    inner = [layer for layer in head.layers if layer.name.startswith("inner_")]
    norms = [layer for layer in head.layers if layer.name.startswith("norm_")]
    return [
        [layer.kernel for layer in (*inner, logits)],
        [*((layer.beta for layer in norms) if norms else (layer.bias for layer in inner)), logits.bias],
        [layer.gamma for layer in norms],
        [layer.moving_mean for layer in norms],
        [layer.moving_variance for layer in norms],
    ]


def state(head: keras.Model, slots: int) -> State:
    """The state to begin with: the model's values, and `slots` zeros for each of its weights."""
    kernels, offsets, scales, means, variances = (
        [_variable(value.numpy()) for value in values] for values in of_model(head)
    )
    zeros = [[_variable(np.zeros_like(variable)) for _ in range(slots)] for variable in (*kernels, *offsets, *scales)]
    return State(kernels, offsets, scales, means, variances, zeros)


def _variable(value: np.ndarray) -> tf.Variable:
    return tf.Variable(value, shape=tf.TensorShape([None] * value.ndim))


class Values(NamedTuple):
    """The settings that do not change the graph, and the seed, as scalar tensors."""

    batch_size: Any
    dropout: Any
    smoothing: Any
    momentum: Any
    decay: Any
    seed: Any


@dataclass(frozen=True)
class Kind:
    """The settings that change the graph."""

    activations: tuple[str, ...]
    batch_norm: bool
    dropout: bool
    from_logits: bool
    optimizer: str
    nesterov: bool
    decay: bool
    views: bool


def kind(head: recipes.Head, views: bool) -> Kind:
    """The kind of graph that a head needs."""
    return Kind(
        network.activations(head),
        head.batch_norm,
        head.dropout > 0,
        head.loss_from == "logits",
        head.optimizer,
        head.nesterov,
        optimizers.decay(head) > 0,
        views,
    )


@functools.cache
def training(kind: Kind) -> Callable[..., tuple[Any, Any, Any]]:
    """An epoch of training.

    Returns:
        A function of `State`, `Data`, `Values`, the order of the rows (`int32 [N]`), the view of each row (`int32 [N]`,
        0 for the original), the rates of the steps (`float32 [steps]`) and the number of steps before; it gives the sum
        of the losses, the number of right answers, and the largest norm of a step's gradient.
    """
    update = optimizers.update(kind.optimizer, kind.nesterov)

    def step(state: State, data: Data, values: Values, rows: Any, views: Any, rate: Any, number: Any) -> Any:
        target = tf.gather(data.labels, rows)
        x = _rows(data, rows, views) if kind.views else tf.gather(data.features, rows)
        trained = state.trained
        with tf.GradientTape() as tape:
            logits, moments = _training_logits(kind, state, x, values, number)
            each = _loss(kind, logits, target, values.smoothing)
            loss = tf.reduce_mean(each * tf.gather(data.weights, target))
        gradients = tape.gradient(loss, trained)
        if kind.decay:
            for variable in trained:
                variable.assign_sub(variable * (rate * values.decay))
        for place, (variable, gradient) in enumerate(zip(trained, gradients, strict=True)):
            update(variable, state.slots[place], gradient, rate, values.momentum, number + 1)
        for variable, moment in zip([*state.means, *state.variances], moments, strict=True):
            variable.assign_sub((1 - network.MOMENTUM) * (variable - moment))
        right = tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == target, tf.float32))
        return loss * tf.cast(tf.size(rows), tf.float32), right, tf.linalg.global_norm(gradients)

    # AutoGraph would only make the tracing slower; another split's size is another shape, but no other graph.
    @tf.function(autograph=False, reduce_retracing=True)
    def epoch(
        state: State, data: Data, values: Values, order: Any, views: Any, rates: Any, before: Any
    ) -> tuple[Any, Any, Any]:
        def body(place: Any, loss: Any, right: Any, norm: Any) -> tuple[Any, ...]:
            rows = order[place * values.batch_size : (place + 1) * values.batch_size]
            more = step(state, data, values, rows, views, rates[place], before + place)
            return place + 1, loss + more[0], right + more[1], tf.maximum(norm, more[2])

        steps = tf.size(rates)
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), tf.constant(0.0))
        # One step after the other: each begins with the weights that the last one left.
        _, loss, right, norm = tf.while_loop(lambda place, *_: place < steps, body, start, parallel_iterations=1)
        return loss, right, norm

    return epoch


@functools.cache
def validation(activations: tuple[str, ...], batch_norm: bool) -> Callable[[State, Data], tuple[Any, Any]]:
    """Loss (cross-entropy, without weights and smoothing, so that all trials compare) and accuracy of a split."""

    @tf.function(autograph=False, reduce_retracing=True)
    def validate(state: State, data: Data) -> tuple[Any, Any]:
        logits = _logits(activations, batch_norm, state, data.features)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(data.labels, logits)
        right = tf.cast(tf.argmax(logits, 1, tf.int32) == data.labels, tf.float32)
        return tf.reduce_mean(each), tf.reduce_mean(right)

    return validate


def _rows(data: Data, rows: Any, views: Any) -> Any:
    """Each row's features in the view that was drawn for it."""
    drawn = tf.gather(views, rows)
    place = tf.maximum(drawn - 1, 0) * tf.size(data.labels) + rows
    return tf.where(drawn[:, None] == 0, tf.gather(data.features, rows), tf.gather(data.views, place))


def _training_logits(kind: Kind, state: State, x: Any, values: Values, number: Any) -> tuple[Any, list[Any]]:
    """Logits with dropout, and the batch's means and then variances where it normalises."""
    means, variances = [], []
    for place, activation in enumerate(kind.activations):
        x = tf.matmul(x, state.kernels[place])
        if kind.batch_norm:
            mean, variance = tf.nn.moments(x, [0])
            means.append(mean)
            variances.append(variance)
            x = _normalised(state, place, x, mean, variance)
        else:
            x = tf.nn.bias_add(x, state.offsets[place])
        x = keras.activations.get(activation)(x)
    if kind.dropout:
        # By seed and step alone, so that it does not matter what else is trained beside.
        chance = tf.random.stateless_uniform(tf.shape(x), tf.stack([values.seed, number]))
        x = tf.where(chance >= values.dropout, x / (1 - values.dropout), 0.0)
    return _last(state, x), [*means, *variances]


def _logits(activations: tuple[str, ...], batch_norm: bool, state: State, x: Any) -> Any:
    """Logits as the saved model has them."""
    for place, activation in enumerate(activations):
        x = tf.matmul(x, state.kernels[place])
        if batch_norm:
            x = _normalised(state, place, x, state.means[place], state.variances[place])
        else:
            x = tf.nn.bias_add(x, state.offsets[place])
        x = keras.activations.get(activation)(x)
    return _last(state, x)


def _normalised(state: State, place: int, x: Any, mean: Any, variance: Any) -> Any:
    return tf.nn.batch_normalization(x, mean, variance, state.offsets[place], state.scales[place], network.EPSILON)


def _last(state: State, x: Any) -> Any:
    return tf.nn.bias_add(tf.matmul(x, state.kernels[-1]), state.offsets[-1])


def _loss(kind: Kind, logits: Any, target: Any, smoothing: Any) -> Any:
    """Cross-entropy of each row, `float32 [B]`, with smoothed labels (Szegedy et al. 2016)."""
    classes = tf.shape(logits)[1]
    wanted = tf.one_hot(target, classes) * (1 - smoothing) + smoothing / tf.cast(classes, tf.float32)
    if kind.from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    # As keras.losses has it for probabilities. Compiled, Keras would look behind the softmax and take the logits.
    probabilities = tf.clip_by_value(tf.nn.softmax(logits), _CLIP, 1 - _CLIP)
    return -tf.reduce_sum(wanted * tf.math.log(probabilities), axis=1)
