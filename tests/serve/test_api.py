"""The framework-free interface: what both services add to a handler's response."""

import base64
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from headstand.serve import capacity
from headstand.serve.api import Api, Request, Response
from headstand.serve.api_keys import ApiKeys
from headstand.serve.bundle import BundleError
from headstand.serve.classifier import Classifier, Prediction
from headstand.serve.content import MAX_LINE
from headstand.serve.logs import REQUESTS, Line
from headstand.serve.request_context import RequestContext
from tests import tiny

PHOTO = tiny.photo((200, 100, 0))


@pytest.fixture
def api(classifier: Classifier) -> Api:
    return Api(classifier, capacity.chosen({}, cores=1), fetch=lambda url: PHOTO)


def respond(api: Api, method: str, path: str, body: bytes = b"", line_length: int = 0) -> Response:
    return api.respond(Request(method, path, {}, {}.get, lambda: body, line_length), RequestContext("id-1"))


def test_a_prediction_has_its_headers_and_probabilities(api: Api) -> None:
    response = respond(api, "POST", "/predict", PHOTO)
    assert response.status == 200
    assert json.loads(response.body) == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)
    timing = response.headers.pop("Server-Timing")
    assert [item.partition(";")[0] for item in timing.split(", ")] == ["receive", "queue", "decode", "inference"]
    assert response.headers == {
        "Content-Type": "application/json",
        "Headstand-Confident": "true",
        "X-Request-ID": "id-1",
        "X-Content-Type-Options": "nosniff",
    }


def test_an_unknown_input_is_reported_in_header_batch_and_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", REQUESTS)
    classifier = Classifier(tiny.known_bundle(tmp_path / "a.tflite", threshold=0.3))
    api = Api(classifier, capacity.chosen({}, cores=1), fetch=lambda url: PHOTO)
    dark = tiny.photo((20, 30, 40))
    for photo, known in ((PHOTO, "true"), (dark, "false")):
        response = respond(api, "POST", "/predict", photo)
        assert response.headers["Headstand-Known"] == known
        assert sum(json.loads(response.body).values()) == pytest.approx(1, abs=1e-6)
    assert json.loads(Line().format(caplog.records[-1]))["not_known"] == 1
    batch = json.dumps([{"image": base64.b64encode(each).decode()} for each in (PHOTO, dark)]).encode()
    results = json.loads(respond(api, "POST", "/predict/batch", batch).body)["results"]
    assert [result["known"] for result in results] == [True, False]
    assert json.loads(respond(api, "GET", "/model").body)["known_threshold"] == 0.3


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [("OPTIONS", "/predict", 200, "OPTIONS, POST"), ("OPTIONS", "/model", 200, "GET, HEAD, OPTIONS"),
     ("GET", "/predict", 405, "OPTIONS, POST"), ("DELETE", "/model", 405, "GET, HEAD, OPTIONS"),
     ("HEAD", "/model", 200, None), ("OPTIONS", "/none", 404, None)],
)  # fmt: skip
def test_methods_are_checked(api: Api, method: str, path: str, status: int, allow: str | None) -> None:
    response = respond(api, method, path)
    assert (response.status, response.headers.get("Allow")) == (status, allow)


def test_the_first_line_is_limited(api: Api) -> None:
    assert respond(api, "POST", "/predict", PHOTO, line_length=MAX_LINE).status == 200
    response = respond(api, "POST", "/predict", PHOTO, line_length=MAX_LINE + 1)
    assert (response.status, json.loads(response.body)["code"]) == (414, "uri_too_long")


def test_an_exception_is_logged_with_its_traceback_and_not_returned(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request, context: RequestContext) -> Response:
        raise RuntimeError("secret")

    api.add("GET", "/broken", broken)
    response = respond(api, "GET", "/broken")
    assert response.status == 500 and json.loads(response.body)["code"] == "internal_error"
    assert b"secret" not in response.body
    (record,) = caplog.records
    line = json.loads(Line().format(record))
    assert (line["level"], line["status"], line["path"], line["request_id"]) == ("error", 500, "/broken", "id-1")
    assert line["exception"].endswith("RuntimeError: secret")


def test_a_request_that_cannot_be_read_is_logged_with_its_code(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, REQUESTS)
    response = api.refuse("overloaded", "retry")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    (record,) = caplog.records
    line = json.loads(Line().format(record))
    assert (line["status"], line["code"]) == (503, "overloaded")
    assert line["request_id"] == response.headers["X-Request-ID"] == json.loads(response.body)["request_id"]


KEY = "0123456789abcdef"


def test_with_keys_each_prediction_needs_one_and_nothing_else_does(classifier: Classifier) -> None:
    api = Api(classifier, capacity.chosen({}, cores=1), fetch=lambda url: PHOTO, cors=True, keys=ApiKeys(KEY))

    def read() -> bytes:
        assert authorized, "the body of a refused request is not read"
        return PHOTO

    for authorized in (False, True):
        headers = {"authorization": f"Bearer {KEY}"} if authorized else {}
        for path in ("/predict", "/predict/batch"):
            request = Request("POST", path, {}, {**headers, "content-type": "image/png"}.get, read)
            response = api.respond(request, RequestContext())
            assert (response.status == 401) == (not authorized)
            assert response.headers.get("WWW-Authenticate") == (None if authorized else "Bearer")
            assert KEY.encode() not in response.body
    problem = json.loads(respond(api, "POST", "/predict", PHOTO).body)
    assert problem["code"] == "unauthorized" and "Authorization: Bearer" in problem["detail"]
    for path in ("/healthz", "/readyz", "/model"):
        assert respond(api, "GET", path).status == 200
    preflight = respond(api, "OPTIONS", "/predict")
    assert preflight.status == 204 and "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


def test_a_draining_process_is_not_ready(api: Api) -> None:
    assert respond(api, "GET", "/readyz").status == 200
    api.draining = True
    response = respond(api, "GET", "/readyz")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert json.loads(response.body)["code"] == "not_ready"
    assert respond(api, "GET", "/healthz").status == 200 and respond(api, "POST", "/predict", PHOTO).status == 200


def test_a_failing_model_is_not_ready_until_it_works_again(
    api: Api, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(decoded: object) -> None:
        raise BundleError("not finite")

    with monkeypatch.context() as broken:
        broken.setattr(classifier, "classify", fail)
        assert respond(api, "GET", "/readyz").status == 200  # nothing has failed yet
        assert respond(api, "POST", "/predict", PHOTO).status == 500
        for _ in range(2):
            response = respond(api, "GET", "/readyz")
            assert response.status == 503 and json.loads(response.body)["code"] == "not_ready"
    assert [respond(api, "GET", "/readyz").status for _ in range(2)] == [200, 200]


def test_an_image_on_which_the_model_fails_does_not_make_the_service_not_ready(
    api: Api, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a client could take the service out of its load balancer."""
    classify = classifier.classify

    def fail_on_colours(decoded: np.ndarray) -> Prediction:
        if decoded.any():
            raise BundleError("not finite")
        return classify(decoded)

    monkeypatch.setattr(classifier, "classify", fail_on_colours)
    assert respond(api, "POST", "/predict", PHOTO).status == 500
    assert respond(api, "GET", "/readyz").status == 200
    assert respond(api, "POST", "/predict", b"no image").status == 415
