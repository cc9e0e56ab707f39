"""Short version of `python -m benchmarks.attack`: the service survives each attack and still serves regular clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import attack
from headstand.serve.classifier import SHIPPED
from tests.serve.service import Service, running

pytestmark = pytest.mark.slow

CHEAP = ("lengths", "hosts", "descriptors", "readers", "bytewise", "announced", "stalled")
"""Attacks that take almost no processor time of the service, so that no regular client is refused."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with default settings and its own model, which may also download from the loopback interface."""
    argv = ("tests.serve.limited", "1024", "gunicorn", "tests.serve.loopback:app", "--bind", "127.0.0.1:0")
    folder = tmp_path_factory.mktemp("attack") / "run"
    settings = {"WEB_CONCURRENCY": "2", "HEADSTAND_INTERPRETERS": "1"}
    with running(SHIPPED, folder, argv=argv, **settings) as started:
        yield started


@pytest.mark.parametrize("name", attack.ATTACKS)
def test_a_regular_client_gets_responses_during_each_attack(service: Service, name: str) -> None:
    measured = attack.measure(service.port, attack.ATTACKS[name], seconds=2.0)
    assert measured.same_workers and measured.statuses[200] + measured.statuses[503] == measured.statuses.total() > 0, (
        measured
    )
    if name in CHEAP:
        assert set(measured.statuses) == {200} and measured.megabytes < 600 and measured.files < 1024, measured
    assert set(measured.received) <= {"200", "400", "413", "415", "422", "431", "503", "cut", "answer", "opened"}, (
        measured
    )
    assert "Traceback" not in (service.folder / "err").read_text()


def test_the_attack_image_is_a_decodable_jpeg(tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "a.jpg"
    file.write_bytes(attack.scans(4, 64, 64))
    with Image.open(file) as image:
        assert image.mode == "CMYK" and image.size == (64, 64)
        image.load()
