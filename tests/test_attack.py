"""A short version of `python -m benchmarks.attack`: the service survives each attack, and answers an honest client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import attack
from headstand.serve.classifier import SHIPPED
from tests.serve.service import Service, running

pytestmark = pytest.mark.slow

CHEAP = ("lengths", "hosts", "descriptors", "readers", "bytewise", "announced", "stalled")
"""Attacks that cost the service no processor time to speak of: no honest client is refused because of them."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as it is by default, with its own model, but for downloads from this machine."""
    words = ("tests.serve.limited", "1024", "gunicorn", "tests.serve.loopback:app", "--bind", "127.0.0.1:0")
    folder = tmp_path_factory.mktemp("attack") / "run"
    settings = {"WEB_CONCURRENCY": "2", "HEADSTAND_INTERPRETERS": "1"}
    with running(SHIPPED, folder, words=words, **settings) as started:
        yield started


@pytest.mark.parametrize("name", attack.ATTACKS)
def test_an_honest_client_is_answered_during_each_attack(service: Service, name: str) -> None:
    seen = attack.measure(service.port, attack.ATTACKS[name], seconds=2.0)
    assert seen.same_workers and seen.statuses[200] + seen.statuses[503] == seen.statuses.total() > 0, seen
    if name in CHEAP:
        assert set(seen.statuses) == {200} and seen.megabytes < 600 and seen.files < 1024, seen
    assert set(seen.received) <= {"200", "400", "413", "415", "422", "431", "503", "cut", "answer", "opened"}, seen
    assert "Traceback" not in (service.folder / "err").read_text()


def test_the_image_of_the_attack_is_a_jpeg_that_can_be_decoded(tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "a.jpg"
    file.write_bytes(attack.scans(4, 64, 64))
    with Image.open(file) as image:
        assert image.mode == "CMYK" and image.size == (64, 64)
        image.load()
