"""Training of classification heads, one or several in parallel: batches, learning rates, epochs and their selection."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from headstand import cores
from headstand import recipe as recipes
from headstand.heads import epoch, linear, network
from headstand.heads.components import Components, principal_components

Selection = Literal["log_loss", "accuracy"]
"""What selects epochs and heads on validation."""

WORST = 100.0
"""Log loss from which on all losses are equally bad for a search; probabilities of the smallest float32 have 87."""

AfterEpoch = Callable[[int, dict[str, float]], None]

_BUILD_LOCK = Lock()
"""Lock for drawing initial weights: Keras has one random seed for all threads."""

_ALIGNMENT = 64
"""Memory alignment in bytes that TensorFlow's kernels expect of a tensor."""

WAIT = 2
"""Epochs without a lower validation loss after which `plateau` lowers the learning rate.

It is small because heads train for 10 to 30 epochs.
"""

FACTOR = 0.5
"""Factor by which `plateau` multiplies the learning rate."""


@dataclass(frozen=True)
class FeatureSplit:
    """Features `float32 [N, D]` and class indices `int32 [N]` of one split.

    `views`, `float32 [K, N, D]`, are the features of augmented copies of the photos: in each epoch each row is drawn
    from the original and its views. Only a training split has them.
    """

    features: np.ndarray
    labels: np.ndarray
    views: np.ndarray | None = None

    @cached_property
    def components(self) -> Components:
        """Principal components of the features and, after their N rows, of the views, `[(1 + K) N, R]`.

        Raises:
            FeatureValueError: features are not finite.
        """
        views = [] if self.views is None else list(self.views)
        return principal_components(np.concatenate([self.features, *views]) if views else self.features)


@dataclass(frozen=True)
class Fit:
    """The result of training a head: metrics by epoch, the selected epoch (from 1), and the head after that epoch.

    `correct` tells which validation photos the head classifies correctly, `bool [N]`; without a validation split it is
    empty. `build` makes the head a Keras model. `model` calls it on first use: most heads of a search are never used.

    `history` holds for every epoch `loss` (the objective: weighted and smoothed as the recipe sets), `accuracy`,
    `val_loss` (plain cross-entropy), `val_accuracy`, `learning_rate` (of its first step) and `gradient_norm` (the
    largest global norm of a step); for logistic regression not the last two. The best epoch is the first of the highest
    `rank`. After `refit` there are no validation metrics, and the best epoch is the last one.
    """

    history: list[dict[str, float]]
    best_epoch: int
    correct: np.ndarray
    build: Callable[[], keras.Model]

    @cached_property
    def model(self) -> keras.Model:
        return self.build()

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


def class_weights(labels: np.ndarray, classes: int, balanced: bool = True) -> np.ndarray:
    """Returns a weight for each class, `float32 [classes]`: N / (classes x count), so that all classes weigh the same.

    The formula is scikit-learn's `class_weight="balanced"` (King & Zeng 2001). All ones unless `balanced`.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * np.maximum(counts, 1)) if balanced else np.ones(classes)
    return weights.astype(np.float32)


def fit(
    head: recipes.Head,
    train: FeatureSplit,
    validation: FeatureSplit,
    classes: int,
    seed: int,
    after_epoch: AfterEpoch | None = None,
    selection: Selection = "accuracy",
) -> Fit:
    """Trains a head on shuffled batches and selects the epoch on the validation split.

    With the optimizer `lbfgs`, the head is solved at once (`headstand.heads.linear`): its history has one epoch.

    Args:
        head: layers, optimizer, learning rate and epochs.
        train: training split.
        validation: the split that selects the epoch.
        classes: number of classes.
        seed: of initial weights, dropout, order of the rows and views.
        after_epoch: called with the epoch (from 1) and its metrics; an exception that it raises ends the training.
        selection: what selects the epoch, as in `rank`.
    """
    return _fit(head, train, validation, classes, seed, after_epoch=after_epoch, selection=selection)


def refit(head: recipes.Head, train: FeatureSplit, classes: int, seed: int, selected: Fit) -> Fit:
    """Trains a head again, on more rows, for exactly the number of epochs that was selected on validation.

    There is no validation split, so patience is not used, the last epoch is kept, and every epoch has the learning
    rates of the first training: for `cosine` those of a training of `head.epochs`, for `plateau` those that followed
    from the validation losses.

    Args:
        head: as in the first training.
        train: training split.
        classes: number of classes.
        seed: as in `fit`.
        selected: the result of the first training.
    """
    return _fit(head, train, None, classes, seed, selected=selected)


def fit_many(
    heads: Sequence[recipes.Head],
    train: FeatureSplit,
    validation: FeatureSplit,
    classes: int,
    seed: int,
    after_fit: Callable[[int, Fit], None] | None = None,
    selection: Selection = "accuracy",
) -> list[Fit]:
    """Trains several heads in parallel, as many at a time as there are processors.

    A step of a small head is too little work to be divided among processors, so each processor trains its own head.

    Args:
        heads: layers, optimizer, learning rate and epochs of each.
        train: training split.
        validation: the split that selects the epochs.
        classes: number of classes.
        seed: of every head, as in `fit`, so that trials differ in their settings only.
        after_fit: called in the calling thread with a head's index in `heads` and its result, as soon as it is ready.
        selection: what selects the epochs, as in `rank`.

    Returns:
        The results of `fit`, in the order of `heads`.
    """
    kinds = {head.standardise for head in heads if head.optimizer != "lbfgs"}
    tensors = {standardise: _tensors(train, validation, standardise) for standardise in kinds}
    stopped = Event()

    def stop(number: int, metrics: dict[str, float]) -> None:
        if stopped.is_set():
            raise CancelledError

    with ThreadPoolExecutor(cores.available()) as pool:
        futures = {
            pool.submit(
                _fit, head, train, validation, classes, seed, stop, None, selection, tensors.get(head.standardise)
            ): index
            for index, head in enumerate(heads)
        }
        try:
            for future in as_completed(futures):
                result = future.result()
                if after_fit:
                    after_fit(futures[future], result)
        except BaseException:
            # An interrupt then waits for the current epochs only, not for all heads.
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def rank(metrics: Mapping[str, float], selection: Selection = "accuracy") -> tuple[bool, float, float]:
    """Returns the sort key of an epoch or trial; higher is better.

    A loss that is not finite ranks last: with a NaN loss every prediction is the first class, whose share of the photos
    may look like a good accuracy.

    Args:
        metrics: its `val_accuracy` and `val_loss` are used.
        selection: `accuracy` sorts by validation accuracy, then lower loss; `log_loss` by lower loss, then accuracy.
    """
    accuracy, loss = metrics["val_accuracy"], metrics["val_loss"]
    if not np.isfinite(loss):
        return False, accuracy, 0.0
    return (True, accuracy, -loss) if selection == "accuracy" else (True, -loss, accuracy)


def objective(metrics: Mapping[str, float], selection: Selection = "accuracy") -> float:
    """Returns the value that a search maximises, for `selection` as in `rank`.

    Validation accuracy, or 0 if the loss is not finite; or the negative loss, at least `-WORST`.
    """
    loss = metrics["val_loss"]
    if selection == "accuracy":
        return metrics["val_accuracy"] if np.isfinite(loss) else 0.0
    return -min(loss, WORST) if np.isfinite(loss) else -WORST


@dataclass(frozen=True)
class _Tensors:
    """Both splits as tensors, with class weights of one; `validation` is None without that split.

    `components` are those that the tensors hold; None for features as they are.
    """

    train: epoch.EpochData
    validation: epoch.EpochData | None
    components: Components | None


def _tensors(train: FeatureSplit, validation: FeatureSplit | None, standardise: bool) -> _Tensors:
    """Returns tensors of the features or, for heads that standardise, of their principal components in training."""
    count, width = train.features.shape
    components = train.components if standardise else None
    if components:
        rows, views = components.rows[:count], components.rows[count:]
    else:
        rows = train.features
        views = np.zeros((0, width), np.float32) if train.views is None else train.views.reshape(-1, width)

    def tensors(rows: np.ndarray, views: np.ndarray, labels: np.ndarray) -> epoch.EpochData:
        return epoch.EpochData(_tensor(rows), _tensor(views), tf.constant(labels, tf.int32), tf.ones(0))

    held_out = None
    if validation:
        features = components.project(validation.features) if components else validation.features
        held_out = tensors(features, views[:0], validation.labels)
    return _Tensors(tensors(rows, views, train.labels), held_out, components)


def _tensor(array: np.ndarray) -> tf.Tensor:
    """Returns the array as a tensor; a memory-mapped array is not copied, so that features stay on disk.

    With a GPU every array is copied to it. Other arrays are copied because the caller may change them.
    """
    mapped = isinstance(array, np.memmap) and array.flags.c_contiguous and array.flags.writeable and array.size
    if not mapped or array.ctypes.data % _ALIGNMENT or tf.config.list_logical_devices("GPU"):
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.view(np.ndarray).__dlpack__())


def _fit(
    head: recipes.Head,
    train: FeatureSplit,
    validation: FeatureSplit | None,
    classes: int,
    seed: int,
    after_epoch: AfterEpoch | None = None,
    selected: Fit | None = None,
    selection: Selection = "accuracy",
    tensors: _Tensors | None = None,
) -> Fit:
    """Trains a head as `fit` if there is a validation split, else as `refit` for the epochs of `selected`."""
    if head.optimizer == "lbfgs":
        return _solve(head, train, classes, seed, validation, after_epoch)
    tensors = tensors or _tensors(train, validation, head.standardise)
    count = len(train.labels)
    bounds = batch_bounds(count, head.batch_size)
    steps, view_count = len(bounds) - 1, 0 if train.views is None else len(train.views)
    weights = tf.constant(class_weights(train.labels, classes, head.class_weights))
    train_data, order = tensors.train._replace(weights=weights), np.random.default_rng(seed)
    values = epoch.Values(
        dropout=tf.constant(head.dropout),
        smoothing=tf.constant(head.label_smoothing),
        momentum=tf.constant(head.momentum),
        decay=tf.constant(epoch.weight_decay(head)),
        seed=tf.constant(seed),
    )
    with _BUILD_LOCK:
        model = network.build(head, train_data.features.shape[1], classes, seed)
    activations = network.activations(head)
    state = epoch.state(model, epoch.SLOTS[head.optimizer])
    train_epoch = epoch.training(epoch.graph_key(head, view_count > 0))
    history: list[dict[str, float]] = []
    best_epoch, best_values, best_correct = 0, list[np.ndarray](), np.zeros(0, bool)
    correct = best_correct
    for number in range(1, (selected.best_epoch if selected else head.epochs) + 1):
        rates = learning_rates(head, steps, selected.history[: number - 1] if selected else history)
        # A separate generator for views: the order of the rows is then the same with and without views.
        views = np.random.default_rng((seed, number - 1)).integers(0, view_count + 1, count)
        loss, hits, norm = train_epoch(
            state,
            train_data,
            values,
            tf.constant(order.permutation(count), tf.int32),
            tf.constant(views, tf.int32),
            tf.constant(bounds, tf.int32),
            tf.constant(rates),
            tf.constant((number - 1) * steps),
        )
        if head.batch_norm:
            epoch.statistics(activations)(state, train_data)
        metrics = {
            "loss": float(loss) / count,
            "accuracy": float(hits) / count,
            "learning_rate": float(rates[0]),
            "gradient_norm": float(norm),
        }
        if tensors.validation:
            val_loss, val_correct = epoch.validation(activations, head.batch_norm)(state, tensors.validation)
            correct = val_correct.numpy()
            metrics |= {"val_loss": float(val_loss), "val_accuracy": float(correct.mean())}
        history.append(metrics)
        if not best_epoch or not validation or (rank(metrics, selection) > rank(history[best_epoch - 1], selection)):
            # Copied because `numpy()` may return a view of the variable itself.
            best_epoch, best_values, best_correct = number, [np.array(variable) for variable in state.saved], correct
        if after_epoch:
            after_epoch(number, metrics)
        if validation and head.patience and number - best_epoch >= head.patience:
            break
    components = tensors.components  # without the tensors, which would be kept with the result
    # The first bias, or the mean that the first batch normalization subtracts.
    index, sign = (-2 * len(activations), -1) if head.batch_norm else (len(state.kernels), 1)

    def build() -> keras.Model:
        values = list(best_values)
        if components:
            values[0], shift = components.layer(values[0], np.zeros(values[0].shape[1]))
            values[index] = values[index] + sign * shift
        with _BUILD_LOCK:
            model = network.build(head, len(values[0]), classes, seed)
        variables = [variable for group in epoch.model_variables(model) for variable in group]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return model

    return Fit(history, best_epoch, best_correct, build)


def _solve(
    head: recipes.Head,
    train: FeatureSplit,
    classes: int,
    seed: int,
    validation: FeatureSplit | None,
    after_epoch: AfterEpoch | None,
) -> Fit:
    """Fits logistic regression; its only epoch has no learning rate and no gradient norm. Each view is a row."""
    strength = linear.DEFAULT if head.weight_decay is None else head.weight_decay
    weights = class_weights(train.labels, classes, head.class_weights)
    components = train.components
    labels = np.tile(train.labels, len(components.rows) // len(train.labels))
    solution = linear.solve(components, labels, weights, strength)
    solution = linear.Solution(*components.layer(solution.kernel, solution.bias))
    metrics, correct = {}, np.zeros(0, bool)
    for prefix, split in {"": train, "val_": validation}.items():
        if split:
            found = solution.probabilities(split.features)
            right = found.argmax(axis=1) == split.labels
            metrics[f"{prefix}loss"] = float(linear.log_losses(found, split.labels).mean())
            metrics[f"{prefix}accuracy"] = float(right.mean())
            correct = right if split is validation else correct
    if after_epoch:
        after_epoch(1, metrics)

    def build() -> keras.Model:
        with _BUILD_LOCK:
            model = network.build(head, len(solution.kernel), classes, seed)
        model.get_layer("logits").set_weights([solution.kernel, solution.bias])
        return model

    return Fit([metrics], 1, correct, build)


def learning_rates(head: recipes.Head, steps: int, history: Sequence[dict[str, float]]) -> np.ndarray:
    """Returns the learning rates of the next epoch's steps, `float32 [steps]`.

    Cosine decays from the recipe's rate to zero over all epochs (Loshchilov & Hutter 2017, without restarts).

    Args:
        head: its `schedule`, `learning_rate` and `epochs` are used.
        steps: steps in an epoch.
        history: the metrics of the epochs so far; `plateau` reads `val_loss`.
    """
    if head.schedule == "cosine":
        done = np.arange(len(history) * steps, (len(history) + 1) * steps) / (head.epochs * steps)
        return (head.learning_rate * (1 + np.cos(np.pi * done)) / 2).astype(np.float32)
    rate = head.learning_rate
    if head.schedule == "plateau":
        rate *= FACTOR ** _plateaus([metrics["val_loss"] for metrics in history])
    return np.full(steps, rate, np.float32)


def _plateaus(losses: Sequence[float]) -> int:
    """Returns how many times `WAIT` epochs passed without a loss lower than all before."""
    lowest, waited, count = np.inf, 0, 0
    for loss in losses:
        waited += 1
        if loss < lowest:
            lowest, waited = loss, 0
        if waited == WAIT:
            waited, count = 0, count + 1
    return count


def batch_bounds(count: int, batch_size: int) -> np.ndarray:
    """Returns the boundaries of an epoch's batches: batch i holds the rows `bounds[i]` to `bounds[i + 1] - 1`.

    The rows are spread evenly over `ceil(count / batch_size)` batches, so that their sizes differ by at most one row.
    Full batches would leave a last batch of as little as one row: the variance of one row is 0, mixup has no partner
    for it, and its noisy gradient counts as much as that of a full batch.

    Args:
        count: number of rows, at least 1.
        batch_size: rows per batch. Exceeded by one row if a batch of a single row is otherwise unavoidable (an odd
            number of rows in batches of two).

    Returns:
        `int64 [steps + 1]`, from 0 to `count`.
    """
    steps = -(-count // batch_size)
    if batch_size > 1:
        steps = min(steps, max(1, count // 2))
    return np.arange(steps + 1) * count // steps
