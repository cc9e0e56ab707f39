"""Training of classification heads: one, or several in parallel."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock

import keras
import numpy as np
import tensorflow as tf

from headstand import cores
from headstand import recipe as recipes
from headstand.heads import batches, epoch, network, optimizers, schedule

AfterEpoch = Callable[[int, dict[str, float]], None]

_BUILDING = Lock()
"""Lock for drawing initial weights: Keras has one random seed for all threads."""

_ALIGNMENT = 64
"""Memory alignment in bytes that TensorFlow's kernels expect of a tensor."""


@dataclass(frozen=True)
class FeatureSplit:
    """Features `float32 [N, D]` and class indices `int32 [N]` of one split.

    `views`, `float32 [K, N, D]`, are the features of augmented copies of the photos: in each epoch each row is drawn
    from the original and its views. Only a training split has them.
    """

    features: np.ndarray
    labels: np.ndarray
    views: np.ndarray | None = None


@dataclass(frozen=True)
class Fit:
    """The result of training a head: metrics by epoch, the selected epoch (from 1), and the head after that epoch.

    `history` holds for every epoch `loss` (the objective: weighted and smoothed as the recipe sets), `accuracy`,
    `val_loss` (plain cross-entropy), `val_accuracy`, `learning_rate` (of its first step) and `gradient_norm` (the
    largest global norm of a step). The best epoch has the highest validation accuracy, and among equals the lowest
    validation loss. After `refit` there are no validation metrics, and the best epoch is the last one.
    """

    history: list[dict[str, float]]
    best_epoch: int
    model: keras.Model

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
) -> Fit:
    """Trains a head on shuffled batches and selects the epoch on the validation split.

    Args:
        head: layers, optimizer, learning rate and epochs.
        train: training split.
        validation: the split that selects the epoch.
        classes: number of classes.
        seed: of initial weights, dropout, order of the rows and views.
        after_epoch: called with the epoch (from 1) and its metrics; an exception that it raises ends the training.
    """
    return _Training(head, _data(train), classes, seed).run(_data(validation), after_epoch)


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
    return _Training(head, _data(train), classes, seed).repeat(selected)


def fit_many(
    heads: Sequence[recipes.Head],
    train: FeatureSplit,
    validation: FeatureSplit,
    classes: int,
    seed: int,
    after_fit: Callable[[int, Fit], None] | None = None,
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

    Returns:
        The results of `fit`, in the order of `heads`.
    """
    data = _data(train), _data(validation)
    stopped = Event()

    def stop(number: int, metrics: dict[str, float]) -> None:
        if stopped.is_set():
            raise CancelledError

    def one(head: recipes.Head) -> Fit:
        return _Training(head, data[0], classes, seed).run(data[1], stop)

    with ThreadPoolExecutor(cores.available()) as pool:
        futures = {pool.submit(one, head): index for index, head in enumerate(heads)}
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


def rank(metrics: Mapping[str, float]) -> tuple[bool, float, float]:
    """Returns the sort key of an epoch or trial: validation accuracy, then lower loss; higher is better.

    A loss that is not finite ranks last: with a NaN loss every prediction is the first class, whose share of the photos
    may look like a good accuracy.
    """
    accuracy, loss = metrics["val_accuracy"], metrics["val_loss"]
    return (True, accuracy, -loss) if np.isfinite(loss) else (False, accuracy, 0.0)


def objective(metrics: Mapping[str, float]) -> float:
    """Returns the value that a search maximises: validation accuracy, or 0 if the loss is not finite."""
    return metrics["val_accuracy"] if np.isfinite(metrics["val_loss"]) else 0.0


@dataclass(frozen=True)
class _SplitTensors:
    """A split and its tensors, except for the class weights, which depend on the head."""

    split: FeatureSplit
    features: tf.Tensor
    views: tf.Tensor
    labels: tf.Tensor

    def tensors(self, weights: tf.Tensor) -> epoch.EpochData:
        return epoch.EpochData(self.features, self.views, self.labels, weights)


def _data(split: FeatureSplit) -> _SplitTensors:
    width = split.features.shape[1]
    views = np.zeros((0, width), np.float32) if split.views is None else split.views.reshape(-1, width)
    return _SplitTensors(split, _tensor(split.features), _tensor(views), tf.constant(split.labels, tf.int32))


def _tensor(array: np.ndarray) -> tf.Tensor:
    """Returns the array as a tensor; a memory-mapped array is not copied, so that features stay on disk.

    With a GPU every array is copied to it. Other arrays are copied because the caller may change them.
    """
    mapped = isinstance(array, np.memmap) and array.flags.c_contiguous and array.flags.writeable and array.size
    if not mapped or array.ctypes.data % _ALIGNMENT or tf.config.list_logical_devices("GPU"):
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.view(np.ndarray).__dlpack__())


class _Training:
    """A head in training: the Keras model, and the variables that the training graph updates."""

    def __init__(self, head: recipes.Head, train: _SplitTensors, classes: int, seed: int) -> None:
        labels = train.split.labels
        self._head, self._seed, self._count = head, seed, len(labels)
        self._views = 0 if train.split.views is None else len(train.split.views)
        bounds = batches.bounds(self._count, head.batch_size)
        self._bounds, self._steps = tf.constant(bounds, tf.int32), len(bounds) - 1
        self._weights = tf.constant(class_weights(labels, classes, head.class_weights))
        self._train = train.tensors(self._weights)
        self._order = np.random.default_rng(seed)
        self._values = epoch.Values(
            dropout=tf.constant(head.dropout),
            smoothing=tf.constant(head.label_smoothing),
            momentum=tf.constant(head.momentum),
            decay=tf.constant(optimizers.decay(head)),
            seed=tf.constant(seed),
        )
        with _BUILDING:
            self._model = network.build(head, train.features.shape[1], classes, seed)
        self._state = epoch.state(self._model, optimizers.SLOTS[head.optimizer])
        self._epoch = epoch.training(epoch.graph_key(head, self._views > 0))

    def run(self, validation: _SplitTensors, after_epoch: AfterEpoch | None = None) -> Fit:
        """Trains for at most `head.epochs` and returns the best epoch."""
        held_out = validation.tensors(self._weights)
        validate = epoch.validation(network.activations(self._head), self._head.batch_norm)
        history: list[dict[str, float]] = []
        best_epoch, best = 0, self._saved()
        for number in range(1, self._head.epochs + 1):
            metrics = self._one(number, history)
            val_loss, val_accuracy = validate(self._state, held_out)
            metrics |= {"val_loss": float(val_loss), "val_accuracy": float(val_accuracy)}
            history.append(metrics)
            if not best_epoch or rank(metrics) > rank(history[best_epoch - 1]):
                best_epoch, best = number, self._saved()
            if after_epoch:
                after_epoch(number, metrics)
            if self._head.patience and number - best_epoch >= self._head.patience:
                break
        return Fit(history, best_epoch, self._with(best))

    def repeat(self, selected: Fit) -> Fit:
        """Trains for the number of epochs that `selected` kept, with the same learning rates."""
        numbers = range(1, selected.best_epoch + 1)
        history = [self._one(number, selected.history[: number - 1]) for number in numbers]
        return Fit(history, selected.best_epoch, self._with(self._saved()))

    def _saved(self) -> list[np.ndarray]:
        # Copied because `numpy()` may return a view of the variable itself.
        return [np.array(variable) for variable in self._state.saved]

    def _with(self, values: list[np.ndarray]) -> keras.Model:
        own = [variable for variables in epoch.of_model(self._model) for variable in variables]
        for variable, value in zip(own, values, strict=True):
            variable.assign(value)
        return self._model

    def _one(self, number: int, before: Sequence[dict[str, float]]) -> dict[str, float]:
        """Trains for one epoch and returns its training metrics.

        Args:
            number: the epoch, from 1.
            before: the metrics of the epochs before it, from which the schedule derives the learning rates.
        """
        rates = schedule.rates(self._head, self._steps, before)
        # A separate generator for views: the order of the rows is then the same with and without views.
        views = np.random.default_rng((self._seed, number - 1)).integers(0, self._views + 1, self._count)
        loss, correct, norm = self._epoch(
            self._state,
            self._train,
            self._values,
            tf.constant(self._order.permutation(self._count), tf.int32),
            tf.constant(views, tf.int32),
            self._bounds,
            tf.constant(rates),
            tf.constant((number - 1) * self._steps),
        )
        if self._head.batch_norm:
            epoch.statistics(network.activations(self._head))(self._state, self._train)
        return {
            "loss": float(loss) / self._count,
            "accuracy": float(correct) / self._count,
            "learning_rate": float(rates[0]),
            "gradient_norm": float(norm),
        }
