from collections.abc import Iterator
from pathlib import Path

import pytest

from headstand.serve.classifier import Classifier
from tests import tiny
from tests.serve.hostile import HostileServer, hostile_server


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the tiny bundle."""
    return tiny.bundle(tmp_path_factory.mktemp("model") / "tiny.tflite")


@pytest.fixture(scope="session")
def classifier(model: Path) -> Classifier:
    return Classifier(model)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server() as running:
        yield running
