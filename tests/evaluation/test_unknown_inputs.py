from pathlib import Path

import h5py
import numpy as np
import pytest

from headstand import heads
from headstand.evaluation import unknown_inputs
from headstand.evaluation.unknown_inputs import Detector, accepted, described, feature_scale, fit, record, threshold
from headstand.features import backbones
from headstand.heads import checkpoint
from headstand.heads.checkpoint import CheckpointError
from headstand.recipe import Backbone, Head
from tests import networks

pytestmark = pytest.mark.usefixtures("small_networks")


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns features and labels of two classes in different directions of 6, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], 60).astype(np.int32)
    centers = np.array([[4, 4, 0, 0, 1, 1], [0, 0, 4, 4, 1, 1]], np.float32)
    return (centers[labels] + rng.normal(0, 0.5, (120, 6))).astype(np.float32), labels


def test_a_score_worked_by_hand() -> None:
    """Centered, the rows are (1, 0), (0, -2) and (3, 3); the prototypes are the first axis and the diagonal."""
    detector = Detector(np.array([1, 2], np.float32), np.array([[1, 0], [0.5**0.5, 0.5**0.5]], np.float32))
    features = np.array([[2, 2], [1, 0], [4, 5]], np.float32)
    assert detector.similarities(features) == pytest.approx([1, 0, 1], abs=1e-6)


@pytest.mark.parametrize("centered", [True, False])
def test_training_photos_are_more_similar_than_others(centered: bool) -> None:
    features, labels = clusters()
    detector = fit(features, labels, 1, centered)
    assert detector.prototypes.dtype == np.float32
    assert np.linalg.norm(detector.prototypes, axis=1) == pytest.approx(np.ones(len(detector.prototypes)), abs=1e-6)
    seen, unseen = detector.similarities(features), detector.similarities(clusters(seed=5)[0])
    others = np.random.default_rng(2).normal([4, 0, 4, 0, 1, 1], 0.5, (50, 6)).astype(np.float32)
    strange = detector.similarities(others)
    lowest = threshold(unseen)
    assert accepted(unseen, lowest)["share"] >= 0.95
    assert accepted(seen, lowest)["share"] > 0.9
    assert accepted(strange, lowest)["share"] < 0.1


def test_the_same_photos_give_the_same_detector_of_two_prototypes_per_class() -> None:
    features, labels = clusters()
    first, second = fit(features, labels, 1, True), fit(features, labels, 1, True)
    np.testing.assert_array_equal(first.prototypes, second.prototypes)
    assert first.prototypes.shape == (4, 6)
    assert first.center == pytest.approx(features.mean(axis=0))
    assert not fit(features, labels, 1, False).center.any()


def test_a_class_of_equal_photos_has_one_prototype() -> None:
    features, labels = clusters()
    features[labels == 1] = features[-1]
    assert fit(features, labels, 1, False).prototypes.shape == (3, 6)
    assert fit(np.zeros((4, 6), np.float32), np.array([0, 0, 1, 1]), 1, True).similarities(features) == pytest.approx(0)


def test_the_threshold_accepts_at_least_the_share() -> None:
    similarities = np.arange(100) / 100
    assert threshold(similarities) == 0.04
    assert accepted(similarities, 0.04)["share"] == 0.96
    assert threshold(np.array([0.5])) == 0.5


def test_the_sentences_name_threshold_and_shares() -> None:
    known = record(0.5, {"validation": np.array([0.4, 0.6, 0.7, 0.8]), "generated": np.array([0.1, 0.2])})
    assert known["accepted"]["validation"]["interval"] == pytest.approx([0.301, 0.954], abs=1e-3)
    assert described(known) == (
        "An input whose similarity to the training photos is below 0.500 is reported as unknown. Accepted as known: "
        "75% of 4 validation photos (30% to 95%), 0% of 2 generated photos (0% to 66%)."
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return checkpoint.save(networks.classifier(), tmp_path / "shapes_01_0.900.h5", networks.about())


def test_a_checkpoint_stores_the_detector_and_is_otherwise_unchanged(saved: Path) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    before = checkpoint.load(saved)(pixels).numpy()
    assert unknown_inputs.load(saved) is None
    features, labels = clusters()
    detector = Detector(**{**fit(features, labels, 1, True).__dict__, "threshold": 0.25})
    for _ in range(2):  # the second time it is replaced
        unknown_inputs.save(saved, detector)
    loaded = unknown_inputs.load(saved)
    assert loaded is not None and loaded.threshold == 0.25
    for name in ("center", "prototypes"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(detector, name))
    assert checkpoint.metadata(saved) == networks.about()
    np.testing.assert_array_equal(checkpoint.load(saved)(pixels).numpy(), before)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("fault", ["link", "dtype", "nan", "threshold", "rows", "group"])
def test_a_damaged_detector_is_refused(saved: Path, fault: str) -> None:
    values = np.zeros((1 if fault == "rows" else 4, 6), np.float64 if fault == "dtype" else np.float32)
    values[0, 1] = np.nan if fault == "nan" else 0
    with h5py.File(saved, "a") as file:
        if fault == "link":
            file["known_inputs"] = h5py.ExternalLink("other.h5", "x")
            (saved.parent / "other.h5").write_bytes(b"")
        elif fault == "group":
            file.create_group("known_inputs")
        else:
            dataset = file.create_dataset("known_inputs", data=values)
            if fault != "threshold":
                dataset.attrs["threshold"] = 0.5
    with pytest.raises(CheckpointError, match=r"shapes_01_0\.900\.h5 is damaged .*; train again"):
        unknown_inputs.load(saved)


@pytest.mark.parametrize("depths", [1, 2])
def test_the_features_of_a_checkpoint_are_those_of_the_extractor_rescaled(depths: int, tmp_path: Path) -> None:
    extractor = backbones.extractor(Backbone(name="MobileNet", size=32, weights="none", depths=depths))
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype(np.float32)
    features = extractor(pixels).numpy()
    head = heads.build(Head(inner=()), features.shape[1], 3, 1)
    model = heads.assemble(*backbones.balanced(extractor, head, features), "shapes")
    path = checkpoint.save(model, tmp_path / "shapes.h5", networks.about())
    for each in (model, checkpoint.load(path)):
        probabilities, given = unknown_inputs.with_features(each)(pixels)
        np.testing.assert_array_equal(probabilities, each(pixels))
        np.testing.assert_allclose(given, features * feature_scale(each), rtol=1e-5, atol=1e-6)
