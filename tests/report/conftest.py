import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests import photos


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory):
    """A run with so little training that there are mistakes; shared by all tests, which must not change it."""
    from headstand.training import train
    from tests import networks

    folder, before = tmp_path_factory.mktemp("reported"), Path.cwd()
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for variable in [name for name in os.environ if name.startswith("HEADSTAND_")]:
                patch.delenv(variable)
            for name in networks.backbones.names():
                patch.setattr(networks.keras.applications, name, networks.tiny)
            photos.prepare(Path("data/shapes"))
            head = {"inner": [], "epochs": 1, "learning_rate": 0.001, "batch_size": 8}
            stages = [
                {"parameter": "learning_rate", "values": [0.0001, 0.01]},
                {"parameter": "inner", "values": [2, 8]},
            ]
            outcome = train(networks.recipe(head=head, search={"stages": stages}))
    finally:
        os.chdir(before)
    return replace(outcome, folder=folder / outcome.folder, checkpoint=folder / outcome.checkpoint)
