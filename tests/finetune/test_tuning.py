import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstand import finetune
from headstand.evaluation.predictions import pixels
from headstand.features import FeatureError, backbones
from headstand.finetune import batches, freezing
from headstand.finetune.callbacks import MixedPrecisionCallback
from headstand.heads import checkpoint
from headstand.preparation.manifest import Dataset
from headstand.recipe import Finetune
from tests import networks
from tests.finetune.tuned import PARTLY, PLAIN, SETTINGS, VIEWS, checkpoints, data, inner, tune
from tests.networks import keras

pytestmark = pytest.mark.usefixtures("small_networks", "eager")


def test_all_layers_but_batch_normalization_and_scale_are_trained(dataset: Dataset) -> None:
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
    tune(model, dataset, Path("run"), SETTINGS.model_copy(update={"epochs": 1}))
    assert [layer.trainable for layer in kept] == [False] * 3
    for layer, old in zip(kept, before, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), old, strict=True)), layer.name
    for layer, old in zip(convolutions, kernels, strict=True):
        assert abs(layer.get_weights()[0] - old).max() > 1e-3
    assert abs(model.get_layer("logits").get_weights()[0] - head).max() > 1e-3
    trainable = {variable.path.split("/")[-1] for variable in model.trainable_variables}
    assert trainable == {"kernel", "bias"}


def test_best_epoch_is_selected(dataset: Dataset, graphs: None, capsys: pytest.CaptureFixture[str]) -> None:
    model = networks.classifier()
    changes = {"epochs": 6, "batch_size": 8, "learning_rate": 0.01, "label_smoothing": 0.0}
    settings = SETTINGS.model_copy(update=changes)
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
    assert checkpoint.metadata(tuned.checkpoint) == networks.about(dataset.digest)
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


def test_a_refit_ends_with_the_selected_epoch(dataset: Dataset) -> None:
    """Its learning rates are those of the whole schedule, and its checkpoint is named by the epoch."""
    whole = tune(networks.classifier(), dataset, Path("whole"), validated=False)
    Path("run").mkdir()
    photos, about = data(dataset, "train"), networks.about(dataset.digest)
    run = (networks.classifier(), photos, SETTINGS, PLAIN, 1, Path("run"), about, None)
    tuned = finetune.run(*run, epochs=1)
    assert (tuned.checkpoint.name, tuned.best_epoch) == ("shapes_01_all.h5", 1)
    assert checkpoints(Path("run")) == ["shapes_01_all.h5"]
    (only,) = tuned.history
    assert only == pytest.approx(whole.history[0], abs=1e-5)


def test_memory_holds_at_most_one_batch_of_validation_photos(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sizes = batches.decoded, []
    monkeypatch.setattr(batches, "decoded", lambda *given: (sizes.append(len(given[1])), real(*given))[1])
    photos, settings = data(dataset, "validation"), SETTINGS.model_copy(update={"batch_size": 5})
    Path("run").mkdir()
    finetune.run(networks.classifier(), photos, settings, PLAIN, 1, Path("run"), networks.about(), photos)
    assert max(sizes) == 4
    assert sum(sizes) >= 2 * 12


def test_sample_weights_are_applied(dataset: Dataset) -> None:
    """Photos that weigh nothing teach nothing."""
    model = networks.classifier()
    before = [values.copy() for values in model.get_weights()]
    settings = SETTINGS.model_copy(update={"epochs": 1, "weight_decay": 0.0})
    Path("run").mkdir()
    finetune.run(model, data(dataset, "train", 0.0), settings, PLAIN, 1, Path("run"), networks.about(), None)
    assert all(np.array_equal(one, other) for one, other in zip(model.get_weights(), before, strict=True))


def test_backbone_of_a_fine_tuned_checkpoint_is_reusable(dataset: Dataset) -> None:
    tuned = tune(networks.classifier(), dataset, Path("run"), SETTINGS.model_copy(update={"epochs": 1}))
    lent = backbones.extractor(networks.Backbone(name="MobileNet", size=64, weights=str(tuned.checkpoint)))
    trained = checkpoint.load(tuned.checkpoint).get_layer("backbone").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(lent.get_weights(), trained, strict=True))


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures the frozen part is given, batch by batch."""
    real, sizes = batches.FrozenPrefix.__init__, []

    def init(self: Any, *rest: Any) -> None:
        real(self, *rest)
        call = self.call
        self.call = lambda pixels: (sizes.append(len(pixels)), call(pixels))[1]

    monkeypatch.setattr(batches.FrozenPrefix, "__init__", init)
    return sizes


def test_frozen_part_runs_once_and_the_rest_is_trained(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = spied(monkeypatch)
    model = networks.classifier()
    first, second = (layer.get_weights()[0].copy() for layer in inner(model, keras.layers.Conv2D))
    head = model.get_layer("logits").get_weights()[0].copy()
    tuned = tune(model, dataset, Path("run"), PARTLY, augmentation=VIEWS)
    assert sum(sizes) == 3 * 24 + 12  # and that for two epochs
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


def test_cached_training_equals_training_of_the_whole_network(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without views both see the photos themselves in the same order, so both end with the same weights."""
    cached, whole = networks.classifier(), networks.classifier()
    settings = PARTLY.model_copy(update={"ema": 0.0})
    tune(cached, dataset, Path("cached"), settings)
    photos = data(dataset, "train")
    shown = pixels(photos.folder, photos.photos, networks.SIZE).astype("f4")
    finetune.compile_for(whole, settings, 4, freezing.split(whole, "3 layers").frozen)
    for epoch in range(2):
        order = np.random.default_rng((1, epoch)).permutation(24)
        for start in range(0, 24, 12):
            chosen = order[start : start + 12]
            whole.train_on_batch(shown[chosen], photos.labels[chosen])
    for one, other in zip(cached.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_too_little_disk_space_for_activations_is_reported_before_computing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(batches.shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    sizes = spied(monkeypatch)
    with pytest.raises(FeatureError, match=r"of 72 photos and views take 0\.0 GB.*lower --augmentation\.views"):
        tune(networks.classifier(), dataset, Path("run"), PARTLY, augmentation=VIEWS)
    assert sizes == []


@pytest.mark.parametrize("unfreeze", ["all", pytest.param("3 layers", marks=pytest.mark.slow)])
def test_bfloat16_trains_and_everything_else_is_float32(
    dataset: Dataset, graphs: None, monkeypatch: pytest.MonkeyPatch, unfreeze: str
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
        hook = getattr(MixedPrecisionCallback, event)

        def message(self: Any, *rest: Any, hook: Any = hook, name: str = name) -> None:
            hook(self, *rest)
            precision_of_run[0] = name

        monkeypatch.setattr(MixedPrecisionCallback, event, message)
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


def test_labels_and_class_weights_of_photos(dataset: Dataset) -> None:
    circles, others = [], []
    for photo in dataset.split("train"):
        (circles if photo.class_ == "circle" else others).append(photo)
    photos = finetune.LabelledPhotos.of(dataset, [*others, *circles[:2]], balanced=True)
    assert photos.labels.dtype == photos.weights.dtype == np.float32
    assert photos.labels.argmax(axis=1).tolist() == [1] * 8 + [2] * 8 + [0] * 2
    assert photos.weights.tolist() == [0.75] * 16 + [3.0] * 2
    assert photos.paths[0] == dataset.folder / others[0].path
    assert finetune.LabelledPhotos.of(dataset, others).weights.tolist() == [1.0] * 16


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


def test_label_smoothing_of_the_recipe_is_applied() -> None:
    model = networks.classifier()
    finetune.compile_for(model, Finetune(label_smoothing=0.3), steps=10)
    answer = np.array([[0.7, 0.2, 0.1]], np.float32)
    wanted = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    assert float(model.loss(np.array([[1.0, 0, 0]], np.float32), answer)) == pytest.approx(wanted, rel=1e-5)
