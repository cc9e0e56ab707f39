from pathlib import Path

import numpy as np
import pytest

from headstand.finetune import budget
from headstand.finetune.budget import Budget, Speed, decide
from headstand.preparation.manifest import Dataset
from headstand.recipe import Finetune
from tests import networks
from tests.finetune.tuned import PLAIN, SETTINGS, data

COUNTS = {"train": 64, "validation": 20, "test": 20}
WANTED = Finetune(epochs=10, batch_size=32)


# Two steps of 1 s and 20 predictions of 0.1 s make an epoch of 4 s, and the refit on 84 photos has 3 steps an epoch.
# What follows takes 160 steps and (2 * 64 + 10 * 20 + 4 * 20) * 0.1 s = 40.8 s, and a twentieth of the time is spare.
@pytest.mark.parametrize(
    ("seconds", "epochs", "missing"),
    [(1000, 10, 0), (286, 10, 0), (284, 9, 0), (241, 4, 0.7), (239, 0, 0.7), (10, 0, 4.4), (-50, 0, 5.3)],
)
def test_as_many_epochs_as_fit_but_no_fewer_than_four(seconds: float, epochs: int, missing: float) -> None:
    found = decide(Speed(1, 0.1), seconds, COUNTS, WANTED, ("train", "validation"))
    assert found == Budget(epochs, 10, 7.0, missing)


def test_without_a_refit_an_epoch_is_counted_once() -> None:
    assert decide(Speed(1, 0.1), 1000, COUNTS, WANTED, ()).seconds == 4


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Budget(10, 10, 12.4, 0), "12 s on this machine, refit included: there is time for all 10"),
        (Budget(3, 10, 60, 7.2), "60 s on this machine, refit included: there is time for 3 of 10; 7 more minutes "
         "allow all"),
        (Budget(0, 10, 60, 9.9), "60 s on this machine, refit included: there is time for none (at least 4 are needed) "
         "of 10; 10 more minutes allow all"),
    ],
)  # fmt: skip
def test_says_what_is_missing(found: Budget, text: str) -> None:
    assert str(found) == f"an epoch takes {text}"


def test_what_was_decided_is_kept_for_a_resumed_run(tmp_path: Path) -> None:
    assert budget.read(tmp_path) is None
    decided = Budget(3, 10, 61.5, 7.25)
    budget.write(tmp_path, decided)
    assert budget.read(tmp_path) == decided


def test_measuring_changes_nothing(dataset: Dataset, small_networks: None, eager: None) -> None:
    model = networks.classifier()
    before = model.get_weights()
    found = budget.measure(model, data(dataset, "train"), data(dataset, "validation"), SETTINGS, PLAIN, 1)
    assert found.step > 0 and found.photo > 0
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert not model.compiled


def test_no_graph_is_compiled_while_steps_are_timed(
    dataset: Dataset, small_networks: None, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = networks.keras.Model.train_on_batch, []

    def train_on_batch(self: networks.keras.Model, x: np.ndarray, *rest: np.ndarray) -> object:
        sizes.append(len(x))
        return real(self, x, *rest)

    monkeypatch.setattr(networks.keras.Model, "train_on_batch", train_on_batch)
    settings = SETTINGS.model_copy(update={"batch_size": 5})  # of 24 photos: the first batch has 4, the others 5
    budget.measure(networks.classifier(), data(dataset, "train"), data(dataset, "validation"), settings, PLAIN, 1)
    assert len(sizes) == 1 + budget.STEPS and len(set(sizes)) == 1
