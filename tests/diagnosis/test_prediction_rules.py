import re

import numpy as np

from headstand.diagnosis import DiagnosisInput, prediction_rules
from headstand.recipe import Head
from tests.diagnosis import runs
from tests.diagnosis.runs import evidence, healthy, one, phase


def test_a_model_no_better_than_the_majority_class_is_an_error() -> None:
    flat = phase(loss=[1.09, 1.09], accuracy=[0.5, 0.6], val_accuracy=[0.6, 0.6])
    run = evidence(**runs.predictions([0] * 60 + [1] * 40, [0] * 100), phases=(flat,), head=Head(learning_rate=1e-6))
    finding = one(prediction_rules.no_better_than_majority(run))
    assert (finding.code, finding.severity) == ("majority-not-beaten", "error")
    assert finding.evidence == "validation accuracy 0.6000; always predicting 'cobra' has 0.6000"
    assert finding.advice == (
        "try a higher learning rate: --head.learning_rate 1e-05; or check photos and labels: "
        "`python -m headstand doctor data/NAME --labels`"
    )
    assert not list(prediction_rules.no_better_than_majority(evidence()))
    better = evidence(**runs.predictions([0] * 60 + [1] * 40, [0] * 99 + [1]))
    assert not list(prediction_rules.no_better_than_majority(better))


def test_a_model_that_only_fits_its_training_photos_is_an_error() -> None:
    run = evidence(**runs.predictions([0] * 60 + [1] * 40, [2] * 50 + [0] * 50))
    finding = one(prediction_rules.no_better_than_majority(run))
    assert (finding.code, finding.severity) == ("validation-at-chance", "error")
    assert re.fullmatch(
        r"accuracy 0\.96\d+ on training photos, validation accuracy 0.1000; always predicting 'cobra' has 0.6000",
        finding.evidence,
    )
    assert "prepare the data again" in finding.advice


def test_a_class_that_is_never_predicted_is_named() -> None:
    run = evidence(**runs.predictions([0] * 10 + [1] * 5 + [2] * 10, [0] * 15 + [2] * 10))
    finding = one(prediction_rules.never_predicted(run))
    assert (finding.code, finding.severity) == ("class-never-predicted", "warning")
    assert finding.title == "1 of 3 classes are never predicted"
    assert finding.evidence == "none of 25 validation photos is predicted to be plank (5 photos)"
    assert "doctor data/NAME --labels" in finding.advice
    unweighted = evidence(truth=run.truth, probabilities=run.probabilities, head=Head(class_weights=False))
    assert one(prediction_rules.never_predicted(unweighted)).advice.endswith("--head.class_weights true")


def test_a_class_of_few_photos_may_be_missing_among_the_predictions() -> None:
    few = evidence(**runs.predictions([0] * 10 + [1] * 4 + [2] * 10, [0] * 14 + [2] * 10))
    assert not list(prediction_rules.never_predicted(few))
    assert not list(prediction_rules.never_predicted(evidence()))
    wrong = evidence(**runs.predictions([0] * 10 + [1] * 10, [1] + [0] * 19))  # predicted for another class
    assert not list(prediction_rules.never_predicted(wrong))


def test_many_missing_classes_are_counted() -> None:
    classes = tuple(f"c{number}" for number in range(9))
    truth = np.repeat(np.arange(9), 6)
    run = evidence(classes=classes, truth=truth, probabilities=np.eye(9, dtype=np.float32)[np.zeros(54, int)])
    assert one(prediction_rules.never_predicted(run)).evidence.endswith("c5 (6 photos) and 3 more")


def test_imbalance_without_weights_is_a_warning() -> None:
    given = runs.predictions([0] * 10 + [1] * 4, [0] * 12 + [1] * 2)
    run = evidence(**given, counts=(400, 100, 120), head=Head(class_weights=False))
    finding = one(prediction_rules.imbalance_ignored(run))
    assert (finding.code, finding.severity) == ("imbalance-ignored", "warning")
    assert finding.evidence == (
        "400 training photos of cobra, 100 of plank; plank: recall 0.50 on validation; cobra: recall 1.00 on validation"
    )
    assert finding.advice == "weight rare classes more: --head.class_weights true"


def test_weighted_or_balanced_classes_are_not_reported() -> None:
    assert not list(prediction_rules.imbalance_ignored(evidence(counts=(400, 100, 120))))
    assert not list(prediction_rules.imbalance_ignored(evidence(head=Head(class_weights=False))))


def test_wrong_predictions_with_saturated_probabilities_are_reported() -> None:
    truth, given = [0] * 200, [0] * 196 + [1] * 4
    run = evidence(**runs.predictions(truth, given, 0.9995))
    finding = one(prediction_rules.saturated_softmax(run))
    assert (finding.code, finding.severity) == ("saturated-softmax", "warning")
    assert finding.evidence == (
        "200 of 200 validation predictions have a probability of 0.999 or more; 4 of them are wrong, 0.1 are expected"
    )
    assert finding.advice == "smooth the labels: --head.label_smoothing 0.1; or train less: --head.epochs 5"
    tuned = evidence(**runs.predictions(truth, given, 0.9995), phases=(healthy(), healthy("finetune")))
    assert one(prediction_rules.saturated_softmax(tuned)).advice == "smooth the labels: --finetune.label_smoothing 0.1"


def test_few_wrong_predictions_are_not_saturation() -> None:
    assert not list(prediction_rules.saturated_softmax(evidence()))
    right = evidence(**runs.predictions([0] * 200, [0] * 200, 0.99999))
    assert not list(prediction_rules.saturated_softmax(right))
    unlucky = evidence(**runs.predictions([0] * 3000, [0] * 2996 + [1] * 4, 0.9991))  # 2.7 are expected to be wrong
    assert not list(prediction_rules.saturated_softmax(unlucky))


def test_a_temperature_at_the_end_of_its_range_is_a_finding() -> None:
    """Confident predictions that are correct only by chance: the best temperature makes all classes equally likely."""
    truth, given = [0, 1, 2] * 100, [0] * 300
    finding = one(prediction_rules.temperature_at_limit(evidence(**runs.predictions(truth, given, 0.9999))))
    assert (finding.code, finding.severity) == ("temperature-at-limit", "warning")
    assert re.fullmatch(
        r"the best temperature is (19\.9\d\d|20\.000), an end of the range 0\.05 to 20; none was applied: the "
        "probabilities do not indicate which predictions are correct",
        finding.evidence,
    )
    assert "doctor data/NAME --labels" in finding.advice


def test_probabilities_that_are_much_too_low_are_a_finding() -> None:
    truth = [0, 1, 2] * 1000
    finding = one(prediction_rules.temperature_at_limit(evidence(**runs.predictions(truth, truth, 0.3334))))
    assert finding.evidence.startswith("the best temperature is 0.05")
    assert finding.evidence.endswith("the predictions are correct far more often than their probabilities suggest")


def test_a_temperature_within_its_range_is_not_reported() -> None:
    assert not list(prediction_rules.temperature_at_limit(evidence()))
    assert not list(prediction_rules.temperature_at_limit(DiagnosisInput()))
