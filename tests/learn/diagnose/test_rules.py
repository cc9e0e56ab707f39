from headstand.learn.diagnose import Evidence, Finding, Searched, Tried, Wait, diagnose
from headstand.recipe import Head
from tests.learn.diagnose.runs import evidence, healthy, phase


def test_a_healthy_run_has_no_findings() -> None:
    run = evidence(
        phases=(healthy(), healthy("finetune", 0.81)),
        head=Head(learning_rate=0.01),
        searched=(Searched("learning_rate", (0.001, 0.01, 0.1)),),
        trials=tuple(Tried({"learning_rate": rate}, value) for rate, value in ((0.001, 0.8), (0.01, 0.95), (0.1, 0.7))),
        waits=(Wait("features", 60.0, 12.0, 2000),),
        baseline=("ridge regression", 0.9),
    )
    assert diagnose(run) == ()


def test_nothing_is_known_and_nothing_is_said() -> None:
    assert diagnose(Evidence()) == ()


def test_the_worst_comes_first() -> None:
    run = phase(loss=[0.5, 0.8, 1.0], accuracy=[0.9] * 3, val_accuracy=[0.7, 0.71, 0.72], gradient_norm=[1, 2, 20])
    codes = [(finding.severity, finding.code) for finding in diagnose(evidence(phases=(run,)))]
    assert codes == [
        ("error", "loss-not-falling"),
        ("warning", "exploding-gradients"),
        ("note", "generalisation-gap"),
        ("note", "best-epoch-is-last"),
    ]


def test_a_finding_is_a_line() -> None:
    finding = Finding("code", "note", "Title", "loss=1", "--head.dropout 0.5")
    assert str(finding) == "Title (loss=1): --head.dropout 0.5"
