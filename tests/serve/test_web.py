import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from headstand.images import MAX_BYTES
from headstand.serve import web
from headstand.serve.bundle import BundleError
from headstand.serve.classifier import Classifier
from headstand.serve.download import fetch
from tests import tiny
from tests.serve.hostile import HostileServer

PHOTO = tiny.photo((200, 100, 0))
TEXT = base64.b64encode(PHOTO).decode()


@pytest.fixture
def client(classifier: Classifier) -> FlaskClient:
    return web.create_app(classifier, fetch=partial(fetch, allow_loopback=True, timeout=20.0)).test_client()


def upload(name: str = "image", data: bytes = PHOTO) -> dict[str, Any]:
    head = f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="photo.png"\r\n\r\n'
    return {"data": head.encode() + data + b"\r\n--cut--\r\n", "content_type": "multipart/form-data; boundary=cut"}


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"image": TEXT}},
        {"json": {"image": f"data:image/png;base64,{TEXT}"}},
        {"data": json.dumps({"image": TEXT}), "content_type": "application/vnd.api+json"},
        {"data": json.dumps({"image": TEXT}), "content_type": "application/x-www-form-urlencoded"},
        {"data": json.dumps({"image": TEXT})},
        {"data": PHOTO},
        {"data": PHOTO, "content_type": "image/png"},
        {"data": PHOTO, "content_type": "application/octet-stream"},
        {"data": PHOTO, "content_type": "application/x-www-form-urlencoded"},
        upload(),
        upload("file"),
        {"data": {"image": TEXT}, "content_type": "multipart/form-data"},
    ],
)
def test_all_ways_to_send_a_photo_give_the_same_answer(client: FlaskClient, request_: dict[str, Any]) -> None:
    response = client.post("/predict", **request_)
    assert response.status_code == 200 and response.mimetype == "application/json"
    answer = json.loads(response.data)
    assert list(answer) == ["red", "green", "blue"]
    assert answer == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
    assert response.headers["Headstand-Confident"] == "true"


def test_a_url_is_downloaded_and_answered(client: FlaskClient, server: HostileServer) -> None:
    response = client.post("/predict", json={"url": server.url()})
    assert response.status_code == 200 and list(response.json) == ["red", "green", "blue"]


def test_not_sure_travels_in_the_header(client: FlaskClient) -> None:
    response = client.post("/predict", data=tiny.photo((90, 90, 90)))
    assert response.headers["Headstand-Confident"] == "false"
    assert list(response.json) == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({}, 400, "no_image"),
        ({"json": {}}, 400, "no_image"),
        ({"json": [1]}, 400, "bad_request"),
        ({"data": b"{", "content_type": "application/json"}, 400, "bad_json"),
        ({"data": b"", "content_type": "application/json"}, 400, "bad_json"),
        ({"data": b'{"a":' * 100_000, "content_type": "application/json"}, 400, "bad_json"),
        ({"json": {"image": "?"}}, 400, "bad_base64"),
        ({"data": {"other": "x"}, "content_type": "multipart/form-data"}, 400, "no_image"),
        ({"data": b"--x", "content_type": "multipart/form-data"}, 400, "no_image"),
        ({"json": {"url": "file:///etc/passwd"}}, 400, "bad_url"),
        ({"json": {"url": "http://169.254.169.254/latest"}}, 400, "forbidden_address"),
        ({"data": b"words", "content_type": "text/html"}, 415, "unsupported_media_type"),
        ({"data": b"words"}, 415, "not_an_image"),
        (upload(data=b"%PDF-1.7"), 415, "not_an_image"),
        ({"data": PHOTO[:60]}, 422, "corrupt_image"),
        ({"data": b"\0" * (MAX_BYTES + 1)}, 413, "too_large"),
        (upload(data=b"\0" * (MAX_BYTES + 1)), 413, "too_large"),
        ({"data": b"\0" * (web.MAX_BODY + 1)}, 413, "request_entity_too_large"),
        (upload(data=b"\0" * (web.MAX_BODY + 1)), 413, "request_entity_too_large"),
    ],
)
def test_each_mistake_has_its_status_and_code(
    client: FlaskClient, request_: dict[str, Any], status: int, code: str
) -> None:
    response = client.post("/predict", **request_)
    assert (response.status_code, response.json["error"]["code"]) == (status, code)
    assert set(response.json) == {"error"} and set(response.json["error"]) == {"code", "message"}
    assert "Headstand-Confident" not in response.headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/missing", 422, "http_error"), ("/huge", 413, "download_too_large"), ("/cut-short", 422, "download_failed"),
     ("/hops?n=9", 422, "too_many_redirects"), ("/empty", 415, "not_an_image")],
)  # fmt: skip
def test_each_bad_download_has_its_status_and_code(
    client: FlaskClient, server: HostileServer, path: str, status: int, code: str
) -> None:
    response = client.post("/predict", json={"url": server.url(path)})
    assert (response.status_code, response.json["error"]["code"]) == (status, code)
    assert "127.0.0.1" not in response.text and "secret" not in response.text


def test_a_client_cannot_allow_loopback(classifier: Classifier, server: HostileServer) -> None:
    client = web.create_app(classifier).test_client()
    fields = {"url": server.url(), "allow_loopback": True}
    response = client.post("/predict?allow_loopback=1", json=fields, headers={"allow-loopback": "1"})
    assert response.json["error"]["code"] == "forbidden_address" and server.requests == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/predict", 405, "method_not_allowed"), ("POST", "/healthz", 405, "method_not_allowed"),
     ("GET", "/none", 404, "not_found"), ("POST", "/predict/", 404, "not_found")],
)  # fmt: skip
def test_other_paths_and_methods_answer_in_json(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    assert response.mimetype == "application/json"
    assert (response.status_code, response.json["error"]["code"]) == (status, code)
    assert ("Allow" in response.headers) == (status == 405)


def test_our_fault_is_told_without_its_inside(classifier: Classifier, caplog: pytest.LogCaptureFixture) -> None:
    def broken(url: str) -> bytes:
        raise RuntimeError("password is 1234")

    response = web.create_app(classifier, fetch=broken).test_client().post("/predict", json={"url": "http://x/"})
    assert response.status_code == 500 and response.json["error"]["code"] == "internal_error"
    assert "1234" not in response.text and "Traceback" not in response.text
    assert "password is 1234" in caplog.text  # the log is where it belongs


def test_health_and_usage_name_the_model(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok", "model": "tiny"}
    usage = client.get("/").json
    assert (
        usage["model"] == "tiny" and usage["classes"] == ["blue", "green", "red"] and "POST /predict" in usage["usage"]
    )


def test_an_app_without_a_model_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(tmp_path / "none.tflite"))
    with pytest.raises(BundleError, match="there is no model"):
        web.create_app()
