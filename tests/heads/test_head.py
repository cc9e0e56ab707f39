import numpy as np
import pytest

from headstand import heads
from headstand.features import backbones
from headstand.heads import FeatureSplit
from headstand.recipe import Backbone, Head
from tests import networks
from tests.networks import keras


def blobs(count: int, seed: int, classes: int = 3, spread: float = 0.3) -> FeatureSplit:
    """Points around one corner for each class."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.int32)
    corners = 2 * np.eye(classes, 4)
    return FeatureSplit((corners[labels] + rng.normal(0, spread, (count, 4))).astype(np.float32), labels)


SETTINGS = Head(inner=(8,), epochs=12, learning_rate=0.02, batch_size=7)


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_separable_classes_are_learned() -> None:
    train, validation = blobs(60, 1), blobs(30, 2)
    fit = heads.fit(SETTINGS, train, validation, 3, seed=1)
    assert fit.best["val_accuracy"] == 1.0
    assert len(fit.history) == 12
    assert fit.history[-1]["loss"] < fit.history[0]["loss"] / 3
    answers = fit.model(validation.features).numpy()
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert (answers.argmax(axis=1) == validation.labels).all()


def test_metrics_are_those_of_the_model() -> None:
    train, validation = blobs(20, 1, spread=1.2), blobs(31, 2, spread=1.2)
    fit = heads.fit(SETTINGS, train, validation, 3, seed=4)
    answers = fit.model(validation.features).numpy()
    assert fit.best["val_accuracy"] == pytest.approx((answers.argmax(axis=1) == validation.labels).mean(), abs=1e-6)
    loss = -np.log(answers[np.arange(31), validation.labels]).mean()
    assert fit.best["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_result_is_a_function_of_the_seed() -> None:
    train, validation = blobs(30, 1, spread=1), blobs(15, 2)
    settings = SETTINGS.model_copy(update={"dropout": 0.4})
    first, again, other = (heads.fit(settings, train, validation, 3, seed=seed) for seed in (5, 5, 6))
    assert same(first.model, again.model)
    assert first.history == again.history
    assert not same(first.model, other.model)


def test_many_heads_at_once_are_those_of_one_by_one() -> None:
    train, validation = blobs(30, 1, spread=1), blobs(15, 2)
    settings = [SETTINGS, SETTINGS.model_copy(update={"dropout": 0.4}), SETTINGS.model_copy(update={"inner": ()})]
    many = heads.fit_many(settings, train, validation, 3, seed=5)
    for each, fit in zip(settings, many, strict=True):
        alone = heads.fit(each, train, validation, 3, seed=5)
        assert same(fit.model, alone.model)
        assert fit.history == alone.history


def test_batches_are_shuffled() -> None:
    """Sorted by class, unshuffled batches would each hold one class: with plain order the last class wins all."""
    train = blobs(60, 1)
    order = np.argsort(train.labels, kind="stable")
    fit = heads.fit(
        SETTINGS.model_copy(update={"epochs": 3}),
        FeatureSplit(train.features[order], train.labels[order]),
        blobs(30, 2),
        3,
        1,
    )
    assert fit.best["val_accuracy"] > 0.9


def test_class_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0, 0, 0, 0, 1, 2, 2], np.int32)
    weights = heads.class_weights(labels, 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [7 / 12, 7 / 3, 7 / 6], rtol=1e-6)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=labels), rtol=1e-6)
    np.testing.assert_allclose(np.bincount(labels) * weights, 7 / 3, rtol=1e-6)
    assert heads.class_weights(labels, 3, balanced=False).tolist() == [1, 1, 1]
    assert np.isfinite(heads.class_weights(labels, 4)).all()


def test_rare_class_is_predicted() -> None:
    """Two classes in the same place: only the weights decide which one is answered there."""
    labels = np.array([0] * 36 + [1] * 4, np.int32)
    same_place = FeatureSplit(np.ones((40, 4), np.float32), labels)
    settings = Head(inner=(), epochs=40, learning_rate=0.05, batch_size=40)
    fair = heads.fit(settings, same_place, same_place, 2, 1).model(np.ones((1, 4), np.float32)).numpy()[0]
    # Best epoch by accuracy would keep the one that ignores the rare class, so train on a validation of its own.
    plain = heads.fit(settings.model_copy(update={"class_weights": False}), same_place, same_place, 2, 1)
    assert plain.model(np.ones((1, 4), np.float32)).numpy()[0, 1] < 0.25
    assert abs(fair[1] - 0.5) < 0.2


def test_inner_layers_dropout_and_activation_are_built() -> None:
    built = heads.build(Head(inner=(7, 5), activation="tanh", dropout=0.25), 4, 3, seed=1)
    assert [layer.name for layer in built.layers[1:]] == ["inner_1", "inner_2", "dropout", "logits", "probabilities"]
    assert [built.get_layer(name).units for name in ("inner_1", "inner_2", "logits")] == [7, 5, 3]
    assert built.get_layer("inner_1").activation is keras.activations.tanh
    assert built.get_layer("dropout").rate == 0.25
    assert [layer.name for layer in heads.build(Head(inner=()), 4, 3, 1).layers[1:]] == ["logits", "probabilities"]


def test_the_best_epoch_is_by_accuracy_then_loss() -> None:
    def figures(accuracy: float, loss: float) -> dict[str, float]:
        return {"val_accuracy": accuracy, "val_loss": loss}

    ranked = [figures(1.0, np.nan), figures(0.2, np.inf), figures(0.5, 1.0), figures(0.8, 2.0), figures(0.8, 1.5)]
    ranks = [heads.rank(each) for each in ranked]
    assert ranks[0] == (False, 1.0, 0.0)
    assert sorted(ranks[1:]) == ranks[1:]
    assert max(ranks) == ranks[-1]
    assert min(ranks[2:]) > max(ranks[:2])


def test_the_model_is_that_of_the_best_epoch() -> None:
    train, validation = blobs(30, 1, spread=1.5), blobs(12, 2, spread=1.5)
    states: list[int] = []
    fit = heads.fit(SETTINGS, train, validation, 3, seed=3, after_epoch=lambda number, figures: states.append(number))
    assert states == list(range(1, 13))
    ranks = [heads.rank(figures) for figures in fit.history]
    assert fit.best_epoch == ranks.index(max(ranks)) + 1
    # The same seed, stopped at that epoch, gives the same head.
    short = heads.fit(SETTINGS.model_copy(update={"epochs": fit.best_epoch}), train, validation, 3, seed=3)
    assert short.best_epoch == fit.best_epoch
    assert same(short.model, fit.model)


def test_non_finite_loss_is_never_selected() -> None:
    train = blobs(30, 1)
    poisoned = FeatureSplit(train.features.copy(), train.labels)
    settings = Head(inner=(), epochs=4, learning_rate=0.001, batch_size=30)
    # Answers of nothing but NaN count as the first class: all right on this validation split.
    first_class = FeatureSplit(blobs(9, 2).features, np.zeros(9, np.int32))
    sound = heads.fit(settings, poisoned, first_class, 3, seed=1)
    poisoned.features[0, 0] = np.nan
    diverged = heads.fit(settings, poisoned, first_class, 3, seed=1)
    assert diverged.best["val_accuracy"] == 1.0
    assert not np.isfinite(diverged.best["val_loss"])
    assert heads.rank(sound.best) > heads.rank(diverged.best)


def test_assembled_model_equals_backbone_then_head(small_networks: None) -> None:
    extractor = backbones.extractor(Backbone(name="ResNet50", size=32, weights="none"))
    top = heads.build(Head(inner=(6, 4), dropout=0.5), networks.WIDTH, 3, seed=2)
    model = heads.assemble(extractor, top, "whole")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    assert model.input.shape == (None, 32, 32, 3)
    np.testing.assert_allclose(model(pixels), top(extractor(pixels)), rtol=1e-5, atol=1e-6)
    assert model.name == "whole"
    assert model.get_layer("backbone") is extractor.get_layer("backbone")


def test_describe() -> None:
    settings = Head(inner=(100, 50), dropout=0.2, learning_rate=0.001)
    text = "learning_rate=0.001 inner=100+50 dropout=0.2 activation=relu epochs=10 batch_size=20"
    assert heads.describe(settings) == text
    assert heads.setting_text(Head(inner=()), "inner") == "none"
