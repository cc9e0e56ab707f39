"""Memory of a gunicorn worker under the most expensive requests at once, and their effect on others."""

import base64
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from headstand.images import MAX_BYTES
from headstand.serve import flask_app
from headstand.serve.classifier import Classifier
from headstand.serve.content import MAX_BODY
from headstand.serve.payload import image_bytes
from tests import bombs, skips, tiny
from tests.serve.hostile import HostileServer
from tests.serve.service import PATIENCE, Service, running

CEILING = 1500
"""Memory limit of a worker in megabytes with the interpreters of this test, as stated in docs/threat-model.md."""

PHOTO = tiny.photo((200, 100, 0))


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker with two interpreters."""
    folder = tmp_path_factory.mktemp("service") / "it"
    argv = ("gunicorn", "tests.serve.loopback:app", "--bind", "127.0.0.1:0")
    with running(model, folder, argv=argv, WEB_CONCURRENCY="1", HEADSTAND_INTERPRETERS="2") as service:
        yield service


def status_of(service: Service, path: str, body: bytes, kind: str) -> int:
    """Returns the status of the response; 0 if the connection ended without one."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=10 * PATIENCE)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        return connection.getresponse().status
    except ConnectionError:
        return 0
    finally:
        connection.close()


def check_responds(service: Service, workers: list[Any]) -> None:
    """Checks that the same worker still responds."""
    assert service.workers() == workers
    assert status_of(service, "/predict", PHOTO, "image/png") == 200


def test_json_with_too_many_parts_is_refused_before_it_is_parsed(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = flask_app.create_app(classifier).test_client()
    picture = {"image": base64.b64encode(PHOTO).decode()}
    assert client.post("/predict", json={**picture, "more": [0] * 90_000}).status_code == 200
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("parsed"))
    for part in (b"[],", b"{},", b"0,", b"["):
        body = b'{"image": [' + part * 100_001 + b"0]}"
        for path in ("/predict", "/predict/batch"):
            response = client.post(path, data=body, content_type="application/json")
            assert response.status_code == 400 and b"bad_json" in response.data


def test_base64_in_small_groups_takes_no_more_memory_than_in_one() -> None:
    text = "AA\n" * 1_000_000
    tracemalloc.start()
    try:
        assert len(image_bytes({"image": text}, lambda url: b"")) == 1_500_000
        assert tracemalloc.get_traced_memory()[1] < 3 * len(text)
    finally:
        tracemalloc.stop()


def requests() -> Iterator[tuple[str, bytes, str]]:
    """Yields path, body and content type of the most expensive known requests, each of the maximum size."""
    names = ("png, large", "png, 16-bit, large", "png, narrow", "webp, large", "jpeg, progressive, large",
             "png of empty chunks", "jpeg of many Photoshop resources", "bmp, run-length",
             "png, 16-bit with a key")  # fmt: skip
    images = {name: bombs.BOMBS[name][1]() for name in names}
    images["jpeg, cmyk, a scan per component"] = bombs.blocks(8000, 5000, bombs.FULL, bombs.SEPARATE)
    images["jpeg, cmyk, flat"] = bombs.blocks(65_496, 895, bombs.FULL, bombs.SEPARATE)
    for data in images.values():
        yield "/predict", data, "image/png"
    small = [data for data in images.values() if len(data) < 2**20]
    items = [{"image": base64.b64encode(data).decode()} for data in small]
    yield "/predict/batch", json.dumps(items[:4]).encode(), "application/json"
    length = MAX_BODY - 100
    yield "/predict", b"[" + bombs.times(b"[],", length) + b"0]", "application/json"
    yield "/predict", b'{"image":"' + bombs.times(b"AA ", length) + b'"}', "application/json"
    yield "/predict", '{"image":"\U0001f938'.encode() + bombs.times(b"A", length) + b'"}', "application/json"
    yield "/predict", b'{"image":"' + base64.b64encode(bytes(MAX_BYTES)) + b'"}', "application/json"
    head = b'--cut\r\nContent-Disposition: form-data; name="image"'
    yield (
        "/predict",
        head + b'; filename="a"\r\n\r\n' + bytes(MAX_BYTES) + b"\r\n--cut--\r\n",
        "multipart/form-data; boundary=cut",
    )
    yield (
        "/predict",
        head + b"\r\n\r\n" + bombs.times(b"A", length) + b"\r\n--cut--\r\n",
        "multipart/form-data; boundary=cut",
    )
    yield "/predict", bombs.times(head + b"\r\n\r\n1\r\n", length), "multipart/form-data; boundary=cut"


@pytest.mark.slow
def test_a_worker_stays_below_its_ceiling_under_the_worst_requests_at_once(
    service: Service, server: HostileServer
) -> None:
    workers = service.workers()
    memory = Path(f"/proc/{workers[0].pid}/status")
    if not memory.exists():
        pytest.skip(f"{skips.PLATFORM}memory is read from /proc")
    image = bombs.BOMBS["jpeg of many Photoshop resources"][1]()
    server.body = b"HTTP/1.1 200 OK\r\n\r\n" + image
    url = json.dumps({"url": server.url("/body")}).encode()
    # More downloads than are admitted, so that all their bytes are in memory at once; then all others.
    worst = [("/predict", url, "application/json")] * 20 + list(requests())
    with ThreadPoolExecutor(len(worst)) as pool:
        statuses = list(pool.map(lambda request: status_of(service, *request), worst))
    # Clients that were still sending when they were refused have no response.
    assert set(statuses) <= {200, 400, 413, 415, 422, 503, 0} and statuses.count(0) <= len(worst) // 2, statuses
    check_responds(service, workers)
    highest = next(int(line.split()[1]) / 1000 for line in memory.read_text().splitlines() if line.startswith("VmHWM"))
    print(f"{highest:.0f} MB", Counter(statuses))
    assert highest < CEILING, statuses
