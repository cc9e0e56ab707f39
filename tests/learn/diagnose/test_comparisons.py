import pytest

from headstand.learn.diagnose import Searched, Tried, comparisons
from headstand.recipe import Finetune, Head
from tests.learn.diagnose.runs import evidence, healthy, one, phase


def test_a_baseline_that_is_as_good_is_told() -> None:
    run = phase(val_accuracy=[0.8, 0.90])
    finding = one(comparisons.baseline_not_beaten(evidence(phases=(run,), baseline=("ridge regression", 0.95))))
    assert (finding.code, finding.severity) == ("baseline-not-beaten", "warning")
    assert finding.evidence == "val_accuracy=0.9000; ridge regression on the same features has 0.9500"
    assert finding.advice.endswith("--head.inner []")
    linear = evidence(phases=(run,), baseline=("ridge regression", 0.95), head=Head(inner=()))
    assert one(comparisons.baseline_not_beaten(linear)).advice.endswith(
        "--head.weight_decay 1; or train longer: --head.epochs 20"
    )
    equal = evidence(phases=(run,), baseline=("ridge regression", 0.9))
    assert one(comparisons.baseline_not_beaten(equal)).severity == "note"
    assert not list(comparisons.baseline_not_beaten(evidence(phases=(run,), baseline=("ridge", 0.85))))
    assert not list(comparisons.baseline_not_beaten(evidence(phases=(run,))))


RATES = (0.0001, 0.001, 0.01, 0.1)


def rates(*accuracies: float) -> tuple[Tried, ...]:
    return tuple(Tried({"learning_rate": rate}, value) for rate, value in zip(RATES, accuracies, strict=True))


def test_a_rate_at_the_upper_edge_is_searched_further() -> None:
    run = evidence(
        head=Head(learning_rate=0.1),
        searched=(Searched("learning_rate", RATES),),
        trials=rates(0.5, 0.6, 0.7, 0.9),
    )
    finding = one(comparisons.edge_of_range(run))
    assert (finding.code, finding.severity) == ("learning-rate-at-edge", "warning")
    assert finding.title == "learning_rate is at the edge of its range"
    assert finding.evidence == (
        "learning_rate=0.1 is the highest of 0.0001 to 0.1; its best val_accuracy=0.9000, elsewhere 0.7000"
    )
    assert finding.advice == "search on: add 1 to the values of learning_rate"


def test_a_rate_at_the_lower_edge_by_a_hair_is_a_note() -> None:
    run = evidence(
        head=Head(learning_rate=0.0001),
        searched=(Searched("learning_rate", RATES),),
        trials=rates(0.95, 0.949, 0.7, 0.2),
    )
    finding = one(comparisons.edge_of_range(run))
    assert finding.severity == "note"
    assert finding.advice == "search on: add 1e-05 to the values of learning_rate"


@pytest.mark.parametrize(
    ("rate", "accuracies"), [(0.01, (0.5, 0.6, 0.9, 0.7)), (0.1, (0.5, 0.6, 0.95, 0.9))], ids=["inside", "no gain"]
)
def test_a_rate_within_its_range_is_no_finding(rate: float, accuracies: tuple[float, ...]) -> None:
    run = evidence(
        head=Head(learning_rate=rate), searched=(Searched("learning_rate", RATES),), trials=rates(*accuracies)
    )
    assert not list(comparisons.edge_of_range(run))


def test_the_end_of_the_possible_is_no_edge() -> None:
    trials = (Tried({"dropout": 0.0}, 0.9), Tried({"dropout": 0.5}, 0.5))
    assert not list(comparisons.edge_of_range(evidence(searched=(Searched("dropout", (0.0, 0.5)),), trials=trials)))
    run = evidence(
        head=Head(dropout=0.5),
        searched=(Searched("dropout", (0.0, 0.5)),),
        trials=(Tried({"dropout": 0.0}, 0.5), Tried({"dropout": 0.5}, 0.9)),
    )
    assert one(comparisons.edge_of_range(run)).advice == "search on: add 0.75 to the values of dropout"


def test_the_edge_of_a_continuous_range_is_its_outer_twentieth() -> None:
    searched = (Searched("learning_rate", low=0.001, high=0.1, log=True),)
    trials = tuple(Tried({"learning_rate": rate}, value) for rate, value in ((0.001, 0.3), (0.02, 0.5), (0.09, 0.9)))
    near = evidence(head=Head(learning_rate=0.09), searched=searched, trials=trials)
    finding = one(comparisons.edge_of_range(near))
    assert finding.evidence == (
        "learning_rate=0.09 is the highest of 0.001 to 0.1; its best val_accuracy=0.9000, elsewhere 0.5000"
    )
    assert finding.advice == 'search on: --search.parameters \'{"learning_rate": {"high": 1}}\''
    within = evidence(head=Head(learning_rate=0.05), searched=searched, trials=trials)
    assert not list(comparisons.edge_of_range(within))


def test_layer_sizes_are_searched_on_in_whole_numbers() -> None:
    sizes = (50, 100, 200)
    run = evidence(
        head=Head(inner=(200,)),
        searched=(Searched("inner", sizes),),
        trials=tuple(Tried({"inner": (size,)}, 0.5 + size / 1000) for size in sizes),
    )
    assert one(comparisons.edge_of_range(run)).advice == "search on: add 400 to the values of inner"


def trials(*accuracies: float) -> tuple[Tried, ...]:
    return tuple(Tried({}, accuracy) for accuracy in accuracies)


def test_trials_within_the_noise_are_not_told_apart() -> None:
    finding = one(comparisons.indistinguishable(evidence(trials=trials(0.5, 0.96, 0.95, 0.95))))
    assert (finding.code, finding.severity) == ("validation-too-small", "note")
    # sqrt(2) x 1.96 x the standard error of 0.96 on 300 photos with two right and two wrong more
    assert finding.evidence == (
        "3 of 4 trials lie within 0.033 of the best, val_accuracy=0.9600, which 300 photos cannot tell apart at 95 %; "
        "to tell 0.9600 from 0.9500 takes some 3302 photos"
    )
    assert "--split.validation 0.3" in finding.advice


def test_few_validation_photos_are_a_warning() -> None:
    run = evidence()
    small = evidence(truth=run.truth[::10], probabilities=run.probabilities[::10], trials=trials(0.9, 0.9))
    finding = one(comparisons.indistinguishable(small))
    assert finding.severity == "warning"
    assert finding.evidence.endswith("30 photos cannot tell apart at 95 %")  # equal ones no number tells apart


def test_trials_that_differ_clearly_are_no_finding() -> None:
    assert not list(comparisons.indistinguishable(evidence(trials=trials(0.96, 0.8, 0.5))))
    assert not list(comparisons.indistinguishable(evidence(trials=trials(0.96))))


def test_fine_tuning_that_loses_is_told() -> None:
    head, tuned = phase(val_accuracy=[0.8, 0.95]), phase("finetune", val_accuracy=[0.7, 0.9, 0.6])
    finding = one(comparisons.finetuning_worse(evidence(phases=(head, tuned), finetune=Finetune(learning_rate=0.003))))
    assert (finding.code, finding.severity) == ("fine-tuning-worse", "warning")
    assert finding.evidence == ("val_accuracy=0.9500 with the backbone as it was, 0.9000 after 3 epochs of fine-tuning")
    assert finding.advice.startswith("a lower rate: --finetune.learning_rate 0.001; or more --finetune.epochs; or 0 of")
    hair = phase("finetune", val_accuracy=[0.947])
    assert one(comparisons.finetuning_worse(evidence(phases=(head, hair)))).severity == "note"
    assert not list(comparisons.finetuning_worse(evidence(phases=(healthy(), healthy("finetune")))))
    assert not list(comparisons.finetuning_worse(evidence()))
