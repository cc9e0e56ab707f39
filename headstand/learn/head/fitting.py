"""Training heads: one, or many side by side."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock

import keras
import numpy as np
import tensorflow as tf

from headstand import cores
from headstand import recipe as recipes
from headstand.learn.head import epoch, network, optimizers, schedule

AfterEpoch = Callable[[int, dict[str, float]], None]

_BUILDING = Lock()
"""Held while initial weights are drawn: Keras's seed is one for all threads."""


@dataclass(frozen=True)
class Split:
    """Features `float32 [N, D]` and class indices `int32 [N]` of one split.

    `views`, `float32 [K, N, D]`, are features of changed copies of the photos: in each epoch each row is drawn from the
    original or one of its views. For training only; what is validated or tested has none.
    """

    features: np.ndarray
    labels: np.ndarray
    views: np.ndarray | None = None


@dataclass(frozen=True)
class Fit:
    """What training gave: figures an epoch, the best epoch (from 1), and the head as it was then.

    `history` holds for every epoch `loss` (what is minimised: weighted and smoothed as the recipe says), `accuracy`,
    `val_loss` (plain cross-entropy), `val_accuracy`, `learning_rate` (of its first step) and `gradient_norm` (the
    largest global norm of a step). The best epoch has the highest validation accuracy, the lower validation loss among
    equals.
    """

    history: list[dict[str, float]]
    best_epoch: int
    model: keras.Model

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


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
    after_epoch: AfterEpoch | None = None,
) -> Fit:
    """Train a head on shuffled batches.

    Args:
        head: layers, optimizer, rates and epochs.
        train: what is learnt from.
        validation: what chooses the epoch.
        classes: number of classes.
        seed: of initial weights, dropout, order and views.
        after_epoch: called with the epoch (from 1) and its figures; what it raises ends the training.
    """
    return _Training(head, _data(train), _data(validation), classes, seed).run(after_epoch)


def fit_many(
    heads: Sequence[recipes.Head],
    train: Split,
    validation: Split,
    classes: int,
    seed: int,
    after_fit: Callable[[int, Fit], None] | None = None,
) -> list[Fit]:
    """Train several heads side by side, as many at a time as there are processors.

    A step of a small head is too little work to be divided among processors, so each takes a head of its own.

    Args:
        heads: what is trained.
        train: what is learnt from.
        validation: what chooses the epochs.
        classes: number of classes.
        seed: of each head, as in `fit`: settings are compared and not luck.
        after_fit: called from the calling thread with a head's place in `heads` and its result, as soon as it is there.

    Returns:
        What `fit` gives for each, in the order of `heads`.
    """
    data = _data(train), _data(validation)
    stopped = Event()

    def stop(number: int, figures: dict[str, float]) -> None:
        if stopped.is_set():
            raise CancelledError

    def one(head: recipes.Head) -> Fit:
        return _Training(head, *data, classes, seed).run(stop)

    with ThreadPoolExecutor(cores.available()) as pool:
        futures = {pool.submit(one, head): place for place, head in enumerate(heads)}
        try:
            for future in as_completed(futures):
                result = future.result()
                if after_fit:
                    after_fit(futures[future], result)
        except BaseException:
            # Whoever interrupts waits for an epoch and not for all heads.
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]


def rank(figures: Mapping[str, float]) -> tuple[bool, float, float]:
    """Higher is better: validation accuracy, the lower loss among equals; a loss that is no number ranks last.

    Where the loss is no number all answers are the first class, whose share may well look like an accuracy.
    """
    accuracy, loss = figures["val_accuracy"], figures["val_loss"]
    return (True, accuracy, -loss) if np.isfinite(loss) else (False, accuracy, 0.0)


def objective(figures: Mapping[str, float]) -> float:
    """What a search climbs: validation accuracy, 0 where the loss is no number."""
    return figures["val_accuracy"] if np.isfinite(figures["val_loss"]) else 0.0


@dataclass(frozen=True)
class _Data:
    """A split, and the same as tensors but for the class weights."""

    split: Split
    features: tf.Tensor
    views: tf.Tensor
    labels: tf.Tensor


def _data(split: Split) -> _Data:
    width = split.features.shape[1]
    views = np.zeros((0, width), np.float32) if split.views is None else split.views.reshape(-1, width)
    return _Data(split, tf.constant(split.features), tf.constant(views), tf.constant(split.labels, tf.int32))


class _Training:
    """A head on its way: the Keras model, and the variables that the graph works on."""

    def __init__(self, head: recipes.Head, train: _Data, validation: _Data, classes: int, seed: int) -> None:
        labels = train.split.labels
        self._head, self._seed, self._count = head, seed, len(labels)
        self._views = 0 if train.split.views is None else len(train.split.views)
        self._steps = -(-self._count // head.batch_size)
        weights = tf.constant(class_weights(labels, classes, head.class_weights))
        self._train = epoch.Data(train.features, train.views, train.labels, weights)
        self._validation = epoch.Data(validation.features, validation.views, validation.labels, weights)
        self._values = epoch.Values(
            batch_size=tf.constant(head.batch_size),
            dropout=tf.constant(head.dropout),
            smoothing=tf.constant(head.label_smoothing),
            momentum=tf.constant(head.momentum),
            decay=tf.constant(optimizers.decay(head)),
            seed=tf.constant(seed),
        )
        with _BUILDING:
            self._model = network.build(head, train.features.shape[1], classes, seed)
        self._state = epoch.state(self._model, optimizers.SLOTS[head.optimizer])
        self._epoch = epoch.training(epoch.kind(head, self._views > 0))
        self._validate = epoch.validation(network.activations(head), head.batch_norm)

    def run(self, after_epoch: AfterEpoch | None = None) -> Fit:
        order = np.random.default_rng(self._seed)
        history: list[dict[str, float]] = []
        best_epoch, best = 0, self._weights()
        for number in range(1, self._head.epochs + 1):
            figures = self._one(order.permutation(self._count), history)
            history.append(figures)
            if not best_epoch or rank(figures) > rank(history[best_epoch - 1]):
                best_epoch, best = number, self._weights()
            if after_epoch:
                after_epoch(number, figures)
            if self._head.patience and number - best_epoch >= self._head.patience:
                break
        own = [variable for values in epoch.of_model(self._model) for variable in values]
        for variable, value in zip(own, best, strict=True):
            variable.assign(value)
        return Fit(history, best_epoch, self._model)

    def _weights(self) -> list[np.ndarray]:
        # Copied: `numpy()` may look into the variable itself.
        return [np.array(variable) for variable in self._state.kept]

    def _one(self, order: np.ndarray, history: list[dict[str, float]]) -> dict[str, float]:
        """An epoch and its figures."""
        done = len(history)
        rates = schedule.rates(self._head, self._steps, history)
        # A chance of their own: views or not, the order is the same.
        views = np.random.default_rng((self._seed, done)).integers(0, self._views + 1, self._count)
        loss, right, norm = self._epoch(
            self._state,
            self._train,
            self._values,
            tf.constant(order, tf.int32),
            tf.constant(views, tf.int32),
            tf.constant(rates),
            tf.constant(done * self._steps),
        )
        val_loss, val_accuracy = self._validate(self._state, self._validation)
        return {
            "loss": float(loss) / self._count,
            "accuracy": float(right) / self._count,
            "val_loss": float(val_loss),
            "val_accuracy": float(val_accuracy),
            "learning_rate": float(rates[0]),
            "gradient_norm": float(norm),
        }
