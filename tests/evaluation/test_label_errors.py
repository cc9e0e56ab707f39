import numpy as np
import pytest

from headstand.evaluation import label_errors
from headstand.evaluation.label_errors import LabelError, SuspectLabel, check, out_of_sample, suspect_labels
from headstand.preparation.doctor import examine
from tests import networks


def clusters(each: int = 40, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre for each class, and the true labels."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), each)
    return (rng.normal(0, 1, (len(truth), 8)) + 6 * np.eye(classes, 8)[truth]).astype(np.float32), truth


def test_finds_planted_label_errors_and_few_others():
    features, truth = clusters()
    given = truth.copy()
    wrong = np.arange(3, len(truth), 13)
    given[wrong] = (given[wrong] + 1) % 3
    probabilities = out_of_sample(features, given, np.arange(len(given)), seed=1)
    assert probabilities.shape == (120, 3)
    assert np.allclose(probabilities.sum(1), 1)
    found = suspect_labels(probabilities, given)
    indices = {suspect.index for suspect in found}
    assert len(indices & set(wrong.tolist())) >= 7  # of 9
    assert len(indices - set(wrong.tolist())) <= 1
    assert all(suspect.predicted == truth[suspect.index] for suspect in found if suspect.index in wrong)


def test_correct_labels_are_rarely_reported():
    features, truth = clusters()
    assert len(suspect_labels(out_of_sample(features, truth, np.arange(len(truth)), seed=1), truth)) <= 1


def test_near_duplicates_with_the_same_wrong_label_are_in_the_same_fold():
    features, truth = clusters()
    given, groups = truth.copy(), np.arange(len(truth))
    # Copies of one photo, all with one wrong label, look like a class of their own.
    features[:20], given[:20] = features[0], 1
    separate = out_of_sample(features, given, groups, seed=1)[:20, 0]
    groups[:20] = 0
    together = out_of_sample(features, given, groups, seed=1)[:20, 0]
    assert together.min() > separate.max() + 0.3


def test_the_rule_of_confident_learning():
    # Average probability of a class over its own photos: 0.8 and 0.6 are the thresholds.
    given = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.7, 0.3], [0.05, 0.95], [0.75, 0.25]])
    assert suspect_labels(probabilities, given) == []
    probabilities[3] = 0.85, 0.15
    assert suspect_labels(probabilities, given) == [SuspectLabel(3, 1, 0, 0.15, 0.85)]


def test_the_largest_margin_comes_first():
    given = np.array([0] * 5 + [1] * 5)
    probabilities = np.where(given[:, None] == [0, 1], 0.9, 0.1)
    probabilities[2] = 0.08, 0.92
    probabilities[7] = 0.98, 0.02
    assert [suspect.index for suspect in suspect_labels(probabilities, given)] == [7, 2]


@pytest.mark.parametrize(
    ("given", "groups"), [([], []), ([0, 0, 0], [0, 1, 2]), ([0, 0, 1], [0, 1, 2]), ([0, 0, 1, 1], [0, 1, 2, 2])]
)
def test_too_few_classes_or_photos_are_an_error(given, groups):
    given, groups = np.array(given, dtype=int), np.array(groups, dtype=int)
    with pytest.raises(LabelError, match="at least two classes with at least two different photos"):
        out_of_sample(np.zeros((len(given), 4), np.float32), given, groups, seed=1)


def test_a_photo_in_the_wrong_folder_is_found_by_its_features(dataset, small_networks, monkeypatch):
    # The stand-in network is drawn at random; the mean colours separate the shapes as a trained network would.
    monkeypatch.setattr(label_errors, "Extractor", lambda backbone: _Colours())
    photo = next(photo for photo in dataset.split("train") if photo.class_ == "circle")
    (dataset.folder / "manifest.csv").unlink()
    (dataset.folder / photo.path).rename(dataset.folder / "train/square/moved.png")
    found = check(examine(dataset.folder), networks.recipe("photos"))
    assert [finding.kind.code for finding in found] == ["label_error"]
    case = found[0].cases[0]
    assert case.files == ("train/square/moved.png",)
    assert case.detail.startswith("labelled square (") and "looks like circle (" in case.detail


class _Colours:
    def rows(self, folder, photos):
        from headstand.features import Extraction
        from headstand.images import decode

        rows = [decode(folder / photo.path, 16).reshape(-1, 3).mean(0) for photo in photos]
        return Extraction(np.array(rows, np.float32), len(rows))
