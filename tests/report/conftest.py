import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from tests import photos, shared


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    """A run with so little training that there are mistakes; shared by all tests, which must not change it."""

    def fill() -> None:
        from headstand.training import train
        from tests import networks

        photos.prepare(Path("data/shapes"))
        head = {"inner": [], "epochs": 1, "learning_rate": 0.001, "batch_size": 8}
        stages = [
            {"parameter": "learning_rate", "values": [0.0001, 0.01]},
            {"parameter": "inner", "values": [2, 8]},
        ]
        outcome = train(networks.recipe(head=head, search={"stages": stages}))
        Path("outcome").write_bytes(pickle.dumps(outcome))

    folder = shared.folder(tmp_path_factory, "reported", fill)
    outcome = pickle.loads((folder / "outcome").read_bytes())
    return replace(outcome, folder=folder / outcome.folder, checkpoint=folder / outcome.checkpoint)
