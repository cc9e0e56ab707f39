"""Ways of `benchmarks.peers` on Keras: Headstand, Keras's transfer-learning guide, scikit-learn, KerasTuner."""

import contextlib
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.peers import Result, Task
from headstand import recipe, training
from headstand.cli.train import converted
from headstand.preparation import manifest
from headstand.preparation.manifest import Dataset
from headstand.serve.classifier import Classifier

import keras  # isort: skip - after headstand.training, which silences TensorFlow

SIZE = 224
BATCH = 32
EPOCHS = 1000
"""More epochs than the minutes allow."""


def headstand(task: Task) -> Result:
    dataset = manifest.read(task.folder)
    with tempfile.TemporaryDirectory() as root, contextlib.chdir(root):
        os.environ.update(HEADSTAND_CACHE=f"{root}/cache", HEADSTAND_RUNS=f"{root}/runs")
        Path("data").mkdir()
        Path("data/photos").symlink_to(task.folder)
        options = {
            "--backbone.name": task.weights, "--backbone.preprocessing": "lite",
            "--seed": task.seed, "--minutes": task.minutes,
        }  # fmt: skip
        start = time.perf_counter()
        settings = recipe.load("photos", [str(part) for option in options.items() for part in option])
        bundle = converted(training.train(settings).final).bundle
        seconds = time.perf_counter() - start
        model = Classifier(bundle.resolve())
        labels = [model.predict(task.folder / photo.path).label for photo in dataset.split("test")]
        return Result([dataset.classes.index(label) for label in labels], seconds, bundle.stat().st_size / 1e6)


def decoded(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the photos of a split, `uint8 [N, SIZE, SIZE, 3]`, and their class indices, `int64 [N]`.

    They stay in memory, which is faster than to decode them in each epoch, as `image_dataset_from_directory` does.
    """

    def one(photo: manifest.Photo) -> np.ndarray:
        image = keras.utils.load_img(dataset.folder / photo.path, target_size=(SIZE, SIZE), interpolation="bilinear")
        return np.asarray(image, np.uint8)

    photos = dataset.split(split)
    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(one, photos)))
    return pixels, np.array([dataset.classes.index(photo.class_) for photo in photos])


def scaled(
    weights: Path, *augmentation: keras.layers.Layer
) -> tuple[keras.Model, keras.KerasTensor, keras.KerasTensor]:
    """Returns the pretrained network, pixels in 0..255, and the network's pooled output for the augmented pixels.

    Its BatchNormalization is in inference mode, also if it is trained.
    """
    network = keras.saving.load_model(weights, compile=False)
    pixels = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 128, -127 / 128)(pixels)
    for layer in augmentation:
        x = layer(x)
    return network, pixels, keras.layers.GlobalAveragePooling2D()(network(x, training=False))


def megabytes(model: keras.Model) -> float:
    """Returns the size of a model's weights in float32."""
    return 4 * model.count_params() / 1e6


def compile_classifier(model: keras.Model, learning_rate: float) -> None:
    """Compiles a classifier for class indices and Adam; without XLA, which is several times slower on CPUs."""
    model.compile(
        keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )


class Clock(keras.callbacks.Callback):
    """Stops training at a time of `time.perf_counter`, and keeps the best weights by validation accuracy."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline, self.best = deadline, -1.0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if time.perf_counter() > self.deadline:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if logs["val_accuracy"] > self.best:
            self.best, self.weights = logs["val_accuracy"], self.model.get_weights()


def guide(task: Task) -> Result:
    start = time.perf_counter()
    keras.utils.set_random_seed(task.seed)
    dataset = manifest.read(task.folder)
    augmentation = keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)
    network, pixels, pooled = scaled(task.weights, *augmentation)
    outputs = keras.layers.Dense(len(dataset.classes), "softmax")(keras.layers.Dropout(0.2)(pooled))
    model = keras.Model(pixels, outputs)
    photos, validation = decoded(dataset, "train"), decoded(dataset, "validation")
    clock = Clock(start)
    for trainable, learning_rate in ((False, 1e-3), (True, 1e-5)):
        network.trainable = trainable
        compile_classifier(model, learning_rate)
        clock.deadline += 30 * task.minutes
        model.fit(*photos, BATCH, EPOCHS, 0, [clock], validation_data=validation)
        model.set_weights(clock.weights)
    seconds = time.perf_counter() - start
    predicted = model.predict(decoded(dataset, "test")[0], BATCH, 0).argmax(axis=1)
    return Result(predicted.tolist(), seconds, megabytes(model))


class Features:
    """Features of the last layer of the pretrained network for the photos of a prepared dataset."""

    def __init__(self, task: Task) -> None:
        self.dataset = manifest.read(task.folder)
        _, pixels, pooled = scaled(task.weights)
        self.model = keras.Model(pixels, pooled)

    def __call__(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features of a split, `float32 [N, D]`, and its class indices, `int64 [N]`."""
        pixels, labels = decoded(self.dataset, split)
        return self.model.predict(pixels, BATCH, 0), labels


def logistic_regression(task: Task) -> Result:
    start = time.perf_counter()
    features = Features(task)
    rows, labels = map(np.concatenate, zip(features("train"), features("validation"), strict=True))
    folds = StratifiedKFold(5, shuffle=True, random_state=task.seed)
    regression = LogisticRegressionCV(
        l1_ratios=(0,), cv=folds, scoring="accuracy", max_iter=300, use_legacy_attributes=False
    )
    model = make_pipeline(StandardScaler(), regression).fit(rows, labels)
    seconds = time.perf_counter() - start
    size = megabytes(features.model) + 4 * regression.coef_.size / 1e6
    return Result(model.predict(features("test")[0]).tolist(), seconds, size)


def tuner(task: Task) -> Result:
    import keras_tuner

    start = time.perf_counter()
    deadline = start + 60 * task.minutes
    keras.utils.set_random_seed(task.seed)
    features = Features(task)
    (rows, labels), validation = features("train"), features("validation")
    standardisation = keras.layers.Normalization()
    standardisation.adapt(rows)

    def build(settings: keras_tuner.HyperParameters) -> keras.Model:
        layers = [keras.Input(rows.shape[1:]), standardisation]
        if inner := settings.Choice("inner", [0, 50, 100, 200, 500]):
            layers.append(keras.layers.Dense(inner, "relu"))
        layers.append(keras.layers.Dropout(settings.Choice("dropout", [0.0, 0.2, 0.5, 0.8])))
        model = keras.Sequential([*layers, keras.layers.Dense(len(features.dataset.classes), "softmax")])
        compile_classifier(model, settings.Float("learning_rate", 1e-4, 1e-1, sampling="log"))
        return model

    class Tuner(keras_tuner.RandomSearch):
        def on_trial_end(self, trial: object) -> None:
            super().on_trial_end(trial)
            if time.perf_counter() > deadline:
                self.oracle.max_trials = len(self.oracle.trials)  # the oracle starts no other trial

    with tempfile.TemporaryDirectory() as root:
        search = Tuner(build, "val_accuracy", max_trials=10**6, seed=task.seed, directory=root)
        callbacks = [Clock(deadline), keras.callbacks.EarlyStopping("val_loss", patience=3)]
        options = {"batch_size": BATCH, "epochs": 50, "callbacks": callbacks, "verbose": 0}
        search.search(rows, labels, validation_data=validation, **options)
        model = search.get_best_models()[0]
        print(f"{len(search.oracle.trials)} trials; the best: {search.get_best_hyperparameters()[0].values}")
    seconds = time.perf_counter() - start
    predicted = model.predict(features("test")[0], BATCH, 0).argmax(axis=1)
    return Result(predicted.tolist(), seconds, megabytes(features.model) + megabytes(model))
