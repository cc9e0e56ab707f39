import math

from headstand.diagnosis import DeadUnits, gradients
from headstand.recipe import Finetune, Head
from tests.diagnosis.runs import evidence, one, phase


def test_gradients_that_grow_tenfold_explode() -> None:
    run = phase("finetune", gradient_norm=[2.0, 1.5, 31.0, 9.0])
    finding = one(gradients.exploding(evidence(phases=(run,), finetune=Finetune(learning_rate=0.01))))
    assert (finding.code, finding.severity) == ("exploding-gradients", "warning")
    assert finding.evidence == "gradient_norm went from 2 (epoch 1) to 31 (epoch 3)"
    assert finding.advice == "try a lower rate: --finetune.learning_rate 0.001"


def test_gradients_that_are_no_numbers_are_an_error() -> None:
    for norm in (math.nan, math.inf):
        finding = one(gradients.exploding(evidence(phases=(phase(gradient_norm=[2.0, norm]),))))
        assert finding.severity == "error"
        assert f"to {norm} (epoch 2)" in finding.evidence


def test_gradients_that_shrink_or_wobble_are_healthy() -> None:
    assert not list(gradients.exploding(evidence()))
    for norms in ([2.0, 0.1, 5.0, 0.1], [30.0, 0.001]):
        assert not list(gradients.exploding(evidence(phases=(phase(gradient_norm=norms),))))
    assert not list(gradients.exploding(evidence(phases=(phase(loss=[1.0, 0.5]),))))


def test_small_gradients_of_a_high_loss_have_vanished() -> None:
    run = phase(loss=[8.0, 7.0, 0.01], gradient_norm=[0.0002, 0.0, 1e-5])
    finding = one(gradients.vanishing(evidence(phases=(run,), head=Head(learning_rate=0.1))))
    assert (finding.code, finding.severity) == ("vanishing-gradients", "error")
    assert finding.evidence == "gradient_norm is 0.0002 in epoch 1 while loss is still 8, and so in 2 of 3 epochs"
    assert "--head.learning_rate 0.01" in finding.advice
    assert "--head.activation gelu" in finding.advice
    bare = one(gradients.vanishing(evidence(phases=(run,), head=Head(inner=()))))
    assert "activation" not in bare.advice


def test_small_gradients_of_a_learnt_head_are_healthy() -> None:
    learnt = phase(loss=[0.5, 0.001], gradient_norm=[3.0, 0.0001])
    assert not list(gradients.vanishing(evidence(phases=(learnt,))))
    assert not list(gradients.vanishing(evidence()))


def test_half_a_layer_of_dead_units_is_a_warning() -> None:
    run = evidence(dead=(DeadUnits("inner_1", 100, 49), DeadUnits("inner_2", 8, 4)), head=Head(learning_rate=0.05))
    finding = one(gradients.dead_relus(run))
    assert (finding.code, finding.severity) == ("dead-relus", "warning")
    assert finding.title == "Dead ReLUs in layer inner_2"
    assert finding.evidence == "4 of 8 units are zero for all 830 training photos"
    assert "--head.learning_rate 0.005" in finding.advice
