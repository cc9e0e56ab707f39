from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from headstand.diagnosis import SearchedRange, TrialResult, comparison_rules
from headstand.recipe import Finetune, Head
from headstand.stats import Outcomes
from tests.diagnosis.runs import baseline, evidence, healthy, one, phase, predictions


def test_a_baseline_that_is_as_good_is_reported() -> None:
    run = phase(val_accuracy=[0.8, 0.90])
    finding = one(comparison_rules.baseline_not_beaten(evidence(phases=(run,), **baseline(0.95))))
    assert (finding.code, finding.severity) == ("baseline-not-beaten", "warning")
    assert finding.evidence == "validation accuracy 0.9000; logistic regression on the same features has 0.9500"
    assert finding.advice.endswith("--head.inner []")
    linear = evidence(phases=(run,), **baseline(0.95), head=Head(inner=()))
    assert one(comparison_rules.baseline_not_beaten(linear)).advice.endswith(
        "--head.optimizer adamw --head.weight_decay 1; or train longer: --head.epochs 4"
    )
    equal = evidence(phases=(run,), **baseline(0.9))
    assert one(comparison_rules.baseline_not_beaten(equal)).severity == "note"
    assert not list(comparison_rules.baseline_not_beaten(evidence(phases=(run,), **baseline(0.85))))
    assert not list(comparison_rules.baseline_not_beaten(evidence(phases=(run,))))


RATES = (0.0001, 0.001, 0.01, 0.1)


def rates(*accuracies: float) -> tuple[TrialResult, ...]:
    return tuple(TrialResult({"learning_rate": rate}, value) for rate, value in zip(RATES, accuracies, strict=True))


def test_a_rate_at_the_upper_edge_suggests_higher_rates() -> None:
    run = evidence(
        head=Head(learning_rate=0.1),
        searched=(SearchedRange("learning_rate", RATES),),
        trials=rates(0.5, 0.6, 0.7, 0.9),
    )
    finding = one(comparison_rules.edge_of_range(run))
    assert (finding.code, finding.severity) == ("learning-rate-at-edge", "warning")
    assert finding.title == "learning_rate is at the edge of its range"
    assert finding.evidence == (
        "learning_rate=0.1 is the highest of 0.0001 to 0.1; its best validation accuracy 0.9000, elsewhere 0.7000"
    )
    assert finding.advice == "extend the search: add 1 to the values of learning_rate"


def test_a_rate_at_the_lower_edge_within_noise_is_a_note() -> None:
    run = evidence(
        head=Head(learning_rate=0.0001),
        searched=(SearchedRange("learning_rate", RATES),),
        trials=rates(0.95, 0.949, 0.7, 0.2),
    )
    finding = one(comparison_rules.edge_of_range(run))
    assert finding.severity == "note"
    assert finding.advice == "extend the search: add 1e-05 to the values of learning_rate"


@pytest.mark.parametrize(
    ("rate", "accuracies"), [(0.01, (0.5, 0.6, 0.9, 0.7)), (0.1, (0.5, 0.6, 0.95, 0.9))], ids=["inside", "no gain"]
)
def test_a_rate_within_its_range_is_not_reported(rate: float, accuracies: tuple[float, ...]) -> None:
    run = evidence(
        head=Head(learning_rate=rate), searched=(SearchedRange("learning_rate", RATES),), trials=rates(*accuracies)
    )
    assert not list(comparison_rules.edge_of_range(run))


def test_the_smallest_valid_value_is_not_reported_as_an_edge() -> None:
    trials = (TrialResult({"dropout": 0.0}, 0.9), TrialResult({"dropout": 0.5}, 0.5))
    assert not list(
        comparison_rules.edge_of_range(evidence(searched=(SearchedRange("dropout", (0.0, 0.5)),), trials=trials))
    )
    run = evidence(
        head=Head(dropout=0.5),
        searched=(SearchedRange("dropout", (0.0, 0.5)),),
        trials=(TrialResult({"dropout": 0.0}, 0.5), TrialResult({"dropout": 0.5}, 0.9)),
    )
    assert one(comparison_rules.edge_of_range(run)).advice == "extend the search: add 0.75 to the values of dropout"


def test_zero_lies_below_every_log_range() -> None:
    searched = (SearchedRange("dropout", low=0.1, high=0.8, log=True),)
    trials = (TrialResult({"dropout": 0.0}, 0.9), TrialResult({"dropout": 0.5}, 0.5))
    assert not list(comparison_rules.edge_of_range(evidence(head=Head(dropout=0.0), searched=searched, trials=trials)))


def test_the_edge_of_a_continuous_range_is_its_outer_twentieth() -> None:
    searched = (SearchedRange("learning_rate", low=0.001, high=0.1, log=True),)
    trials = tuple(
        TrialResult({"learning_rate": rate}, value) for rate, value in ((0.001, 0.3), (0.02, 0.5), (0.09, 0.9))
    )
    near = evidence(head=Head(learning_rate=0.09), searched=searched, trials=trials)
    finding = one(comparison_rules.edge_of_range(near))
    assert finding.evidence == (
        "learning_rate=0.09 is the highest of 0.001 to 0.1; its best validation accuracy 0.9000, elsewhere 0.5000"
    )
    assert finding.advice == 'extend the search: --search.parameters \'{"learning_rate": {"high": 1}}\''
    within = evidence(head=Head(learning_rate=0.05), searched=searched, trials=trials)
    assert not list(comparison_rules.edge_of_range(within))


def test_suggested_layer_sizes_are_integers() -> None:
    sizes = (50, 100, 200)
    run = evidence(
        head=Head(inner=(200,)),
        searched=(SearchedRange("inner", sizes),),
        trials=tuple(TrialResult({"inner": (size,)}, 0.5 + size / 1000) for size in sizes),
    )
    assert one(comparison_rules.edge_of_range(run)).advice == "extend the search: add 400 to the values of inner"


def trials(*accuracies: float) -> tuple[TrialResult, ...]:
    return tuple(TrialResult({}, accuracy) for accuracy in accuracies)


def test_indistinguishable_settings_are_counted() -> None:
    run = evidence(trials=trials(0.5, 0.96, 0.95, 0.95), settings=4, indistinguishable=2)
    finding = one(comparison_rules.indistinguishable(run))
    assert (finding.code, finding.severity) == ("validation-too-small", "note")
    assert finding.evidence == (
        "2 of 3 other settings are statistically indistinguishable from the best, validation accuracy 0.9600, on 300 "
        "validation photos; the difference of 0.9600 and 0.9500 is significant with about 3302 photos"
    )
    # There are only 1130 photos.
    assert finding.advice == "use the simplest or fastest of them"


def test_more_validation_photos_are_only_suggested_if_they_suffice() -> None:
    run = evidence(trials=trials(0.96, 0.93), settings=2, indistinguishable=1, counts=(500, 500, 500))
    finding = one(comparison_rules.indistinguishable(run))
    assert "significant with about 444 photos" in finding.evidence
    assert finding.advice.endswith(
        "and prepare the data again: --split.train 0.5 --split.validation 0.3 --split.test 0.2"
    )
    assert one(comparison_rules.indistinguishable(replace(run, given=("validation",)))).advice == (
        "use the simplest or fastest of them"
    )


def test_few_validation_photos_are_a_warning() -> None:
    run = evidence()
    small = evidence(
        truth=run.truth[::10],
        probabilities=run.probabilities[::10],
        trials=trials(0.9, 0.9),
        settings=2,
        indistinguishable=1,
    )
    finding = one(comparison_rules.indistinguishable(small))
    assert finding.severity == "warning"
    # No number of photos separates equal ones.
    assert finding.evidence.endswith("validation accuracy 0.9000, on 30 validation photos")


def test_settings_that_differ_clearly_are_not_reported() -> None:
    assert not list(comparison_rules.indistinguishable(evidence(trials=trials(0.96, 0.8, 0.5), settings=3)))
    assert not list(comparison_rules.indistinguishable(evidence(trials=trials(0.96), settings=1)))


def test_fine_tuning_that_lowers_accuracy_is_reported() -> None:
    head, tuned = phase(val_accuracy=[0.8, 0.95]), phase("finetune", val_accuracy=[0.7, 0.88, 0.6])
    finding = one(
        comparison_rules.finetuning_worse(evidence(phases=(head, tuned), finetune=Finetune(learning_rate=0.003)))
    )
    assert (finding.code, finding.severity) == ("fine-tuning-worse", "warning")
    assert finding.evidence == "validation accuracy 0.9500 with a frozen backbone, 0.8800 after 3 epochs of fine-tuning"
    assert finding.advice == (
        "try a lower learning rate: --finetune.learning_rate 0.001; or skip fine-tuning: --finetune.epochs 0"
    )
    slightly = phase("finetune", val_accuracy=[0.947])
    assert one(comparison_rules.finetuning_worse(evidence(phases=(head, slightly)))).severity == "note"
    assert not list(comparison_rules.finetuning_worse(evidence(phases=(healthy(), healthy("finetune")))))
    assert not list(comparison_rules.finetuning_worse(evidence()))


def test_fine_tuning_that_still_improves_suggests_more_epochs() -> None:
    head, rising = phase(val_accuracy=[0.8, 0.95]), phase("finetune", val_accuracy=[0.5, 0.6, 0.7, 0.8])
    finding = one(comparison_rules.finetuning_worse(evidence(phases=(head, rising))))
    assert finding.advice == "train longer: --finetune.epochs 6"


def test_a_paired_comparison_makes_a_small_loss_of_fine_tuning_a_warning() -> None:
    before, after = np.ones(300, bool), np.ones(300, bool)
    before[:30], after[:40] = False, False
    head = replace(phase(val_accuracy=[0.9]), correct=before)
    tuned = phase("finetune", val_accuracy=[0.8667])
    assert one(comparison_rules.finetuning_worse(evidence(phases=(head, tuned)))).severity == "note"
    known = replace(tuned, correct=after)
    assert one(comparison_rules.finetuning_worse(evidence(phases=(head, known)))).severity == "warning"


def outcome(accuracy: float, count: int) -> dict[str, Any]:
    """Predictions for validation photos with an accuracy."""
    truth = [0] * count
    return predictions(truth, [int(index >= round(accuracy * count)) for index in range(count)])


def test_a_gap_between_validation_and_test_is_reported_with_likely_causes() -> None:
    run = evidence(**outcome(0.956, 250), test=Outcomes.counted(0.681, 260), settings=14)
    finding = one(comparison_rules.validation_test_gap(run))
    assert (finding.code, finding.severity) == ("validation-test-gap", "warning")
    assert finding.title == "Test accuracy is significantly lower than validation accuracy"
    assert finding.evidence == (
        "validation accuracy 0.9560 on 250 photos, test accuracy 0.6808 on 260: difference 0.275, 95 % interval 0.211 "
        "to 0.335"
    )
    for cause in ("another source", "validation photos may have near duplicates", "the maximum over 14 heads and all"):
        assert cause in finding.advice


def test_a_higher_test_accuracy_is_reported() -> None:
    finding = one(comparison_rules.validation_test_gap(evidence(**outcome(0.6, 250), test=Outcomes.counted(0.9, 260))))
    assert finding.title == "Test accuracy is significantly higher than validation accuracy"
    assert "test photos may have near duplicates among the training photos" in finding.advice
    assert "maximum" not in finding.advice


def test_after_a_refit_on_the_validation_photos_a_higher_test_accuracy_is_expected() -> None:
    higher, lower = Outcomes.counted(0.9, 260), Outcomes.counted(0.3, 260)
    assert not list(comparison_rules.validation_test_gap(evidence(**outcome(0.6, 250), test=higher, refitted=True)))
    finding = one(comparison_rules.validation_test_gap(evidence(**outcome(0.6, 250), test=lower, refitted=True)))
    assert finding.title == "Test accuracy is significantly lower than validation accuracy"


@pytest.mark.parametrize(
    ("validation", "test"), [((0.95, 57), (0.9, 60)), ((0.9, 200), (0.85, 200)), ((0.9, 200), (0.9, 200))]
)
def test_a_gap_within_noise_is_not_reported(validation: tuple[float, int], test: tuple[float, int]) -> None:
    run = evidence(**outcome(*validation), test=Outcomes.counted(*test))
    assert not list(comparison_rules.validation_test_gap(run))
    assert not list(comparison_rules.validation_test_gap(evidence(**outcome(*validation))))
