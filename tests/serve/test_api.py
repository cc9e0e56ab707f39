"""The framework-free interface: what both services add to a handler's response."""

import base64
import json
import logging
from pathlib import Path

import pytest

from headstand.serve import capacity
from headstand.serve.api import Api, Request, Response
from headstand.serve.classifier import Classifier
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
