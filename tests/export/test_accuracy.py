import numpy as np
import pytest

from headstand.export.accuracy import warnings

LABELS = ("cat", "dog", "owl")
TRUTH = np.repeat([0, 1, 2], 12)


def predicted(classes: np.ndarray, count: int = 3) -> np.ndarray:
    """Probabilities whose likeliest class is the given one."""
    return np.where(np.eye(count, dtype=bool)[classes], 0.8, 0.2 / (count - 1))


def noisy(classes: np.ndarray, share: float = 0.2) -> np.ndarray:
    """The classes with some of them wrong."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(len(classes)) < share, (classes + 1) % 3, classes)


@pytest.mark.parametrize("others", [None, {}, {"none": predicted(noisy(TRUTH, 0.5))}])
def test_an_accurate_model_gets_no_warning(others: dict[str, np.ndarray] | None) -> None:
    assert warnings(predicted(TRUTH), TRUTH, LABELS, others) == []
    assert warnings(predicted(noisy(TRUTH)), TRUTH, LABELS, others) == []


def test_reversed_labels_are_named() -> None:
    (found,) = warnings(predicted(2 - TRUTH), TRUTH, LABELS)
    assert found == (
        "the accuracy is 0.333, and 1.000 if the labels were in another order: it predicts 'owl' for 'cat', 'cat' for "
        "'owl'; check the order of the labels against that of training (Keras sorts them)"
    )
    (found,) = warnings(predicted(1 - TRUTH[:24], 2), TRUTH[:24], LABELS[:2])
    assert found.startswith(
        "the accuracy is 0.000, and 1.000 if the labels were in another order: it predicts 'dog' for"
    )


def test_another_preprocessing_that_is_better_is_named() -> None:
    others = {"xception": predicted(noisy(TRUTH, 0.6)), "none": predicted(noisy(TRUTH))}
    (found,) = warnings(predicted(np.zeros_like(TRUTH)), TRUTH, LABELS, others)
    assert "convert it with --preprocess none" in found
    assert "a Rescaling layer at its start" in found
    (found,) = warnings(predicted(np.zeros_like(TRUTH)), TRUTH, LABELS, {"caffe": predicted(TRUTH)})
    assert found.startswith("the accuracy is 0.333, and 1.000 with --preprocess caffe")


def test_the_cause_that_explains_most_is_named() -> None:
    # Of a model that is never right, any other preprocessing is better.
    (found,) = warnings(predicted((TRUTH + 1) % 3), TRUTH, LABELS, {"caffe": predicted(np.zeros_like(TRUTH))})
    assert found.startswith("the accuracy is 0.000, and 1.000 if the labels were in another order")


def test_an_accuracy_near_chance_has_likely_causes() -> None:
    (found,) = warnings(predicted(np.zeros_like(TRUTH)), TRUTH, LABELS, {"none": predicted(np.zeros_like(TRUTH))})
    assert found.startswith("an accuracy of 0.333 on 36 photos is near chance (0.333); likely causes are the order of")
    (found,) = warnings(predicted(np.zeros_like(TRUTH)), TRUTH, LABELS)
    assert "--preprocess" not in found


def test_one_predicted_class_is_not_reported_as_another_class_order() -> None:
    truth = np.array([0] * 4 + [1] * 46)
    (found,) = warnings(predicted(np.zeros_like(truth), 2), truth, LABELS[:2])
    assert found.startswith("an accuracy of 0.080 on 50 photos is near chance (0.920)")


def test_few_photos_of_many_classes_do_not_show_another_class_order() -> None:
    truth = np.arange(5)
    (found,) = warnings(predicted((truth + 1) % 5, 5), truth, tuple("abcde"))
    assert "near chance" in found
