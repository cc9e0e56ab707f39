import re

import numpy as np

from headstand.diagnosis import DiagnosisInput, prediction_rules
from headstand.recipe import Head
from tests.diagnosis import runs
from tests.diagnosis.runs import evidence, healthy, one, phase


def test_a_model_that_equals_the_commonest_class_is_of_no_use() -> None:
    flat = phase(loss=[1.09, 1.09], accuracy=[0.5, 0.6], val_accuracy=[0.6, 0.6])
    run = evidence(**runs.answers([0] * 60 + [1] * 40, [0] * 100), phases=(flat,), head=Head(learning_rate=1e-6))
    finding = one(prediction_rules.no_better_than_majority(run))
    assert (finding.code, finding.severity) == ("majority-not-beaten", "error")
    assert finding.evidence == "val_accuracy=0.6000; always 'cobra' has 0.6000"
    assert finding.advice == (
        "try a higher rate: --head.learning_rate 1e-05; or check photos and labels: "
        "`python -m headstand doctor FOLDER --labels`"
    )
    assert not list(prediction_rules.no_better_than_majority(evidence()))
    better = evidence(**runs.answers([0] * 60 + [1] * 40, [0] * 99 + [1]))
    assert not list(prediction_rules.no_better_than_majority(better))


def test_a_model_that_knows_nothing_but_its_training_photos_has_the_wrong_labels() -> None:
    run = evidence(**runs.answers([0] * 60 + [1] * 40, [2] * 50 + [0] * 50))
    finding = one(prediction_rules.no_better_than_majority(run))
    assert (finding.code, finding.severity) == ("validation-at-chance", "error")
    assert re.fullmatch(
        r"accuracy=0\.96\d+ on training photos, val_accuracy=0.1000; always 'cobra' has 0.6000", finding.evidence
    )
    assert "prepare the data again" in finding.advice


def test_a_class_that_is_never_answered_is_named() -> None:
    run = evidence(**runs.answers([0] * 10 + [1] * 5 + [2] * 10, [0] * 15 + [2] * 10))
    finding = one(prediction_rules.never_predicted(run))
    assert (finding.code, finding.severity) == ("class-never-predicted", "warning")
    assert finding.title == "1 of 3 classes are never predicted"
    assert finding.evidence == "none of 25 validation photos is predicted to be plank (5 photos)"
    assert "doctor FOLDER --labels" in finding.advice
    unweighed = evidence(truth=run.truth, probabilities=run.probabilities, head=Head(class_weights=False))
    assert one(prediction_rules.never_predicted(unweighed)).advice.endswith("--head.class_weights true")


def test_a_class_of_few_photos_may_be_missing_among_the_answers() -> None:
    few = evidence(**runs.answers([0] * 10 + [1] * 4 + [2] * 10, [0] * 14 + [2] * 10))
    assert not list(prediction_rules.never_predicted(few))
    assert not list(prediction_rules.never_predicted(evidence()))
    wrong = evidence(**runs.answers([0] * 10 + [1] * 10, [1] + [0] * 19))  # answered, if for another
    assert not list(prediction_rules.never_predicted(wrong))


def test_many_missing_classes_are_counted() -> None:
    classes = tuple(f"c{number}" for number in range(9))
    truth = np.repeat(np.arange(9), 6)
    run = evidence(classes=classes, truth=truth, probabilities=np.eye(9, dtype=np.float32)[np.zeros(54, int)])
    assert one(prediction_rules.never_predicted(run)).evidence.endswith("c5 (6 photos) and 3 more")


def test_imbalance_without_weights_is_a_warning() -> None:
    given = runs.answers([0] * 10 + [1] * 4, [0] * 12 + [1] * 2)
    run = evidence(**given, counts=(400, 100, 120), head=Head(class_weights=False))
    finding = one(prediction_rules.imbalance_ignored(run))
    assert (finding.code, finding.severity) == ("imbalance-ignored", "warning")
    assert finding.evidence == (
        "400 training photos of cobra, 100 of plank; plank: 0.50 of its validation photos correct; "
        "cobra: 1.00 of its validation photos correct"
    )
    assert finding.advice == "give rare classes more weight: --head.class_weights true"


def test_weighed_or_even_classes_are_no_finding() -> None:
    assert not list(prediction_rules.imbalance_ignored(evidence(counts=(400, 100, 120))))
    assert not list(prediction_rules.imbalance_ignored(evidence(head=Head(class_weights=False))))


def test_sure_and_wrong_is_saturated() -> None:
    truth, given = [0] * 200, [0] * 196 + [1] * 4
    run = evidence(**runs.answers(truth, given, 0.9995))
    finding = one(prediction_rules.saturated(run))
    assert (finding.code, finding.severity) == ("saturated-softmax", "warning")
    assert finding.evidence == (
        "200 of 200 validation predictions have a probability of 0.999 or more, and 4 of them are wrong "
        "where 0.1 should be"
    )
    assert finding.advice == "smooth the labels: --head.label_smoothing 0.1; or train less: --head.epochs 5"
    tuned = evidence(**runs.answers(truth, given, 0.9995), phases=(healthy(), healthy("finetune")))
    assert one(prediction_rules.saturated(tuned)).advice == "smooth the labels: --finetune.label_smoothing 0.1"


def test_sure_and_right_or_wrong_and_unsure_is_no_saturation() -> None:
    assert not list(prediction_rules.saturated(evidence()))
    right = evidence(**runs.answers([0] * 200, [0] * 200, 0.99999))
    assert not list(prediction_rules.saturated(right))
    unlucky = evidence(**runs.answers([0] * 3000, [0] * 2996 + [1] * 4, 0.9991))  # 2.7 of them may be wrong
    assert not list(prediction_rules.saturated(unlucky))


def test_a_temperature_at_the_end_of_its_range_is_a_finding() -> None:
    """Confident answers that are right by chance alone: the best temperature would make all classes equal."""
    truth, given = [0, 1, 2] * 100, [0] * 300
    finding = one(prediction_rules.temperature_at_limit(evidence(**runs.answers(truth, given, 0.9999))))
    assert (finding.code, finding.severity) == ("temperature-at-limit", "warning")
    assert re.fullmatch(
        r"the best temperature is (19\.9\d\d|20\.000), the end of 0\.05 to 20; none was applied: the probabilities say "
        "nothing about which predictions are right",
        finding.evidence,
    )
    assert "doctor FOLDER --labels" in finding.advice


def test_probabilities_that_are_much_too_low_are_a_finding() -> None:
    truth = [0, 1, 2] * 1000
    finding = one(prediction_rules.temperature_at_limit(evidence(**runs.answers(truth, truth, 0.3334))))
    assert finding.evidence.startswith("the best temperature is 0.05")
    assert finding.evidence.endswith("predictions are right far more often than their probabilities say")


def test_a_temperature_within_its_range_is_no_finding() -> None:
    assert not list(prediction_rules.temperature_at_limit(evidence()))
    assert not list(prediction_rules.temperature_at_limit(DiagnosisInput()))
