"""One training epoch of a head as one TensorFlow graph.

`model.fit` on feature vectors spends nearly all its time on overhead. Here a graph is traced once for each kind of head
(`GraphKey`) and reused for all layer sizes and settings: the weights have no fixed shape, and learning rate, dropout,
label smoothing and batch boundaries are tensors. All trials of a search with the same `GraphKey` share one graph.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from headstand import recipe as recipes
from headstand.heads import network, optimizers

_CLIP = 1e-7
"""Probabilities are clipped to this distance from 0 and 1 before their logarithm is taken, as in Keras."""

ROWS = 2048
"""Rows per forward pass outside training: about 16 MB of features, however large the split is."""


class EpochData(NamedTuple):
    """Features, augmented views, labels and class weights of a split as tensors.

    `features` is `float32 [N, D]`, `views` `float32 [K * N, D]` (the rows of the first view, then of the second ...;
    `[0, D]` if there are none), `labels` `int32 [N]`, `weights` `float32 [classes]`.
    """

    features: Any
    views: Any
    labels: Any
    weights: Any


class HeadState(NamedTuple):
    """The variables of a head in training, without a fixed shape: model weights and optimizer slots.

    `kernels[0]` and `offsets[0]` belong to the first layer. `offsets` are biases. With batch normalization there are
    also `scales` (gamma), `means` and `variances`, and the offsets of the inner layers are beta. `slots` holds the
    optimizer's slot variables for kernels, offsets and scales, in this order.
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
    def saved(self) -> list[Any]:
        """Returns all variables of the model, in the order of `of_model`."""
        return [*self.trained, *self.means, *self.variances]


def of_model(head: keras.Model) -> list[list[Any]]:
    """Returns the variables of a Keras head grouped as in `HeadState`: kernels, offsets, scales, means, variances."""
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


def state(head: keras.Model, slots: int) -> HeadState:
    """Returns the state before training: the model's values, and `slots` zero tensors per trained variable."""
    kernels, offsets, scales, means, variances = (
        [_variable(value.numpy()) for value in values] for values in of_model(head)
    )
    zeros = [[_variable(np.zeros_like(variable)) for _ in range(slots)] for variable in (*kernels, *offsets, *scales)]
    return HeadState(kernels, offsets, scales, means, variances, zeros)


def _variable(value: np.ndarray) -> tf.Variable:
    return tf.Variable(value, shape=tf.TensorShape([None] * value.ndim))


class Values(NamedTuple):
    """Scalar tensors of the seed and of the settings that do not change the training graph."""

    dropout: Any
    smoothing: Any
    momentum: Any
    decay: Any
    seed: Any


@dataclass(frozen=True)
class GraphKey:
    """The settings of a head that change its training graph."""

    activations: tuple[str, ...]
    batch_norm: bool
    dropout: bool
    from_logits: bool
    optimizer: str
    nesterov: bool
    decay: bool
    views: bool


def graph_key(head: recipes.Head, views: bool) -> GraphKey:
    """Returns the `GraphKey` of training graph that a head needs; `views` is whether there are augmented views."""
    return GraphKey(
        network.activations(head),
        head.batch_norm,
        head.dropout > 0,
        head.loss_from == "logits",
        head.optimizer,
        head.nesterov,
        optimizers.decay(head) > 0,
        views,
    )


def _of_any_size(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function compiled to one graph for tensors of any size.

    A graph for known sizes rounds differently, and `tf.function` alone would choose between the two by what was called
    before: a resumed search would then end differently from an uninterrupted one.
    """
    graph = tf.function(function, autograph=False)  # tracing is faster without AutoGraph
    traced = False

    @functools.wraps(graph, updated=())
    def call(*arguments: Any) -> Any:
        nonlocal traced
        if not traced:
            graph.get_concrete_function(*tf.nest.map_structure(_unsized, arguments))
            traced = True
        return graph(*arguments)

    return call


def _unsized(value: Any) -> Any:
    return value if isinstance(value, tf.Variable) else tf.TensorSpec([None] * value.shape.rank, value.dtype)


@functools.cache
def training(graph_key: GraphKey) -> Callable[..., tuple[Any, Any, Any]]:
    """Returns a compiled function that runs one epoch of gradient steps for one kind of head.

    Returns:
        A function of `HeadState`, `EpochData`, `Values`, the order of the rows (`int32 [N]`), the view of each row
        (`int32 [N]`, 0 for the original), the batch boundaries (`int32 [steps + 1]`, see `headstand.heads.batches`),
        the learning rate of each step (`float32 [steps]`) and the number of steps before this epoch. It updates the
        state and returns the sum of the losses, the number of correct predictions, and the largest global gradient norm
        of a step. It does not update the moving statistics of batch normalization: see `statistics`.
    """
    update = optimizers.update(graph_key.optimizer, graph_key.nesterov)

    def step(state: HeadState, data: EpochData, values: Values, rows: Any, views: Any, rate: Any, number: Any) -> Any:
        target = tf.gather(data.labels, rows)
        x = _rows(data, rows, views) if graph_key.views else tf.gather(data.features, rows)
        trained = state.trained
        with tf.GradientTape() as tape:
            logits = _training_logits(graph_key, state, x, values, number)
            each = _loss(graph_key, logits, target, values.smoothing)
            loss = tf.reduce_mean(each * tf.gather(data.weights, target))
        gradients = tape.gradient(loss, trained)
        if graph_key.decay:
            for variable in trained:
                variable.assign_sub(variable * (rate * values.decay))
        for index, (variable, gradient) in enumerate(zip(trained, gradients, strict=True)):
            update(variable, state.slots[index], gradient, rate, values.momentum, number + 1)
        correct = tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == target, tf.float32))
        return loss * tf.cast(tf.size(rows), tf.float32), correct, tf.linalg.global_norm(gradients)

    @_of_any_size
    def epoch(
        state: HeadState, data: EpochData, values: Values, order: Any, views: Any, bounds: Any, rates: Any, before: Any
    ) -> tuple[Any, Any, Any]:
        def body(index: Any, loss: Any, correct: Any, norm: Any) -> tuple[Any, ...]:
            rows = order[bounds[index] : bounds[index + 1]]
            more = step(state, data, values, rows, views, rates[index], before + index)
            return index + 1, loss + more[0], correct + more[1], tf.maximum(norm, more[2])

        steps = tf.size(rates)
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), tf.constant(0.0))
        # Steps are sequential: each starts from the weights of the previous one.
        _, loss, correct, norm = tf.while_loop(lambda index, *_: index < steps, body, start, parallel_iterations=1)
        return loss, correct, norm

    return epoch


@functools.cache
def statistics(activations: tuple[str, ...]) -> Callable[[HeadState, EpochData], None]:
    """Returns a compiled function that sets batch normalization to the mean and variance of all rows of a split.

    It proceeds layer by layer. A moving average over batches is biased: on a small split it still contains its initial
    values, and the variance of B rows is (B - 1) / B of the true one on average. The exact statistics depend neither on
    the batch size nor on the number of steps ("precise BN", Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm"). They
    cost one forward pass per epoch.
    """

    @_of_any_size
    def measure(state: HeadState, data: EpochData) -> None:
        for layer in range(len(activations)):
            zeros = tf.zeros_like(state.means[layer])

            def body(start: Any, mean: Any, squares: Any, layer: int = layer) -> tuple[Any, ...]:
                x = data.features[start : start + ROWS]
                x = tf.matmul(_inner(activations[:layer], True, state, x), state.kernels[layer])
                more, variance = tf.nn.moments(x, [0])
                before, rows = tf.cast(start, tf.float32), tf.cast(tf.shape(x)[0], tf.float32)
                share, shift = rows / (before + rows), more - mean
                # Chan et al. 1979: the sum of squared deviations of two groups from their common mean.
                return start + ROWS, mean + shift * share, squares + rows * variance + shift * shift * before * share

            mean, squares = _over_rows(data, body, (zeros, zeros))
            state.means[layer].assign(mean)
            state.variances[layer].assign(squares / tf.cast(tf.size(data.labels), tf.float32))

    return measure


@functools.cache
def validation(activations: tuple[str, ...], batch_norm: bool) -> Callable[[HeadState, EpochData], tuple[Any, Any]]:
    """Returns a compiled function that computes the loss and accuracy of a head on a split.

    The loss is the cross-entropy without class weights and label smoothing, so that all trials are comparable.
    """

    @_of_any_size
    def validate(state: HeadState, data: EpochData) -> tuple[Any, Any]:
        def body(start: Any, loss: Any, correct: Any) -> tuple[Any, ...]:
            labels = data.labels[start : start + ROWS]
            logits = _last(state, _inner(activations, batch_norm, state, data.features[start : start + ROWS]))
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            hits = tf.cast(tf.argmax(logits, 1, tf.int32) == labels, tf.float32)
            return start + ROWS, loss + tf.reduce_sum(each), correct + tf.reduce_sum(hits)

        loss, correct = _over_rows(data, body, (tf.constant(0.0), tf.constant(0.0)))
        count = tf.cast(tf.size(data.labels), tf.float32)
        return loss / count, correct / count

    return validate


def _over_rows(data: EpochData, body: Callable[..., tuple[Any, ...]], start: tuple[Any, ...]) -> list[Any]:
    """Runs `body` for every `ROWS` rows; it takes and returns the first row's index and the accumulated values."""
    _, *values = tf.while_loop(
        lambda row, *_: row < tf.size(data.labels), body, (tf.constant(0), *start), parallel_iterations=1
    )
    return values


def _rows(data: EpochData, rows: Any, views: Any) -> Any:
    """Returns the features `float32 [B, D]` of each row in the view that was drawn for it."""
    drawn = tf.gather(views, rows)
    index = tf.maximum(drawn - 1, 0) * tf.size(data.labels) + rows
    return tf.where(drawn[:, None] == 0, tf.gather(data.features, rows), tf.gather(data.views, index))


def _training_logits(graph_key: GraphKey, state: HeadState, x: Any, values: Values, number: Any) -> Any:
    """Returns the logits in training mode: with dropout, and with batch normalization by the batch's statistics."""
    for layer, activation in enumerate(graph_key.activations):
        x = tf.matmul(x, state.kernels[layer])
        if graph_key.batch_norm:
            x = _normalised(state, layer, x, *tf.nn.moments(x, [0]))
        else:
            x = tf.nn.bias_add(x, state.offsets[layer])
        x = keras.activations.get(activation)(x)
    if graph_key.dropout:
        # Stateless: depends on seed and step only, and not on heads that train in parallel.
        chance = tf.random.stateless_uniform(tf.shape(x), tf.stack([values.seed, number]))
        x = tf.where(chance >= values.dropout, x / (1 - values.dropout), 0.0)
    return _last(state, x)


def _inner(activations: tuple[str, ...], batch_norm: bool, state: HeadState, x: Any) -> Any:
    """Returns the output of the inner layers in inference mode; there is one layer for each of `activations`."""
    for layer, activation in enumerate(activations):
        x = tf.matmul(x, state.kernels[layer])
        if batch_norm:
            x = _normalised(state, layer, x, state.means[layer], state.variances[layer])
        else:
            x = tf.nn.bias_add(x, state.offsets[layer])
        x = keras.activations.get(activation)(x)
    return x


def _normalised(state: HeadState, layer: int, x: Any, mean: Any, variance: Any) -> Any:
    return tf.nn.batch_normalization(x, mean, variance, state.offsets[layer], state.scales[layer], network.EPSILON)


def _last(state: HeadState, x: Any) -> Any:
    return tf.nn.bias_add(tf.matmul(x, state.kernels[-1]), state.offsets[-1])


def _loss(graph_key: GraphKey, logits: Any, target: Any, smoothing: Any) -> Any:
    """Returns the cross-entropy of each row, `float32 [B]`, with label smoothing (Szegedy et al. 2016)."""
    classes = tf.shape(logits)[1]
    wanted = tf.one_hot(target, classes) * (1 - smoothing) + smoothing / tf.cast(classes, tf.float32)
    if graph_key.from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(wanted, logits)
    # The formula of keras.losses for probabilities. In a graph, keras.losses would find the softmax and use its logits.
    probabilities = tf.clip_by_value(tf.nn.softmax(logits), _CLIP, 1 - _CLIP)
    return -tf.reduce_sum(wanted * tf.math.log(probabilities), axis=1)
