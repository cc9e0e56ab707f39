"""One training epoch of a head as one TensorFlow graph.

`model.fit` on feature vectors spends nearly all its time on overhead. Here a graph is traced once for each kind of head
(`GraphKey`) and reused for all layer sizes and settings: the weights have no fixed shape, and learning rate, dropout,
label smoothing and batch boundaries are tensors. All trials of a search with the same `GraphKey` share one graph.

TensorFlow's fused kernels update the weights: one pass over the weights instead of ten in `keras.optimizers`. The
results equal those of the Keras optimizers of the same name; a test compares them.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from headstand import recipe as recipes
from headstand.heads import network

_CLIP = 1e-7
"""Probabilities are clipped to this distance from 0 and 1 before their logarithm is taken, as in Keras."""

ROWS = 2048
"""Rows per forward pass outside training: about 16 MB of features, however large the split is."""

# The constants are the defaults of keras.optimizers.
_EPSILON = 1e-7
_BETA_1, _BETA_2 = 0.9, 0.999
_RHO = {"rmsprop": 0.9, "adadelta": 0.95}

ADAMW_DECAY = 0.004
"""Weight decay of AdamW if the recipe sets none."""

SLOTS = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 2, "adadelta": 2}
"""Number of slot variables that an optimizer keeps for each weight."""


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
        """Returns all variables of the model, in the order of `model_variables`."""
        return [*self.trained, *self.means, *self.variances]


def model_variables(head: keras.Model) -> list[list[Any]]:
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
        [_variable(value.numpy()) for value in values] for values in model_variables(head)
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
    """Returns the `GraphKey` of the training graph that a head needs; `views` is whether there are augmented views."""
    return GraphKey(
        network.activations(head),
        head.batch_norm,
        head.dropout > 0,
        head.loss_from == "logits",
        head.optimizer,
        head.nesterov,
        weight_decay(head) > 0,
        views,
    )


def weight_decay(head: recipes.Head) -> float:
    """Returns the head's weight decay; if the recipe sets none, `ADAMW_DECAY` for AdamW and 0 for the others."""
    if head.weight_decay is None:
        return ADAMW_DECAY if head.optimizer == "adamw" else 0.0
    return head.weight_decay


def optimizer_update(name: str, nesterov: bool) -> Callable[..., None]:
    """Returns a function that updates one variable by one optimizer step.

    Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; RMSprop: Tieleman & Hinton 2012; Adadelta: Zeiler 2012;
    SGD with Nesterov momentum: Sutskever et al. 2013. Weight decay is applied separately (see `training`).

    Args:
        name: the optimizer, a key of `SLOTS`.
        nesterov: whether SGD uses Nesterov momentum.

    Returns:
        A function of variable, its slots, gradient, learning rate, momentum and the step's number from 1, as tensors.
    """

    def update(variable: Any, slots: Sequence[Any], gradient: Any, rate: Any, momentum: Any, number: Any) -> None:
        first, *second = (slot.handle for slot in slots)
        common = {"var": variable.handle, "lr": rate, "grad": gradient}
        if name == "sgd":
            tf.raw_ops.ResourceApplyKerasMomentum(accum=first, momentum=momentum, use_nesterov=nesterov, **common)
        elif name == "rmsprop":
            tf.raw_ops.ResourceApplyRMSProp(
                ms=first, mom=second[0], rho=_RHO[name], momentum=momentum, epsilon=_EPSILON, **common
            )
        elif name == "adadelta":
            tf.raw_ops.ResourceApplyAdadelta(
                accum=first, accum_update=second[0], rho=_RHO[name], epsilon=_EPSILON, **common
            )
        else:
            time = tf.cast(number, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                m=first,
                v=second[0],
                beta1_power=tf.pow(_BETA_1, time),
                beta2_power=tf.pow(_BETA_2, time),
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                **common,
            )

    return update


def _of_any_size(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function compiled to one graph for tensors of any size, for each number of tensors and variables.

    Optimizers differ in their number of slots. A graph for known sizes rounds differently, and `tf.function` alone
    would choose between the two by what was called before: a resumed search would then end differently from an
    uninterrupted one.
    """
    graph = tf.function(function, autograph=False)  # tracing is faster without AutoGraph
    traced: set[int] = set()

    @functools.wraps(graph, updated=())
    def call(*arguments: Any) -> Any:
        count = len(tf.nest.flatten(arguments))
        if count not in traced:
            graph.get_concrete_function(*tf.nest.map_structure(_unsized, arguments))
            traced.add(count)
        return graph(*arguments)

    return call


def _unsized(value: Any) -> Any:
    return value if isinstance(value, tf.Variable) else tf.TensorSpec([None] * value.shape.rank, value.dtype)


@functools.cache
def training(graph_key: GraphKey) -> Callable[..., tuple[Any, Any, Any]]:
    """Returns a compiled function that runs one epoch of gradient steps for one kind of head.

    Returns:
        A function of `HeadState`, `EpochData`, `Values`, the order of the rows (`int32 [N]`), the view of each row
        (`int32 [N]`, 0 for the original), the batch boundaries (`int32 [steps + 1]`, see `heads.batch_bounds`), the
        learning rate of each step (`float32 [steps]`) and the number of steps before this epoch. It updates the
        state and returns the sum of the losses, the number of correct predictions, and the largest global gradient norm
        of a step. It does not update the moving statistics of batch normalization: see `statistics`.
    """
    update = optimizer_update(graph_key.optimizer, graph_key.nesterov)

    @_of_any_size
    def epoch(
        state: HeadState, data: EpochData, values: Values, order: Any, views: Any, bounds: Any, rates: Any, before: Any
    ) -> tuple[Any, Any, Any]:
        trained = state.trained

        def step(index: Any, total_loss: Any, total_correct: Any, largest_norm: Any) -> tuple[Any, ...]:
            rows, rate = order[bounds[index] : bounds[index + 1]], rates[index]
            target = tf.gather(data.labels, rows)
            x = _rows(data, rows, views) if graph_key.views else tf.gather(data.features, rows)
            with tf.GradientTape() as tape:
                logits = _training_logits(graph_key, state, x, values, before + index)
                losses = _loss(graph_key, logits, target, values.smoothing)
                loss = tf.reduce_mean(losses * tf.gather(data.weights, target))
            gradients = tape.gradient(loss, trained)
            if graph_key.decay:
                for variable in trained:
                    variable.assign_sub(variable * (rate * values.decay))
            for variable, slots, gradient in zip(trained, state.slots, gradients, strict=True):
                update(variable, slots, gradient, rate, values.momentum, before + index + 1)
            return (
                index + 1,
                total_loss + loss * tf.cast(tf.size(rows), tf.float32),
                total_correct + tf.reduce_sum(tf.cast(tf.argmax(logits, 1, tf.int32) == target, tf.float32)),
                tf.maximum(largest_norm, tf.linalg.global_norm(gradients)),
            )

        steps = tf.size(rates)
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0), tf.constant(0.0))
        # Steps are sequential: each starts from the weights of the previous one.
        _, loss, correct, norm = tf.while_loop(lambda index, *_: index < steps, step, start, parallel_iterations=1)
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
                x = _inner(activations[:layer], True, state, data.features[start : start + ROWS])
                x = tf.matmul(x, state.kernels[layer])
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
    """Returns a compiled function: the loss of a head on a split, and the rows it classifies correctly, `bool [N]`.

    The loss is the cross-entropy without class weights and label smoothing, so that all trials are comparable.
    """

    @_of_any_size
    def validate(state: HeadState, data: EpochData) -> tuple[Any, Any]:
        def body(start: Any, loss: Any, correct: tf.TensorArray) -> tuple[Any, ...]:
            labels = data.labels[start : start + ROWS]
            logits = _last(state, _inner(activations, batch_norm, state, data.features[start : start + ROWS]))
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            hits = tf.argmax(logits, 1, tf.int32) == labels
            return start + ROWS, loss + tf.reduce_sum(each), correct.write(start // ROWS, hits)

        rows = tf.TensorArray(tf.bool, 0, dynamic_size=True, infer_shape=False)
        loss, correct = _over_rows(data, body, (tf.constant(0.0), rows))
        return loss / tf.cast(tf.size(data.labels), tf.float32), correct.concat()

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


def _training_logits(graph_key: GraphKey, state: HeadState, x: Any, values: Values, step: Any) -> Any:
    """Returns the logits in training mode: with dropout, and with batch normalization by the batch's statistics."""
    x = _inner(graph_key.activations, graph_key.batch_norm, state, x, training=True)
    if graph_key.dropout:
        # Stateless: depends on seed and step only, and not on heads that train in parallel.
        uniform = tf.random.stateless_uniform(tf.shape(x), tf.stack([values.seed, step]))
        x = tf.where(uniform >= values.dropout, x / (1 - values.dropout), 0.0)
    return _last(state, x)


def _inner(activations: tuple[str, ...], batch_norm: bool, state: HeadState, x: Any, training: bool = False) -> Any:
    """Returns the output of the inner layers before dropout; there is one layer for each of `activations`.

    Batch normalization uses the statistics of the batch `x` in training, and those of `state` otherwise.
    """
    for layer, activation in enumerate(activations):
        x = tf.matmul(x, state.kernels[layer])
        if batch_norm:
            mean, variance = tf.nn.moments(x, [0]) if training else (state.means[layer], state.variances[layer])
            x = tf.nn.batch_normalization(x, mean, variance, state.offsets[layer], state.scales[layer], network.EPSILON)
        else:
            x = tf.nn.bias_add(x, state.offsets[layer])
        x = keras.activations.get(activation)(x)
    return x


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
