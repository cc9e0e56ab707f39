from dataclasses import replace
from pathlib import Path

import pytest

from headstand.prepare.manifest import Dataset


@pytest.fixture
def checkpoint(dataset: Dataset, small_networks: None) -> Path:
    """Checkpoint of an untrained network, with the fingerprints of the shapes dataset."""
    from headstand.evaluation import leakage
    from headstand.heads import checkpoint
    from tests import networks

    about = replace(
        networks.about(dataset.digest),
        seen=leakage.of(dataset, ["train"]),
        examined=leakage.of(dataset, ["validation", "test"]),
        temperature=1.5,
        threshold=0.34,
    )
    return checkpoint.save(networks.classifier(), Path("shapes.h5"), about)
