import math

import pytest

from headstand.diagnosis import DeadUnits, InputWait, training_rules
from headstand.recipe import Finetune, Head
from tests.diagnosis.runs import evidence, healthy, one, phase


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    run = phase(loss=[1.0, math.nan, math.inf], val_loss=[1.0, 2.0, math.nan], val_accuracy=[0.5, 0.4, 0.3])
    finding = one(training_rules.not_finite(evidence(phases=(run,), head=Head(learning_rate=0.1))))
    assert (finding.code, finding.severity) == ("loss-not-a-number", "error")
    assert finding.evidence == "loss is nan in epoch 2, and 2 of 3 epochs have such a loss"
    assert finding.advice == "try a lower learning rate: --head.learning_rate 0.01"
    assert not list(training_rules.not_finite(evidence()))


def test_a_constant_high_loss_suggests_a_higher_learning_rate() -> None:
    run = phase(loss=[1.10, 1.09, 1.08, 1.08], val_accuracy=[0.33] * 4)
    finding = one(training_rules.loss_not_falling(evidence(phases=(run,), head=Head(learning_rate=1e-6))))
    assert (finding.code, finding.severity) == ("loss-not-falling", "error")
    assert finding.evidence == (
        "loss went from 1.1 (epoch 1) to 1.08 (epoch 4), minimum 1.08; uniform predictions over 3 classes have 1.1"
    )
    assert finding.advice == "try a higher learning rate: --head.learning_rate 1e-05"


def test_a_rising_loss_suggests_a_lower_learning_rate() -> None:
    run = phase("finetune", loss=[0.5, 0.8, 1.0], val_accuracy=[0.7, 0.6, 0.5])
    finding = one(training_rules.loss_not_falling(evidence(phases=(run,), finetune=Finetune(learning_rate=0.02))))
    assert finding.title == "The loss of fine-tuning does not fall"
    assert finding.advice == "try a lower learning rate: --finetune.learning_rate 0.002"


@pytest.mark.parametrize(
    "losses",
    [[1.0, 0.5, 0.3], [1.09, 1.05, 0.98], [0.001, 0.001, 0.002], [1.1, 1.1]],
    ids=["falls", "begins to fall", "varies near zero", "too few epochs"],
)
def test_a_falling_loss_is_not_reported(losses: list[float]) -> None:
    run = phase(loss=losses, val_accuracy=[0.9] * len(losses))
    assert not list(training_rules.loss_not_falling(evidence(phases=(run,))))


def test_a_validation_loss_above_uniform_predictions_suggests_a_lower_learning_rate() -> None:
    run = phase(loss=[0.5, 0.01], val_loss=[6.3, 9.55], val_accuracy=[0.9, 0.966])
    finding = one(training_rules.above_uniform(evidence(phases=(run,), head=Head(learning_rate=1.0))))
    assert (finding.code, finding.severity) == ("loss-above-guessing", "warning")
    assert finding.evidence == "val_loss=9.55 in epoch 2, which was kept; uniform predictions over 3 classes have 1.1"
    assert finding.advice == "try a lower learning rate: --head.learning_rate 0.1"
    after = phase(loss=[0.5, 0.01], val_loss=[0.3, 9.55], val_accuracy=[0.97, 0.966])
    for healthy_run in (after, phase(val_accuracy=[0.9]), healthy()):
        assert not list(training_rules.above_uniform(evidence(phases=(healthy_run,))))


OVER = {
    "loss": [0.9, 0.6, 0.4, 0.3, 0.1, 0.02],
    "val_loss": [0.8, 0.5, 0.4, 0.31, 0.4, 0.55],
    "val_accuracy": [0.7, 0.8, 0.85, 0.9, 0.89, 0.91],
}


def test_overfitting_is_reported_with_both_losses() -> None:
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
def test_the_suggestion_against_overfitting_depends_on_the_settings(head: Head, section: str, advice: str) -> None:
    assert one(training_rules.overfitting(evidence(phases=(phase(section, **OVER),), head=head))).advice == advice


def test_losses_that_rise_together_or_slightly_are_not_overfitting() -> None:
    together = {**OVER, "loss": [0.9, 0.6, 0.4, 0.3, 0.4, 0.5]}
    slightly = {**OVER, "val_loss": [0.8, 0.5, 0.4, 0.31, 0.32, 0.36]}
    for metrics in (together, slightly):
        assert not list(training_rules.overfitting(evidence(phases=(phase(**metrics),))))
    assert not list(training_rules.overfitting(evidence()))


def test_a_wide_gap_of_the_last_training_is_noted() -> None:
    run = phase(accuracy=[0.9, 0.999], val_accuracy=[0.7, 0.8])
    finding = one(training_rules.generalisation_gap(evidence(phases=(run,))))
    assert (finding.code, finding.severity) == ("generalisation-gap", "note")
    assert finding.evidence == "accuracy 0.999 on training photos, validation accuracy 0.800 in epoch 2"
    assert "--head.dropout 0.5" in finding.advice
    assert not list(training_rules.generalisation_gap(evidence(phases=(run, healthy("finetune")))))
    small = phase(accuracy=[0.9, 0.999], val_accuracy=[0.7, 0.91])
    assert not list(training_rules.generalisation_gap(evidence(phases=(small,))))


def test_accuracy_that_still_rises_at_the_end_suggests_more_epochs() -> None:
    run = phase(val_accuracy=[0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9])
    finding = one(training_rules.best_is_last(evidence(phases=(run,))))
    assert (finding.code, finding.severity) == ("best-epoch-is-last", "warning")
    assert finding.evidence == "validation accuracy 0.9000 in epoch 8 of 8, 0.7500 until epoch 5"
    assert finding.advice == "train longer: --head.epochs 16"
    tuned = phase("finetune", val_accuracy=[0.5, 0.6, 0.9])
    assert one(training_rules.best_is_last(evidence(phases=(tuned,)))).advice == "train longer: --finetune.epochs 5"


def test_a_last_epoch_that_is_best_within_noise_is_a_note() -> None:
    run = phase(val_accuracy=[0.5, 0.9, 0.95, 0.953, 0.952, 0.955])
    assert one(training_rules.best_is_last(evidence(phases=(run,)))).severity == "note"
    assert not list(training_rules.best_is_last(evidence()))
    assert not list(training_rules.best_is_last(evidence(phases=(phase(val_accuracy=[0.5, 0.9]),))))


def test_gradients_that_grow_tenfold_are_exploding() -> None:
    run = phase("finetune", gradient_norm=[2.0, 1.5, 31.0, 9.0])
    finding = one(training_rules.exploding(evidence(phases=(run,), finetune=Finetune(learning_rate=0.01))))
    assert (finding.code, finding.severity) == ("exploding-gradients", "warning")
    assert finding.evidence == "gradient_norm went from 2 (epoch 1) to 31 (epoch 3)"
    assert finding.advice == "try a lower learning rate: --finetune.learning_rate 0.001"


def test_gradients_that_are_not_finite_are_an_error() -> None:
    for norm in (math.nan, math.inf):
        finding = one(training_rules.exploding(evidence(phases=(phase(gradient_norm=[2.0, norm]),))))
        assert finding.severity == "error"
        assert f"to {norm} (epoch 2)" in finding.evidence


def test_gradients_that_shrink_or_vary_are_healthy() -> None:
    assert not list(training_rules.exploding(evidence()))
    for norms in ([2.0, 0.1, 5.0, 0.1], [30.0, 0.001]):
        assert not list(training_rules.exploding(evidence(phases=(phase(gradient_norm=norms),))))
    assert not list(training_rules.exploding(evidence(phases=(phase(loss=[1.0, 0.5]),))))


def test_small_gradients_at_a_high_loss_are_vanishing() -> None:
    run = phase(loss=[8.0, 7.0, 0.01], gradient_norm=[0.0002, 0.0, 1e-5])
    finding = one(training_rules.vanishing(evidence(phases=(run,), head=Head(learning_rate=0.1))))
    assert (finding.code, finding.severity) == ("vanishing-gradients", "error")
    assert finding.evidence == "gradient_norm is 0.0002 in epoch 1 while loss is still 8; the same in 2 of 3 epochs"
    assert "--head.learning_rate 0.01" in finding.advice
    assert "--head.activation gelu" in finding.advice
    bare = one(training_rules.vanishing(evidence(phases=(run,), head=Head(inner=()))))
    assert "activation" not in bare.advice


def test_small_gradients_of_a_converged_head_are_healthy() -> None:
    converged = phase(loss=[0.5, 0.001], gradient_norm=[3.0, 0.0001])
    assert not list(training_rules.vanishing(evidence(phases=(converged,))))
    assert not list(training_rules.vanishing(evidence()))


def test_a_layer_with_half_of_its_units_dead_is_a_warning() -> None:
    run = evidence(dead=(DeadUnits("inner_1", 100, 49), DeadUnits("inner_2", 8, 4)), head=Head(learning_rate=0.05))
    finding = one(training_rules.dead_relus(run))
    assert (finding.code, finding.severity) == ("dead-relus", "warning")
    assert finding.title == "Dead ReLUs in layer inner_2"
    assert finding.evidence == "4 of 8 units are zero for all 830 training photos"
    assert "--head.learning_rate 0.005" in finding.advice


def test_a_network_that_waits_for_photos_is_input_bound() -> None:
    run = evidence(waits=(InputWait("features", 100.0, 70.0, 2000), InputWait("fine-tuning", 100.0, 49.0, 2000)))
    finding = one(training_rules.input_bound(run))
    assert (finding.code, finding.severity) == ("input-bound", "warning")
    assert finding.title == "The step 'features' is input-bound"
    assert finding.evidence == "the network waited 70 of 100 s for photos to be decoded, 20 photos/s"
    assert "--backbone.size" in finding.advice


def test_short_waits_are_not_reported() -> None:
    assert not list(training_rules.input_bound(evidence(waits=(InputWait("features", 5.0, 4.9, 100),))))
