import numpy as np
import pytest

from headstand import finetune
from headstand.recipe import Finetune
from tests import networks

pytestmark = pytest.mark.usefixtures("small_networks")


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    model = networks.classifier()
    finetune.compile_for(model, Finetune(learning_rate=0.01, warmup=0.25, weight_decay=0.02), steps=40)
    rate = model.optimizer._learning_rate
    assert [float(rate(step)) for step in (0, 5, 10)] == pytest.approx([0, 0.005, 0.01])
    assert float(rate(25)) == pytest.approx(0.005)  # half of the cosine
    assert float(rate(40)) == pytest.approx(0, abs=1e-8)
    assert model.optimizer.weight_decay == 0.02
    finetune.compile_for(model, Finetune(learning_rate=0.01, warmup=0), steps=40)
    assert float(model.optimizer._learning_rate(0)) == pytest.approx(0.01)
    finetune.compile_for(model, Finetune(learning_rate=0.01, warmup=1), steps=40)
    assert float(model.optimizer._learning_rate(39)) == pytest.approx(0.01, rel=0.05)


def test_labels_are_smoothed_as_the_recipe_says() -> None:
    model = networks.classifier()
    finetune.compile_for(model, Finetune(label_smoothing=0.3), steps=10)
    answer = np.array([[0.7, 0.2, 0.1]], np.float32)
    wanted = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    assert float(model.loss(np.array([[1.0, 0, 0]], np.float32), answer)) == pytest.approx(wanted, rel=1e-5)
