from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headstand.diagnosis import (
    DeadUnits,
    DiagnosisInput,
    Finding,
    InputWait,
    SearchedRange,
    Suggestion,
    TrainingPhase,
    TrialResult,
    diagnose,
)
from headstand.recipe import Finetune, Head
from headstand.stats import Outcomes
from tests.diagnosis.runs import baseline, evidence, healthy, history, phase, predictions


def test_a_healthy_run_has_no_findings() -> None:
    run = evidence(
        phases=(healthy(), healthy("finetune", 0.81)),
        head=Head(learning_rate=0.01),
        searched=(SearchedRange("learning_rate", (0.001, 0.01, 0.1)),),
        trials=tuple(
            TrialResult({"learning_rate": rate}, value) for rate, value in ((0.001, 0.8), (0.01, 0.95), (0.1, 0.7))
        ),
        waits=(InputWait("features", 60.0, 12.0, 2000),),
        **baseline(0.9),
    )
    assert diagnose(run) == ()


def test_without_input_there_are_no_findings() -> None:
    assert diagnose(DiagnosisInput()) == ()


def test_the_most_severe_finding_comes_first() -> None:
    run = phase(loss=[0.5, 0.8, 1.0], accuracy=[0.9] * 3, val_accuracy=[0.7, 0.71, 0.72], gradient_norm=[1, 2, 20])
    codes = [(finding.severity, finding.code) for finding in diagnose(evidence(phases=(run,)))]
    assert codes == [
        ("error", "loss-not-falling"),
        ("warning", "exploding-gradients"),
        ("note", "generalisation-gap"),
        ("note", "best-epoch-is-last"),
    ]


def test_a_finding_as_text() -> None:
    finding = Finding("code", "note", "Title", "loss=1", (Suggestion("", (("head.dropout", 0.5),)),))
    assert str(finding) == "Title (loss=1): --head.dropout 0.5"


def test_a_gap_between_validation_and_test_comes_before_errors() -> None:
    run = phase(loss=[0.5, 0.8, 1.0], val_accuracy=[0.93, 0.94, 0.95], gradient_norm=[1, 2, 20])
    findings = diagnose(evidence(phases=(run,), test=Outcomes.counted(0.6, 300)))
    assert [finding.code for finding in findings][:2] == ["validation-test-gap", "loss-not-falling"]


def test_all_findings_suggest_the_same_learning_rate() -> None:
    """A constant loss suggests a higher learning rate, dead units and exploding gradients a lower one."""
    run = phase(loss=[1.10, 1.10, 1.09, 1.09], val_accuracy=[0.33] * 4, gradient_norm=[1, 2, 20, 30])
    findings = diagnose(evidence(phases=(run,), head=Head(learning_rate=1e-4), dead=(DeadUnits("inner_1", 100, 90),)))
    suggested = {value for finding in findings for value in changes(finding).get("head.learning_rate", [])}
    assert {finding.code for finding in findings} >= {"loss-not-falling", "exploding-gradients", "dead-relus"}
    assert suggested == {1e-5}


def test_a_rate_at_the_edge_of_its_range_does_not_contradict_the_curves() -> None:
    """The lowest rate was best, but its curve suggests a higher one: the more severe finding is kept."""
    run = phase(loss=[1.10, 1.09, 1.08, 1.08], val_accuracy=[0.33] * 4)
    rates = (0.0001, 0.001)
    findings = diagnose(
        evidence(
            phases=(run,),
            head=Head(learning_rate=0.0001),
            searched=(SearchedRange("learning_rate", rates),),
            trials=(TrialResult({"learning_rate": 0.0001}, 0.95), TrialResult({"learning_rate": 0.001}, 0.5)),
        )
    )
    by_code = {finding.code: finding.advice for finding in findings}
    # The search space contains a higher rate, so it is not suggested again.
    assert by_code["loss-not-falling"] == "the usual changes are set already or were part of the search"
    assert by_code["learning-rate-at-edge"] == "extend the search: add 1e-05 to the values of learning_rate"


def test_searched_keys_are_not_overridden() -> None:
    over = phase(loss=[0.9, 0.5, 0.2, 0.1], val_loss=[0.8, 0.4, 0.6, 0.9], val_accuracy=[0.7, 0.9, 0.88, 0.85])
    searched = evidence(phases=(over,), head=Head(dropout=0.1), searched=(SearchedRange("dropout", (0.1, 0.2)),))
    (finding,) = [one for one in diagnose(searched) if one.code == "overfitting"]
    assert finding.advice == "extend the search: add 0.5 to the values of dropout"
    contained = evidence(phases=(over,), head=Head(dropout=0.1), searched=(SearchedRange("dropout", (0.1, 0.5)),))
    (finding,) = [one for one in diagnose(contained) if one.code == "overfitting"]
    assert finding.advice == "the usual changes are set already or were part of the search"


def test_the_second_of_two_contradictory_suggestions_is_dropped() -> None:
    """Validation accuracy and loss both rise to the last epoch: only fewer epochs are suggested."""
    run = phase(loss=[0.9, 0.6, 0.3, 0.1], val_loss=[0.5, 0.4, 0.6, 0.9], val_accuracy=[0.5, 0.6, 0.7, 0.9])
    findings = diagnose(evidence(phases=(run,), head=Head(inner=(), dropout=0.5, epochs=4)))
    by_code = {finding.code: finding.advice for finding in findings}
    assert by_code["overfitting"] == "train less: --head.epochs 2"
    assert by_code["best-epoch-is-last"] == "follow the suggestions above first, which change the same keys"


def changes(finding: Finding) -> dict[str, list[Any]]:
    """The values that a finding suggests, by key."""
    found: dict[str, list[Any]] = {}
    for suggestion in finding.suggestions:
        for key, value in suggestion.changes:
            found.setdefault(key, []).append(value)
    return found


losses = st.lists(st.sampled_from([0.01, 0.2, 0.6, 1.0, 1.09, 1.3, 5.0, float("nan")]), min_size=4, max_size=4)
accuracies = st.lists(st.sampled_from([0.2, 0.33, 0.5, 0.8, 0.9, 0.99]), min_size=4, max_size=4)
norms = st.lists(st.sampled_from([1e-5, 0.1, 1.0, 50.0, float("inf")]), min_size=4, max_size=4)


@st.composite
def trainings(draw: st.DrawFn, section: Any) -> TrainingPhase:
    names = {"loss": losses, "val_loss": losses, "accuracy": accuracies, "val_accuracy": accuracies}
    metrics = {name: draw(values) for name, values in {**names, "gradient_norm": norms}.items()}
    return TrainingPhase(section, history(**metrics), draw(st.integers(1, 4)))


@st.composite
def runs(draw: st.DrawFn) -> DiagnosisInput:
    """Runs with all problems that the rules detect."""
    size = draw(st.sampled_from([(), (8,), (8, 4)]))
    head = Head(
        inner=size,
        activation=("relu", "tanh") if len(size) == 2 else ("relu",),
        batch_norm=draw(st.booleans()) and bool(size),
        dropout=draw(st.sampled_from([0.0, 0.5])),
        learning_rate=draw(st.sampled_from([1e-4, 0.1, 1.0])),
        class_weights=draw(st.booleans()),
        epochs=4,
    )
    values = {"learning_rate": head.learning_rate, "dropout": head.dropout, "inner": float(sum(size[:1]))}
    ranges = {"learning_rate": (1e-4, 0.01, 0.1, 1.0), "dropout": (0.0, 0.25, 0.5), "inner": (0.0, 8.0, 16.0)}
    searched = draw(st.sets(st.sampled_from(sorted(ranges))))
    trials = [TrialResult(values, draw(st.sampled_from([0.5, 0.99])))]
    trials += [TrialResult({name: ranges[name][1] for name in ranges}, 0.7)]
    predicted = draw(st.sampled_from([0, 1, 2]))
    phases = [draw(trainings("head"))] + ([draw(trainings("finetune"))] if draw(st.booleans()) else [])
    return evidence(
        head=head,
        phases=tuple(phases),
        counts=draw(st.sampled_from([(300, 250, 280), (900, 20, 300)])),
        searched=tuple(SearchedRange(name, ranges[name]) for name in sorted(searched)),
        trials=tuple(trials),
        settings=2,
        indistinguishable=draw(st.integers(0, 1)),
        dead=(DeadUnits("inner_1", 100, 90),) if draw(st.booleans()) else (),
        test=Outcomes.counted(draw(st.sampled_from([0.4, 0.95])), 300),
        **draw(st.sampled_from([{}, baseline(0.995)])),
        **(predictions([0, 1, 2] * 100, [predicted] * 300, confidence=0.9999) if draw(st.booleans()) else {}),
    )


@settings(max_examples=60, deadline=None)
@given(runs())
def test_no_two_findings_suggest_different_values_for_one_key(run: DiagnosisInput) -> None:
    findings = diagnose(run)
    suggested: dict[str, set[Any]] = {}
    for finding in findings:
        assert finding.suggestions and all(map(str, finding.suggestions))
        for key, values in changes(finding).items():
            suggested.setdefault(key, set()).update(values)
    assert {key: values for key, values in suggested.items() if len(values) > 1} == {}
    # Suggested values are valid and change the settings.
    by_section: dict[str, dict[str, Any]] = {"head": {}, "finetune": {}}
    for finding in findings:
        for suggestion in finding.suggestions:
            for key, value in () if suggestion.complete else suggestion.changes:
                section, _, name = key.partition(".")
                by_section.setdefault(section, {})[name] = value
            own = {key.partition(".")[2]: value for key, value in suggestion.changes if key.startswith("head.")}
            if own and not suggestion.complete:
                assert Head.model_validate({**run.head.model_dump(), **own}) != run.head
    Finetune.model_validate({**run.finetune.model_dump(), **by_section["finetune"]})
