import base64
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from headstand import __version__
from headstand.images import MAX_BYTES
from headstand.serve import flask_app, predictor
from headstand.serve.bundle import BundleError
from headstand.serve.capacity import chosen
from headstand.serve.classifier import Classifier
from headstand.serve.content import MAX_BODY
from headstand.serve.download import fetch
from headstand.serve.logs import REQUESTS, Line
from headstand.serve.problem import KINDS
from tests import tiny
from tests.serve.hostile import HostileServer

PHOTO = tiny.photo((200, 100, 0))
TEXT = base64.b64encode(PHOTO).decode()


@pytest.fixture(scope="module")
def client(classifier: Classifier) -> FlaskClient:
    return flask_app.create_app(classifier, fetch=partial(fetch, allow_loopback=True, timeout=20.0)).test_client()


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
def test_all_ways_to_send_a_photo_have_the_same_response(client: FlaskClient, request_: dict[str, Any]) -> None:
    response = client.post("/predict", **request_)
    assert response.status_code == 200 and response.mimetype == "application/json"
    answer = json.loads(response.data)
    assert list(answer) == ["red", "green", "blue"]
    assert answer == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
    assert response.headers["Headstand-Confident"] == "true"


def test_a_url_is_downloaded_and_classified(client: FlaskClient, server: HostileServer) -> None:
    response = client.post("/predict", json={"url": server.url()})
    assert response.status_code == 200 and list(response.json) == ["red", "green", "blue"]


def test_low_confidence_is_in_the_header(client: FlaskClient) -> None:
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
        ({"data": b'{"image": NaN}', "content_type": "application/json"}, 400, "bad_json"),
        ({"data": b'{"url": -Infinity}', "content_type": "application/json"}, 400, "bad_json"),
        ({"data": b'{"url": 1e999}', "content_type": "application/json"}, 400, "bad_url"),
        ({"data": b'{"url": ' + b"9" * 5000 + b"}", "content_type": "application/json"}, 400, "bad_json"),
        ({"json": {"image": 5}}, 400, "bad_base64"),
        ({"json": {"image": {"image": TEXT}}}, 400, "bad_base64"),
        ({"json": {"url": ["http://a"]}}, 400, "bad_url"),
        ({"json": "text"}, 400, "bad_request"),
        ({"json": {"image": TEXT, "url": "http://a"}}, 400, "no_image"),
        ({"json": {"image": "?"}}, 400, "bad_base64"),
        ({"data": {"other": "x"}, "content_type": "multipart/form-data"}, 400, "no_image"),
        ({"data": b"--x", "content_type": "multipart/form-data"}, 400, "bad_request"),
        ({"json": {"url": "file:///etc/passwd"}}, 400, "bad_url"),
        ({"json": {"url": "http://169.254.169.254/latest"}}, 400, "forbidden_address"),
        ({"data": b"words", "content_type": "text/html"}, 415, "unsupported_media_type"),
        ({"data": b"words"}, 415, "not_an_image"),
        (upload(data=b"%PDF-1.7"), 415, "not_an_image"),
        ({"data": PHOTO[:60]}, 422, "corrupt_image"),
        ({"data": b"\0" * (MAX_BYTES + 1)}, 413, "too_large"),
        (upload(data=b"\0" * (MAX_BYTES + 1)), 413, "too_large"),
        ({"data": b"\0" * (MAX_BODY + 1)}, 413, "request_entity_too_large"),
        (upload(data=b"\0" * (MAX_BODY + 1)), 413, "request_entity_too_large"),
    ],
)
def test_each_client_error_has_its_status_and_code(
    client: FlaskClient, request_: dict[str, Any], status: int, code: str
) -> None:
    response = client.post("/predict", **request_)
    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.mimetype == "application/problem+json"
    assert set(response.json) == {"type", "title", "status", "detail", "code", "request_id"}
    assert response.json["status"] == status and response.json["type"] == f"/docs#{code}"
    assert response.json["title"] == KINDS[code].title and response.json["detail"]
    assert response.json["request_id"] == response.headers["X-Request-ID"]
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
    assert (response.status_code, response.json["code"]) == (status, code)
    assert "127.0.0.1" not in response.text and "secret" not in response.text


def test_a_client_cannot_allow_loopback(classifier: Classifier, server: HostileServer) -> None:
    client = flask_app.create_app(classifier).test_client()
    fields = {"url": server.url(), "allow_loopback": True}
    response = client.post("/predict?allow_loopback=1", json=fields, headers={"allow-loopback": "1"})
    assert response.json["code"] == "forbidden_address" and server.requests == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/predict", 405, "method_not_allowed"), ("POST", "/healthz", 405, "method_not_allowed"),
     ("GET", "/none", 404, "not_found"), ("POST", "/predict/", 404, "not_found")],
)  # fmt: skip
def test_errors_for_other_paths_and_methods_are_json(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    assert response.mimetype == "application/problem+json"
    assert (response.status_code, response.json["code"]) == (status, code)
    assert ("Allow" in response.headers) == (status == 405)


def test_a_fault_of_the_service_is_reported_without_details(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(url: str) -> bytes:
        raise RuntimeError("password is 1234")

    response = flask_app.create_app(classifier, fetch=broken).test_client().post("/predict", json={"url": "http://x/"})
    assert response.status_code == 500 and response.json["code"] == "internal_error"
    assert "1234" not in response.text and "Traceback" not in response.text
    assert "password is 1234" in caplog.text  # the log is where it belongs


def test_health_and_usage_name_the_model(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok", "model": "tiny"}
    assert client.get("/readyz").json == {"status": "ready", "model": "tiny"}
    usage = client.get("/").json
    assert (
        usage["model"] == "tiny" and usage["classes"] == ["blue", "green", "red"] and "POST /predict" in usage["usage"]
    )


def test_an_app_without_a_model_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADSTAND_MODEL", str(tmp_path / "none.tflite"))
    with pytest.raises(BundleError, match="there is no model"):
        flask_app.create_app()


@pytest.mark.parametrize(("top", "labels"), [("1", ["red"]), ("2", ["red", "green"]), ("3", 3), ("999999", 3)])
def test_top_limits_the_number_of_classes(client: FlaskClient, top: str, labels: Any) -> None:
    response = client.post(f"/predict?top={top}", data=PHOTO)
    assert list(response.json) == (["red", "green", "blue"] if labels == 3 else labels)
    assert response.json["red"] == pytest.approx(tiny.expected((200, 100, 0))["red"], abs=1e-6)


@pytest.mark.parametrize("top", ["", "0", "-1", "1.0", "x", "1e1", "%D9%A3", "1000000", "9" * 5000, "1&top=2", "+1"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_an_invalid_top_is_refused(client: FlaskClient, path: str, top: str) -> None:
    response = client.post(f"{path}?top={top}", data=PHOTO)
    assert (response.status_code, response.json["code"]) == (400, "bad_query")


def test_the_model_is_described(classifier: Classifier, client: FlaskClient) -> None:
    description = client.get("/model").json
    assert description == {
        "name": "tiny", "labels": ["blue", "green", "red"], "takes": "photos", "shape": [32, 32, 3], "size": 32,
        "threshold": 0.5, "known_threshold": None, "certificate": None,
        "digest": classifier.bundle.metadata["digest"], "version": __version__,
    }  # fmt: skip


def test_the_certificate_is_that_of_the_bundle(tmp_path: Path) -> None:
    classifier = Classifier(tiny.bundle(tmp_path / "a.tflite", certificate={"images": 7}))
    assert flask_app.create_app(classifier).test_client().get("/model").json["certificate"] == {"images": 7}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a-B_9.z", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a b", False), ("é", False), ("a,b", False)],
)
def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(client: FlaskClient, sent: str, kept: bool) -> None:
    for path in ("/healthz", "/none"):
        found = client.get(path, headers={"X-Request-ID": sent}).headers["X-Request-ID"]
        assert (found == sent) is kept and re.fullmatch(r"[A-Za-z0-9._-]{1,64}", found)


def test_requests_without_an_id_get_different_ones(client: FlaskClient) -> None:
    assert len({client.get("/healthz").headers["X-Request-ID"] for _ in range(20)}) == 20


def test_an_invalid_item_of_a_batch_does_not_affect_the_others(client: FlaskClient, server: HostileServer) -> None:
    grey = base64.b64encode(tiny.photo((90, 90, 90))).decode()
    items = [{"image": TEXT}, {"image": "?"}, 7, {"url": server.url()}, {"url": "http://10.0.0.1/"}, {"image": grey}]
    response = client.post("/predict/batch?top=2", json=items)
    assert response.status_code == 200 and "Headstand-Confident" not in response.headers
    first, coded, number, fetched, private, last = response.json["results"]
    expected = tiny.expected((200, 100, 0))
    assert first["probabilities"] == pytest.approx({"red": expected["red"], "green": expected["green"]}, abs=1e-6)
    assert (first["confident"], last["confident"]) == (True, False)
    assert list(fetched["probabilities"]) == ["red", "green"]
    for found, code in ((coded, "bad_base64"), (number, "bad_request"), (private, "forbidden_address")):
        assert set(found) == {"error"} and found["error"]["code"] == code
        assert set(found["error"]) == {"type", "title", "status", "detail", "code"}


def test_the_results_of_a_batch_of_files_are_in_order(client: FlaskClient) -> None:
    colors = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    files = [(BytesIO(tiny.photo(color)), f"{index}.png") for index, color in enumerate(colors)]
    response = client.post("/predict/batch", data={"image": files, "other": (BytesIO(b"words"), "a.txt")})
    assert [next(iter(found.get("probabilities", {"-": 0}))) for found in response.json["results"]] == [
        "red", "green", "blue", "-",
    ]  # fmt: skip


def test_a_list_without_a_content_type_is_a_batch(client: FlaskClient) -> None:
    response = client.post("/predict/batch", data=json.dumps([{"image": TEXT}]))
    assert list(response.json["results"][0]["probabilities"]) == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"json": {"image": TEXT}}, 400, "bad_request"),
        ({"json": []}, 400, "no_image"),
        ({"json": [{"image": TEXT}] * 17}, 400, "too_many_images"),
        ({"data": b"[1", "content_type": "application/json"}, 400, "bad_json"),
        ({"data": b"[NaN]", "content_type": "application/json"}, 400, "bad_json"),
        ({"data": PHOTO}, 400, "bad_json"),
        ({"data": PHOTO, "content_type": "image/png"}, 415, "unsupported_media_type"),
        ({"data": {"image": TEXT}, "content_type": "multipart/form-data"}, 400, "no_image"),
        ({"data": b"\0" * (MAX_BODY + 1)}, 413, "request_entity_too_large"),
    ],
)
def test_each_invalid_batch_has_its_status_and_code(
    client: FlaskClient, request_: dict[str, Any], status: int, code: str
) -> None:
    response = client.post("/predict/batch", **request_)
    assert (response.status_code, response.json["code"]) == (status, code)


def test_a_batch_starts_no_image_after_its_time_limit(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def slow(url: str) -> bytes:
        fetched.append(url)
        monkeypatch.setattr(predictor, "BATCH_SECONDS", -1.0)
        return PHOTO

    items = [{"url": "http://a/"}, {"url": "http://b/"}, {"image": TEXT}]
    found = (
        flask_app.create_app(classifier, fetch=slow).test_client().post("/predict/batch", json=items).json["results"]
    )
    assert "probabilities" in found[0] and fetched == ["http://a/"]
    assert [item["error"]["code"] for item in found[1:]] == ["batch_timeout"] * 2


def test_the_header_reports_time_by_stage(client: FlaskClient) -> None:
    timing = client.post("/predict", data=PHOTO).headers["Server-Timing"]
    assert re.sub(r"\d+\.\d\d", "N", timing) == "receive;dur=N, queue;dur=N, decode;dur=N, inference;dur=N"


def test_an_overloaded_service_refuses_at_once_with_retry_after(classifier: Classifier) -> None:
    """While a download uses the only slot, further predictions are refused, other paths are not."""
    limits = replace(chosen({}, cores=1), in_flight=1)
    inside, leave = threading.Event(), threading.Event()

    def slow(url: str) -> bytes:
        inside.set()
        assert leave.wait(60)
        return PHOTO

    app = flask_app.create_app(classifier, fetch=slow, limits=limits)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: app.test_client().post("/predict", json={"url": "http://a/"}))
        try:
            assert inside.wait(60)
            for path in ("/predict", "/predict/batch"):
                refused = app.test_client().post(path, data=PHOTO)
                assert (refused.status_code, refused.json["code"]) == (503, "overloaded")
                assert refused.headers["Retry-After"] == "1"
            assert app.test_client().get("/healthz").status_code == 200
            assert b"headstand_in_flight 1.0" in app.test_client().get("/metrics").data
        finally:
            leave.set()
        assert first.result(60).status_code == 200
    assert app.test_client().post("/predict", data=PHOTO).status_code == 200


def test_metrics_count_requests_errors_and_predictions(classifier: Classifier) -> None:
    client = flask_app.create_app(classifier).test_client()
    client.post("/predict", data=PHOTO)
    client.post("/predict", data=tiny.photo((90, 90, 90)))
    client.post("/predict", data=b"words")
    client.post("/predict/batch", json=[{"image": TEXT}, {"image": "?"}])
    client.open("/made-up", method="MADEUP")
    response = client.get("/metrics")
    assert response.mimetype == "text/plain"
    lines = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#"))
    assert lines['headstand_requests_total{method="POST",route="/predict",status="200"}'] == "2.0"
    assert lines['headstand_requests_total{method="POST",route="/predict",status="415"}'] == "1.0"
    assert lines['headstand_requests_total{method="other",route="other",status="404"}'] == "1.0"
    assert lines['headstand_errors_total{code="not_an_image"}'] == "1.0"
    assert lines['headstand_errors_total{code="bad_base64"}'] == "1.0"
    assert lines['headstand_errors_total{code="overloaded"}'] == "0.0"
    assert lines['headstand_answers_total{confident="true"}'] == "2.0"
    assert lines['headstand_answers_total{confident="false"}'] == "1.0"
    assert lines['headstand_stage_seconds_count{stage="inference"}'] == "3.0"
    assert lines['headstand_stage_seconds_count{stage="download"}'] == "0.0"
    assert lines['headstand_request_seconds_count{route="/predict"}'] == "3.0"
    sent = len(PHOTO) + len(tiny.photo((90, 90, 90))) + 5 + len(json.dumps([{"image": TEXT}, {"image": "?"}]))
    assert float(lines["headstand_received_bytes_total"]) == sent
    assert float(lines["headstand_sent_bytes_total"]) > 300
    assert 'headstand_model_info{digest="' in response.text and "created" not in response.text


def test_a_request_is_one_log_line_without_images_queries_and_urls(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    client = flask_app.create_app(classifier, fetch=lambda url: PHOTO).test_client()
    caplog.set_level("INFO", REQUESTS)
    client.post(
        "/predict?top=1&key=hush",
        json={"url": "https://photos.example/album/hush.jpg?token=hush"},
        headers={"X-Request-ID": "mine", "Authorization": "hush"},
    )
    client.post("/predict", data=b"words")
    first, second = (json.loads(Line().format(record)) for record in caplog.records)
    assert "hush" not in json.dumps(first) and first["hosts"] == ["photos.example"]
    assert first["time"].endswith("+00:00") and first["level"] == "info" and first["logger"] == REQUESTS
    for found, status, code in ((first, 200, None), (second, 415, "not_an_image")):
        assert (found["method"], found["path"], found["status"], found["code"]) == ("POST", "/predict", status, code)
    assert first["request_id"] == "mine"
    assert list(first["stages"]) == ["receive", "download", "queue", "decode", "inference"]
    assert second["received"] == 5 and first["ms"] >= sum(first["stages"].values()) - 0.1


def test_the_docs_load_only_files_that_are_served(client: FlaskClient) -> None:
    response = client.get("/docs")
    assert response.mimetype == "text/html"
    paths = re.findall(r'(?:href|src)="([^"]+)"', response.text)
    assert {"swagger-ui-bundle.js", "swagger-ui.css", "docs.js", "openapi.json"} <= set(paths)
    for path in paths:
        assert client.get(f"/{path}").status_code == 200, path
    # Without inline scripts and styles, which the Content-Security-Policy forbids.
    assert not re.search(r"<style|<script>| on\w+=| style=|javascript:", response.text)
    assert set(KINDS) <= set(re.findall(r'id="([^"]+)"', response.text))


def test_the_openapi_document_has_every_path_and_code(client: FlaskClient, classifier: Classifier) -> None:
    document = client.get("/openapi.json").json
    assert set(document["paths"]) <= set(flask_app.create_app(classifier).extensions["headstand.api"].routes)
    documented = json.dumps(document["paths"]["/predict"])
    undocumented = {"not_found", "too_many_images", "batch_timeout", "unauthorized", "not_ready"}
    assert {code for code in KINDS if f"`{code}`" not in documented} == undocumented
    labels = document["components"]["schemas"]["Probabilities"]["propertyNames"]["enum"]
    assert labels == ["blue", "green", "red"]


def test_the_openapi_document_has_the_api_key_if_there_is_one(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTAND_API_KEY", "0123456789abcdef")
    client = flask_app.create_app(classifier).test_client()
    document = client.get("/openapi.json").json
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    for path, item in document["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == ("401" in operation["responses"]) == path.startswith("/predict")
    for path in ("/", "/page.js", "/docs", "/metrics", "/healthz", "/readyz", "/model", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.post("/predict", data=PHOTO).status_code == 401
    authorized = client.post("/predict", data=PHOTO, headers={"Authorization": "Bearer 0123456789abcdef"})
    assert authorized.status_code == 200
    assert client.get("/metrics").data.count(b'headstand_errors_total{code="unauthorized"} 1.0') == 1


def test_an_invalid_api_key_stops_the_start(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_API_KEY", "short")
    with pytest.raises(SystemExit) as caught:
        flask_app.served(lambda: flask_app.create_app(classifier))
    assert caught.value.code == 4
