import math

import pytest

from headstand.diagnosis import training_rules
from headstand.recipe import Finetune, Head
from tests.diagnosis.runs import evidence, healthy, one, phase


def test_a_loss_that_is_no_number_is_an_error() -> None:
    run = phase(loss=[1.0, math.nan, math.inf], val_loss=[1.0, 2.0, math.nan], val_accuracy=[0.5, 0.4, 0.3])
    finding = one(training_rules.not_finite(evidence(phases=(run,), head=Head(learning_rate=0.1))))
    assert (finding.code, finding.severity) == ("loss-not-a-number", "error")
    assert finding.evidence == "loss is nan in epoch 2, and 2 of 3 epochs have such a loss"
    assert finding.advice == "try a lower rate: --head.learning_rate 0.01"
    assert not list(training_rules.not_finite(evidence()))


def test_a_loss_that_stays_at_guessing_wants_a_higher_rate() -> None:
    run = phase(loss=[1.10, 1.09, 1.08, 1.08], val_accuracy=[0.33] * 4)
    finding = one(training_rules.loss_not_falling(evidence(phases=(run,), head=Head(learning_rate=1e-6))))
    assert (finding.code, finding.severity) == ("loss-not-falling", "error")
    assert finding.evidence == (
        "loss went from 1.1 (epoch 1) to 1.08 (epoch 4), at least 1.08; guessing among 3 classes has 1.1"
    )
    assert finding.advice == "try a higher rate: --head.learning_rate 1e-05"


def test_a_loss_that_rises_wants_a_lower_rate() -> None:
    run = phase("finetune", loss=[0.5, 0.8, 1.0], val_accuracy=[0.7, 0.6, 0.5])
    finding = one(training_rules.loss_not_falling(evidence(phases=(run,), finetune=Finetune(learning_rate=0.02))))
    assert finding.title == "The loss of fine-tuning does not fall"
    assert finding.advice == "try a lower rate: --finetune.learning_rate 0.002"


@pytest.mark.parametrize(
    "losses",
    [[1.0, 0.5, 0.3], [1.09, 1.05, 0.98], [0.001, 0.001, 0.002], [1.1, 1.1]],
    ids=["falls", "begins to fall", "wobbles near zero", "too short to tell"],
)
def test_a_loss_that_falls_is_no_finding(losses: list[float]) -> None:
    run = phase(loss=losses, val_accuracy=[0.9] * len(losses))
    assert not list(training_rules.loss_not_falling(evidence(phases=(run,))))


def test_a_validation_loss_above_guessing_wants_a_lower_rate() -> None:
    run = phase(loss=[0.5, 0.01], val_loss=[6.3, 9.55], val_accuracy=[0.9, 0.966])
    finding = one(training_rules.above_guessing(evidence(phases=(run,), head=Head(learning_rate=1.0))))
    assert (finding.code, finding.severity) == ("loss-above-guessing", "warning")
    assert finding.evidence == "val_loss=9.55 in epoch 2, which was kept; guessing among 3 classes has 1.1"
    assert finding.advice == "try a lower rate: --head.learning_rate 0.1"
    after = phase(loss=[0.5, 0.01], val_loss=[0.3, 9.55], val_accuracy=[0.97, 0.966])
    for healthy_run in (after, phase(val_accuracy=[0.9]), healthy()):
        assert not list(training_rules.above_guessing(evidence(phases=(healthy_run,))))


OVER = {
    "loss": [0.9, 0.6, 0.4, 0.3, 0.1, 0.02],
    "val_loss": [0.8, 0.5, 0.4, 0.31, 0.4, 0.55],
    "val_accuracy": [0.7, 0.8, 0.85, 0.9, 0.89, 0.91],
}


def test_overfitting_is_told_with_both_losses() -> None:
    finding = one(training_rules.overfitting(evidence(phases=(phase(**OVER),))))
    assert (finding.code, finding.severity) == ("overfitting", "warning")
    assert finding.evidence == (
        "val_loss rose from 0.31 (epoch 4) to 0.55 (epoch 6) while loss fell to 0.02; epoch 6 was kept"
    )
    assert finding.advice == "try more dropout: --head.dropout 0.5"


def test_overfitting_after_the_kept_epoch_is_a_note_unless_it_is_large() -> None:
    mild = {**OVER, "val_loss": [0.8, 0.5, 0.4, 0.31, 0.35, 0.40]}
    assert one(training_rules.overfitting(evidence(phases=(phase(best=4, **mild),)))).severity == "note"
    assert one(training_rules.overfitting(evidence(phases=(phase(best=6, **mild),)))).severity == "warning"
    assert one(training_rules.overfitting(evidence(phases=(phase(best=4, **OVER),)))).severity == "warning"


@pytest.mark.parametrize(
    ("head", "section", "advice"),
    [
        (Head(dropout=0.5), "head", "try a smaller head: --head.inner []"),
        (Head(dropout=0.5, inner=()), "head", "train less: --head.epochs 4"),
        (Head(), "finetune", "fine-tune less: --finetune.epochs 4"),
    ],
)
def test_the_advice_against_overfitting_is_what_was_not_done_yet(head: Head, section: str, advice: str) -> None:
    assert one(training_rules.overfitting(evidence(phases=(phase(section, **OVER),), head=head))).advice == advice


def test_losses_that_rise_together_or_hardly_are_no_overfitting() -> None:
    together = {**OVER, "loss": [0.9, 0.6, 0.4, 0.3, 0.4, 0.5]}
    hardly = {**OVER, "val_loss": [0.8, 0.5, 0.4, 0.31, 0.32, 0.36]}
    for figures in (together, hardly):
        assert not list(training_rules.overfitting(evidence(phases=(phase(**figures),))))
    assert not list(training_rules.overfitting(evidence()))


def test_a_wide_gap_of_the_last_training_is_noted() -> None:
    run = phase(accuracy=[0.9, 0.999], val_accuracy=[0.7, 0.8])
    finding = one(training_rules.generalisation_gap(evidence(phases=(run,))))
    assert (finding.code, finding.severity) == ("generalisation-gap", "note")
    assert finding.evidence == "accuracy=0.999 on training photos, val_accuracy=0.800 in epoch 2"
    assert "--head.dropout 0.5" in finding.advice
    assert not list(training_rules.generalisation_gap(evidence(phases=(run, healthy("finetune")))))
    small = phase(accuracy=[0.9, 0.999], val_accuracy=[0.7, 0.91])
    assert not list(training_rules.generalisation_gap(evidence(phases=(small,))))


def test_a_training_that_still_rose_at_its_end_is_to_be_longer() -> None:
    run = phase(val_accuracy=[0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9])
    finding = one(training_rules.best_is_last(evidence(phases=(run,))))
    assert (finding.code, finding.severity) == ("best-epoch-is-last", "warning")
    assert finding.evidence == "val_accuracy=0.9000 in epoch 8 of 8, 0.7500 until epoch 5"
    assert finding.advice == "train longer: --head.epochs 16"
    tuned = phase("finetune", val_accuracy=[0.5, 0.6, 0.9])
    assert one(training_rules.best_is_last(evidence(phases=(tuned,)))).advice == "train longer: --finetune.epochs 5"


def test_a_last_epoch_that_is_best_by_a_hair_is_a_note() -> None:
    run = phase(val_accuracy=[0.5, 0.9, 0.95, 0.953, 0.952, 0.955])
    assert one(training_rules.best_is_last(evidence(phases=(run,)))).severity == "note"
    assert not list(training_rules.best_is_last(evidence()))
    assert not list(training_rules.best_is_last(evidence(phases=(phase(val_accuracy=[0.5, 0.9]),))))
