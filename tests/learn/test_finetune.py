import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstand.learn import activations, backbones, checkpoint, finetune, freezing
from headstand.learn.answers import pixels
from headstand.learn.checkpoint import CheckpointError
from headstand.learn.features import FeatureError
from headstand.learn.precision import Precision
from headstand.learn.tracking.stopwatch import Stopwatch
from headstand.prepare.manifest import Dataset
from headstand.recipe import Augmentation, Finetune
from tests import networks
from tests.networks import keras
from tests.photos import prepare

pytestmark = pytest.mark.usefixtures("small_networks")

SETTINGS = Finetune(epochs=3, learning_rate=0.003, batch_size=8, warmup=0.2, ema=0.5)
PLAIN = Augmentation()
LABELS = {class_: place for place, class_ in enumerate(networks.CLASSES)}


def data(dataset: Dataset, split: str, weight: float = 1.0) -> finetune.Photos:
    photos = dataset.split(split)
    labels = np.eye(3, dtype=np.float32)[[LABELS[photo.class_] for photo in photos]]
    return finetune.Photos(dataset.folder, photos, labels, np.full(len(photos), weight, np.float32))


def tune(
    model: keras.Model,
    dataset: Dataset,
    folder: Path,
    settings: Finetune = SETTINGS,
    validated: bool = True,
    augmentation: Augmentation = PLAIN,
) -> finetune.Tuned:
    folder.mkdir(exist_ok=True)
    validation = data(dataset, "validation") if validated else None
    about = networks.about(dataset.digest)
    return finetune.run(model, data(dataset, "train"), settings, augmentation, 1, folder, about, validation)


def inner(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.get_layer("backbone").layers if isinstance(layer, kind)]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.h5") if not path.name.endswith(".weights.h5"))


def test_all_learns_but_batch_normalization_and_the_scale(dataset: Dataset) -> None:
    model = networks.classifier("ResNet50")  # whose pixels are scaled by a convolution
    norms = inner(model, keras.layers.BatchNormalization)
    assert len(norms) == 2
    for layer in norms:  # as trained networks have them
        layer.moving_mean.assign(layer.moving_mean + 0.3)
        layer.moving_variance.assign(layer.moving_variance * 1.7)
    kept = [*norms, model.get_layer("scale")]
    before = [[values.copy() for values in layer.get_weights()] for layer in kept]
    convolutions = inner(model, keras.layers.Conv2D)
    kernels = [layer.get_weights()[0].copy() for layer in convolutions]
    head = model.get_layer("logits").get_weights()[0].copy()
    tune(model, dataset, Path("run"))
    assert [layer.trainable for layer in kept] == [False] * 3
    for layer, old in zip(kept, before, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), old, strict=True)), layer.name
    for layer, old in zip(convolutions, kernels, strict=True):
        assert abs(layer.get_weights()[0] - old).max() > 1e-3
    assert abs(model.get_layer("logits").get_weights()[0] - head).max() > 1e-3
    trainable = {variable.path.split("/")[-1] for variable in model.trainable_variables}
    assert trainable == {"kernel", "bias"}


def test_it_learns_and_keeps_the_best_epoch(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    model = networks.classifier()
    settings = SETTINGS.model_copy(update={"epochs": 6, "learning_rate": 0.01, "label_smoothing": 0.0})
    tuned = tune(model, dataset, Path("run"), settings)
    assert len(tuned.history) == 6
    figures = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "gradient_norm"}
    assert set(tuned.history[0]) == figures
    # Three steps an epoch, of 18: the peak comes after 3.6 of them.
    assert [epoch["learning_rate"] for epoch in tuned.history][:2] == pytest.approx([0.0075, 0.0095], rel=0.01)
    assert all(0.1 < epoch["gradient_norm"] < 10 for epoch in tuned.history)
    assert tuned.history[-1]["loss"] < tuned.history[0]["loss"] * 0.8
    ranks = [(figures["val_accuracy"], -figures["val_loss"]) for figures in tuned.history]
    assert tuned.best_epoch == ranks.index(max(ranks)) + 1
    assert tuned.best == tuned.history[tuned.best_epoch - 1]
    assert re.fullmatch(r"shapes_\d\d_\d\.\d{3}\.h5", tuned.checkpoint.name)
    assert tuned.checkpoint.name == f"shapes_{tuned.best_epoch:02d}_{tuned.best['val_accuracy']:.3f}.h5"
    # The others are gone, and this one says what it is.
    assert checkpoints(Path("run")) == [tuned.checkpoint.name]
    assert checkpoint.about(tuned.checkpoint) == networks.about(dataset.digest)
    # The figures are those of the checkpoint.
    photos = data(dataset, "validation")
    labels = photos.labels
    answers = checkpoint.load(tuned.checkpoint)(
        pixels(photos.folder, photos.photos, networks.SIZE).astype("f4")
    ).numpy()
    assert (answers.argmax(1) == labels.argmax(1)).mean() == pytest.approx(tuned.best["val_accuracy"], abs=1e-6)
    assert -np.log(answers[labels == 1]).mean() == pytest.approx(tuned.best["val_loss"], rel=1e-3)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [f"{epoch}/6" for epoch in range(1, 7)]
    assert f"val_accuracy={tuned.history[0]['val_accuracy']:.4f}" in lines[0]


@pytest.mark.parametrize("validated", [True, False])
def test_the_moving_average_of_the_weights_is_kept(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, validated: bool
) -> None:
    momentum = 0.7
    steps: list[list[np.ndarray]] = []
    kept: dict[str, list[np.ndarray]] = {}
    real_batch, real_save = finetune._Bar.on_train_batch_end, checkpoint.save

    def batch(self: Any, number: int, logs: Any = None) -> None:
        real_batch(self, number, logs)
        steps.append([variable.numpy() for variable in self.model.trainable_variables])

    def save(model: keras.Model, path: Path, about: checkpoint.About) -> Path:
        kept[path.name] = [variable.numpy() for variable in model.trainable_variables]
        return real_save(model, path, about)

    monkeypatch.setattr(finetune._Bar, "on_train_batch_end", batch)
    monkeypatch.setattr(checkpoint, "save", save)
    settings = SETTINGS.model_copy(update={"ema": momentum})
    tuned = tune(networks.classifier(), dataset, Path("run"), settings, validated)
    each = len(steps) // settings.epochs
    average = steps[0]
    for weights in steps[1 : each * tuned.best_epoch]:
        average = [momentum * a + (1 - momentum) * w for a, w in zip(average, weights, strict=True)]
    for found, wanted in zip(kept[tuned.checkpoint.name], average, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    # The averages are not what training goes on with.
    assert any(abs(f - w).max() > 1e-5 for f, w in zip(average, steps[each * tuned.best_epoch - 1], strict=True))


def test_without_momentum_the_weights_themselves_are_kept(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    last: list[np.ndarray] = []
    real = finetune._Bar.on_train_batch_end

    def batch(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        last[:] = [variable.numpy() for variable in self.model.trainable_variables]

    monkeypatch.setattr(finetune._Bar, "on_train_batch_end", batch)
    settings = SETTINGS.model_copy(update={"ema": 0.0})
    tuned = tune(networks.classifier(), dataset, Path("run"), settings, validated=False)
    kernel, bias = checkpoint.load(tuned.checkpoint).get_layer("logits").get_weights()
    assert np.array_equal(last[-2], kernel) and np.array_equal(last[-1], bias)


class Cut(Exception):
    """Stands for a kill."""


def cut_within_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    real = finetune._Bar.on_epoch_begin

    def begin(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        self.cut = number + 1 == epoch

    def batch(self: Any, number: int, logs: Any = None) -> None:
        if self.cut and number == 1:
            raise Cut

    monkeypatch.setattr(finetune._Bar, "on_epoch_begin", begin)
    monkeypatch.setattr(finetune._Bar, "on_train_batch_end", batch)


def cut_before_state(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """After the checkpoint was written and before the state that goes with it."""
    real, calls = keras.Model.save_weights, []

    def save(self: keras.Model, path: Path, overwrite: bool = True) -> None:
        calls.append(path)
        if len(calls) == epoch:
            path.write_bytes(b"half")
            raise Cut
        real(self, path, overwrite=overwrite)

    monkeypatch.setattr(keras.Model, "save_weights", save)


def cut_after_state(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """After the state was written, the older checkpoint still being there."""
    real = finetune._Keeper.on_epoch_end

    def end(self: Any, number: int, logs: Any = None) -> None:
        real(self, number, logs)
        if number + 1 == epoch:
            raise Cut

    monkeypatch.setattr(finetune._Keeper, "on_epoch_end", end)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[finetune.Tuned, list[np.ndarray]]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "MobileNet", networks.tiny)
        model = networks.classifier()
        tuned = tune(model, prepare(folder / "data" / "shapes"), folder / "whole")
    return tuned, model.get_weights()


@pytest.mark.parametrize(
    ("cut", "epoch"),
    [(cut_within_epoch, 2), (cut_before_state, 2), (cut_after_state, 2), (cut_after_state, 3)],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    dataset: Dataset,
    uninterrupted: tuple[finetune.Tuned, list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
    cut: Any,
    epoch: int,
) -> None:
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut(patch, epoch)
        tune(networks.classifier(), dataset, Path("run"))
    model = networks.classifier()
    tuned = tune(model, dataset, Path("run"))
    whole, weights = uninterrupted
    assert tuned.best_epoch == whole.best_epoch
    assert tuned.checkpoint.name == whole.checkpoint.name
    for one, other in zip(tuned.history, whole.history, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    kept, wanted = (checkpoint.load(one.checkpoint).get_weights() for one in (tuned, whole))
    for one, other in zip(kept, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert not list(Path("run").glob("part-*"))


def test_a_finished_run_trains_no_more(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tune(networks.classifier(), dataset, Path("run"))
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("it trained"))
    assert tune(networks.classifier(), dataset, Path("run")) == first


def test_without_validation_the_last_epoch_is_kept(dataset: Dataset) -> None:
    model = networks.classifier()
    settings = SETTINGS.model_copy(update={"epochs": 2})
    tuned = tune(model, dataset, Path("run"), settings, validated=False)
    assert tuned.checkpoint == Path("run/shapes_02_all.h5")
    assert tuned.best_epoch == 2
    assert set(tuned.history[0]) == {"loss", "accuracy", "learning_rate", "gradient_norm"}
    assert checkpoints(Path("run")) == ["shapes_02_all.h5"]
    for one, other in zip(checkpoint.load(tuned.checkpoint).get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_a_loss_that_is_no_number_never_wins(dataset: Dataset) -> None:
    keeper = finetune._Keeper(Path("run"), networks.about(), 3, networks.classifier(), validated=True)
    nan = float("nan")
    keeper.history = [
        {"val_accuracy": 0.9, "val_loss": nan},
        {"val_accuracy": 0.4, "val_loss": 1.0},
        {"val_accuracy": 0.9, "val_loss": nan},
    ]
    assert keeper.best_epoch == 2


def test_waiting_is_told_from_computing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 11.0, 13.0, 14.0, 20.0, 22.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    views, watch = SimpleNamespace(ready={0: -1.0}), Stopwatch()
    callback = finetune._Clock(views, watch)  # type: ignore[arg-type]
    callback.on_epoch_begin(0)
    assert views.ready == {}
    views.ready |= {0: 9.5, 1: 9.9, 2: 12.5, 3: 12.6}
    for batch in range(4):  # ends at 10, 11, 13 and 14; the third is waited for from 11 to 12.5
        callback.on_train_batch_end(batch)
    callback.on_test_begin()
    callback.on_test_end()
    assert watch.seconds == {"compiling": 10.0, "waiting for photos": 1.5, "network": 2.5, "validation": 2.0}


def test_what_the_time_went_for_and_every_epoch_are_told(dataset: Dataset) -> None:
    watch, told = Stopwatch(), []
    folder = Path("run")
    folder.mkdir()
    finetune.run(
        networks.classifier(), data(dataset, "train"), SETTINGS, PLAIN, 1, folder, networks.about(dataset.digest), None,
        watch, lambda history: told.append(len(history)),
    )  # fmt: skip
    assert told == [1, 2, 3]
    assert set(watch.seconds) == {"compiling", "waiting for photos", "network"}


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    model = networks.classifier()
    finetune.compile_for(model, Finetune(learning_rate=0.01, warmup=0.25, weight_decay=0.02), steps=40)
    rate = model.optimizer._learning_rate
    assert [float(rate(step)) for step in (0, 5, 10)] == pytest.approx([0, 0.005, 0.01])
    assert float(rate(25)) == pytest.approx(0.005)  # half of the cosine
    assert float(rate(40)) == pytest.approx(0, abs=1e-8)
    assert model.optimizer.weight_decay == 0.02
    finetune.compile_for(model, Finetune(learning_rate=0.01, warmup=0), steps=40)
    assert float(model.optimizer._learning_rate(0)) == pytest.approx(0.01)
    finetune.compile_for(model, Finetune(learning_rate=0.01, warmup=1), steps=40)
    assert float(model.optimizer._learning_rate(39)) == pytest.approx(0.01, rel=0.05)


def test_labels_are_smoothed_as_the_recipe_says() -> None:
    model = networks.classifier()
    finetune.compile_for(model, Finetune(label_smoothing=0.3), steps=10)
    answer = np.array([[0.7, 0.2, 0.1]], np.float32)
    wanted = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    assert float(model.loss(np.array([[1.0, 0, 0]], np.float32), answer)) == pytest.approx(wanted, rel=1e-5)


def test_photos_weigh_what_they_are_given(dataset: Dataset) -> None:
    """Photos that weigh nothing teach nothing."""
    model = networks.classifier()
    before = [values.copy() for values in model.get_weights()]
    settings = SETTINGS.model_copy(update={"epochs": 1, "weight_decay": 0.0})
    Path("run").mkdir()
    finetune.run(model, data(dataset, "train", 0.0), settings, PLAIN, 1, Path("run"), networks.about(), None)
    assert all(np.array_equal(one, other) for one, other in zip(model.get_weights(), before, strict=True))


def test_a_full_disk_is_told_and_the_last_state_stays(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = keras.Model.save_weights, []

    def save(self: keras.Model, path: Path, overwrite: bool = True) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "Can't synchronously write data\n(two lines of it)")
        real(self, path, overwrite=overwrite)

    with monkeypatch.context() as patch, pytest.raises(CheckpointError) as caught:
        patch.setattr(keras.Model, "save_weights", save)
        tune(networks.classifier(), dataset, Path("run"))
    assert str(caught.value) == "cannot write run/tuning.weights.h5: No space left on device"
    assert not list(Path("run").glob("part-*"))
    assert len(tune(networks.classifier(), dataset, Path("run")).history) == 3


def test_the_backbone_stays_one_to_be_taken_out(dataset: Dataset) -> None:
    tuned = tune(networks.classifier(), dataset, Path("run"), SETTINGS.model_copy(update={"epochs": 1}))
    lent = backbones.extractor(networks.Backbone(name="MobileNet", size=64, weights=str(tuned.checkpoint)))
    trained = checkpoint.load(tuned.checkpoint).get_layer("backbone").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(lent.get_weights(), trained, strict=True))


PARTLY = SETTINGS.model_copy(update={"unfreeze": "3 layers"})
"""The second of two convolutions, with its BatchNormalization and activation."""
VIEWS = Augmentation(views=2)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the frozen part is given, batch by batch."""
    real, sizes = activations.Prefix.__init__, []

    def init(self: Any, *rest: Any) -> None:
        real(self, *rest)
        call = self.call
        self.call = lambda pixels: (sizes.append(len(pixels)), call(pixels))[1]

    monkeypatch.setattr(activations.Prefix, "__init__", init)
    return sizes


def test_a_frozen_part_runs_once_and_what_follows_learns(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = spied(monkeypatch)
    model = networks.classifier()
    first, second = (layer.get_weights()[0].copy() for layer in inner(model, keras.layers.Conv2D))
    head = model.get_layer("logits").get_weights()[0].copy()
    tuned = tune(model, dataset, Path("run"), PARTLY, augmentation=VIEWS)
    assert sum(sizes) == 3 * 24 + 12  # and that for three epochs
    assert "frozen up to re_lu" in (out := capsys.readouterr().out)
    assert "84 photos and views computed, 2 kB each; every epoch draws from each photo and its 2 views" in out
    layers = inner(model, keras.layers.Conv2D)
    assert np.array_equal(layers[0].get_weights()[0], first)
    assert abs(layers[1].get_weights()[0] - second).max() > 1e-3
    assert abs(model.get_layer("logits").get_weights()[0] - head).max() > 1e-3
    # What is kept is the whole plain network, and the figures are its own.
    kept = checkpoint.load(tuned.checkpoint)
    assert [layer.name for layer in kept.layers] == [layer.name for layer in model.layers]
    photos = data(dataset, "validation")
    answers = kept(pixels(photos.folder, photos.photos, networks.SIZE).astype("f4")).numpy()
    assert (answers.argmax(1) == photos.labels.argmax(1)).mean() == pytest.approx(tuned.best["val_accuracy"], abs=1e-6)
    # Another run from the same weights finds all of it.
    sizes.clear()
    again = tune(networks.classifier(), dataset, Path("again"), PARTLY, augmentation=VIEWS)
    assert sizes == []
    assert again.history == tuned.history


def test_the_cached_way_learns_what_the_whole_network_would(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without views both see the photos themselves in the same order, so both end with the same weights."""
    cached, whole = networks.classifier(), networks.classifier()
    settings = PARTLY.model_copy(update={"ema": 0.0})
    tune(cached, dataset, Path("cached"), settings)
    photos = data(dataset, "train")
    shown = pixels(photos.folder, photos.photos, networks.SIZE).astype("f4")
    finetune.compile_for(whole, settings, 9, freezing.split(whole, "3 layers").frozen)
    for epoch in range(3):
        order = np.random.default_rng((1, epoch)).permutation(24)
        for start in range(0, 24, 8):
            chosen = order[start : start + 8]
            whole.train_on_batch(shown[chosen], photos.labels[chosen])
    for one, other in zip(cached.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("cut", [cut_within_epoch, cut_before_state, cut_after_state])
def test_a_partly_frozen_run_resumes_too(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, cut: Any) -> None:
    wanted = networks.classifier()
    whole = tune(wanted, dataset, Path("whole"), PARTLY, augmentation=VIEWS)
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut(patch, 2)
        tune(networks.classifier(), dataset, Path("run"), PARTLY, augmentation=VIEWS)
    model = networks.classifier()
    tuned = tune(model, dataset, Path("run"), PARTLY, augmentation=VIEWS)
    assert tuned.checkpoint.name == whole.checkpoint.name
    for one, other in zip(tuned.history, whole.history, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    for one, other in zip(model.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_does_not_fit_the_disk_is_told_before_it_is_computed(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(activations.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    sizes = spied(monkeypatch)
    with pytest.raises(FeatureError, match=r"to 72 photos and views take 0\.0 GB.*lower --augmentation\.views"):
        tune(networks.classifier(), dataset, Path("run"), PARTLY, augmentation=VIEWS)
    assert sizes == []


@pytest.mark.parametrize("unfreeze", ["all", "3 layers"])
def test_bfloat16_trains_and_everything_else_is_float32(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, unfreeze: str
) -> None:
    settings = SETTINGS.model_copy(update={"precision": "mixed_bfloat16", "unfreeze": unfreeze})
    model = networks.classifier()
    before = [values.copy() for values in model.get_weights()]
    kernel = inner(model, keras.layers.Conv2D)[1]
    seen, real = set(), kernel.call

    def call(inputs: Any, **keywords: Any) -> Any:
        seen.add((keras.backend.standardize_dtype(inputs.dtype), precision_of_run[0]))
        return real(inputs, **keywords)

    precision_of_run = ["building"]
    monkeypatch.setattr(kernel, "call", call)
    for event, name in (("on_epoch_begin", "training"), ("on_test_begin", "testing"), ("on_epoch_end", "saving")):
        hook = getattr(Precision, event)

        def told(self: Any, *rest: Any, hook: Any = hook, name: str = name) -> None:
            hook(self, *rest)
            precision_of_run[0] = name

        monkeypatch.setattr(Precision, event, told)
    tuned = tune(model, dataset, Path("run"), settings)
    assert {kind for kind, when in seen if when == "training"} == {"bfloat16"}
    assert {kind for kind, when in seen if when == "testing"} == {"float32"}
    assert any(abs(one - other).max() > 1e-3 for one, other in zip(model.get_weights(), before, strict=True))
    kept = checkpoint.load(tuned.checkpoint)
    assert {layer.dtype_policy.name for layer in kept._flatten_layers()} == {"float32"}
    assert {str(variable.dtype) for variable in kept.variables} == {"float32"}
    photos = data(dataset, "validation")
    answers = kept(pixels(photos.folder, photos.photos, networks.SIZE).astype("f4")).numpy()
    smooth = photos.labels * (1 - settings.label_smoothing) + settings.label_smoothing / 3
    loss = -(smooth * np.log(answers)).sum(axis=1).mean()
    assert loss == pytest.approx(tuned.best["val_loss"], abs=1e-5)
