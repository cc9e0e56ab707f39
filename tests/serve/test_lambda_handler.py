import base64
import json
import logging
import tracemalloc
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headstand.images import MAX_BYTES
from headstand.serve import lambda_handler
from headstand.serve.classifier import Classifier
from headstand.serve.content import MAX_LINE
from headstand.serve.download import fetch
from headstand.serve.lambda_handler import LambdaFunction
from headstand.serve.logs import REQUESTS, EndedLine
from tests import tiny
from tests.serve.hostile import HostileServer

EVENTS = Path(__file__).parents[1] / "events"
HTTP = ("rest_api", "http_api_1", "http_api_2", "function_url", "load_balancer", "load_balancer_several")
RGB = (0, 200, 100)
PHOTO = tiny.photo(RGB)
IMAGE = base64.b64encode(PHOTO).decode()


class Context:
    """The part of Lambda's context that the function uses."""

    def __init__(self, left: int = 30_000) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self.left = left

    def get_remaining_time_in_millis(self) -> int:
        return self.left


@pytest.fixture
def function(classifier: Classifier) -> LambdaFunction:
    return LambdaFunction(classifier, fetch=partial(fetch, allow_loopback=True))


def read(name: str, **changes: Any) -> dict[str, Any]:
    """The event of that name, with changes."""
    return json.loads((EVENTS / f"{name}.json").read_text()) | changes


def posted(name: str, body: str | bytes, kind: str = "application/json", path: str | None = None) -> dict[str, Any]:
    """An HTTP event of that name with another body: bytes are in base64, as gateways send what is not text."""
    encoded = isinstance(body, bytes)
    event = read(name, body=base64.b64encode(body).decode() if encoded else body, isBase64Encoded=encoded)
    for key, value in (("headers", kind), ("multiValueHeaders", [kind])):
        if key in event:
            event[key] = {k: v for k, v in event[key].items() if k.lower() != "content-type"} | {"content-type": value}
    if path:
        event["rawPath" if "rawPath" in event else "path"] = path
    return event


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    if "headers" in answer:
        return answer["headers"]
    return {name: value for name, [value] in answer["multiValueHeaders"].items()}


def form(*parts: tuple[str, str | None, bytes]) -> tuple[bytes, str]:
    """A multipart body of (name, file name, data), and its type."""
    body = b""
    for name, filename, data in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def test_an_event_with_base64_returns_probabilities_highest_first(function: LambdaFunction) -> None:
    found = function.handle({"image": IMAGE})
    assert list(found) == ["green", "blue", "red"]
    assert found == pytest.approx(tiny.expected(RGB), abs=1e-6)


def test_an_event_with_a_url_is_classified(function: LambdaFunction, server: HostileServer) -> None:
    assert list(function.handle({"url": server.url()})) == ["red", "green", "blue"]


def test_the_results_of_a_list_are_in_its_order(function: LambdaFunction, server: HostileServer) -> None:
    items = [{"image": IMAGE}, {"url": server.url()}, {}, {"image": "AAAA"}, 3]
    results = function.handle(items)["results"]
    assert [next(iter(found["probabilities"])) for found in results[:2]] == ["green", "red"]
    assert [found["confident"] for found in results[:2]] == [True, True]
    assert [found["error"]["code"] for found in results[2:]] == ["no_image", "not_an_image", "bad_request"]
    assert function.handle([])["error"]["code"] == "no_image"
    assert function.handle([{}] * 17)["error"]["code"] == "too_many_images"


@pytest.mark.parametrize(
    ("event", "code", "status"),
    [({}, "no_image", 400), (None, "bad_request", 400), ({"image": "?"}, "bad_base64", 400),
     ({"image": "AAAA"}, "not_an_image", 415), ({"url": "http://169.254.169.254/"}, "forbidden_address", 400),
     ({"url": "file:///etc/passwd"}, "bad_url", 400), ("words", "bad_request", 400),
     ({"requestContext": {}, "httpMethod": 3}, "no_image", 400)],
)  # fmt: skip
def test_a_client_error_is_returned(function: LambdaFunction, event: object, code: str, status: int) -> None:
    context = Context()
    found = function.handle(event, context)
    assert list(found) == ["error"]
    problem = found["error"]
    assert (problem["code"], problem["status"], problem["type"]) == (code, status, f"/docs#{code}")
    assert problem["title"] and problem["detail"] and problem["request_id"] == context.aws_request_id


@pytest.mark.parametrize(
    "event",
    [read("schedule"), {"source": "serverless-plugin-warmup"}, {"source": "aws.scheduler"}, {"warmup": True},
     {"warmer": True, "concurrency": 3}, {"ping": 1}],
)  # fmt: skip
def test_a_warm_up_event_classifies_nothing(function: LambdaFunction, event: object) -> None:
    assert function.handle(event) == {"status": "ready", "model": "tiny"}


@pytest.mark.parametrize("name", HTTP)
def test_each_event_has_a_response_in_its_own_form(function: LambdaFunction, name: str) -> None:
    answer = function.handle(posted(name, json.dumps({"image": IMAGE})), context := Context())
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    found = json.loads(answer["body"])
    assert list(found) == ["green", "blue"]  # each event requests the two most probable classes
    assert found == pytest.approx({k: v for k, v in tiny.expected(RGB).items() if k != "red"}, abs=1e-6)
    headers = headers_of(answer)
    assert headers["Content-Type"] == "application/json" and headers["Headstand-Confident"] == "true"
    assert headers["Access-Control-Allow-Origin"] == "*" and headers["X-Content-Type-Options"] == "nosniff"
    assert "Headstand-Confident" in headers["Access-Control-Expose-Headers"]
    assert headers["X-Request-ID"] == context.aws_request_id and "inference;dur=" in headers["Server-Timing"]
    assert ("statusDescription" in answer) == name.startswith("load_balancer")
    assert answer.get("statusDescription", "200 OK") == "200 OK"
    assert ("multiValueHeaders" in answer) == (name == "load_balancer_several") == ("headers" not in answer)


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "image/png; x=y", ""])
def test_image_bytes_are_accepted(function: LambdaFunction, name: str, kind: str) -> None:
    answer = function.handle(posted(name, PHOTO, kind))
    assert answer["statusCode"] == 200 and next(iter(json.loads(answer["body"]))) == "green"


@pytest.mark.parametrize("name", HTTP)
def test_forms_are_accepted(function: LambdaFunction, name: str, server: HostileServer) -> None:
    nothing = ("image", "", b"")
    for body, kind in (
        form(("other", "a.png", b"x"), ("image", "a.png", PHOTO)),
        form(nothing, ("file", "a.png", PHOTO)),
        form(("image", None, IMAGE.encode())),
    ):
        answer = function.handle(posted(name, body, kind))
        assert answer["statusCode"] == 200 and next(iter(json.loads(answer["body"]))) == "green"
    answer = function.handle(posted(name, *form(("url", None, server.url().encode()), nothing)))
    assert next(iter(json.loads(answer["body"]))) == "red"


@pytest.mark.parametrize("name", HTTP)
def test_a_batch_is_a_list_or_a_form_with_several_files(function: LambdaFunction, name: str) -> None:
    lists = json.dumps([{"image": IMAGE}, {"image": "?"}])
    files, kind = form(("a", "a.png", PHOTO), ("b", "b.png", b"no picture"))
    for event, code in (
        (posted(name, lists), "bad_base64"),
        (posted(name, lists.encode(), ""), "bad_base64"),
        (posted(name, lists, path="/v1/predict/batch"), "bad_base64"),
        (posted(name, files, kind, path="/predict/batch/"), "not_an_image"),
    ):
        answer = function.handle(event)
        good, bad = json.loads(answer["body"])["results"]
        assert list(good["probabilities"]) == ["green", "blue"] and bad["error"]["code"] == code
        assert answer["statusCode"] == 200 and "Headstand-Confident" not in headers_of(answer)


def test_low_confidence_is_in_the_header(function: LambdaFunction) -> None:
    grey = base64.b64encode(tiny.photo((90, 91, 92))).decode()
    answer = function.handle(posted("http_api_2", json.dumps({"image": grey})))
    assert answer["headers"]["Headstand-Confident"] == "false"


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [(posted("rest_api", "{"), 400, "bad_json"),
     (posted("http_api_2", '{"image": "AAAA"}'), 415, "not_an_image"),
     (posted("http_api_2", "text", "text/plain"), 415, "unsupported_media_type"),
     (posted("http_api_2", ""), 400, "bad_json"),
     (posted("http_api_2", b"", "image/png"), 400, "no_image"),
     (posted("function_url", '{"url": "http://10.0.0.1/"}'), 400, "forbidden_address"),
     (posted("load_balancer", '{"url": 3}'), 400, "bad_url"),
     (posted("rest_api", "\ufffdPNG\r\n", "image/png"), 400, "bad_request"),
     (posted("rest_api", b"x") | {"body": "?"}, 400, "bad_base64"),
     (posted("rest_api", PHOTO, "multipart/form-data"), 400, "bad_request"),
     (posted("rest_api", form(("image", "a.png", PHOTO))[0][:-20], "multipart/form-data; boundary=edge"), 400,
      "bad_request"),
     (posted("rest_api", *form(*[("a", None, b"")] * 1001)), 413, "request_entity_too_large"),
     (posted("http_api_2", "[]", path="/predict/batch"), 400, "no_image"),
     (posted("http_api_2", "[1, 2", path="/predict/batch"), 400, "bad_json"),
     (posted("http_api_2", "{}", path="/predict/batch"), 400, "bad_request"),
     (posted("http_api_2", "{}") | {"rawQueryString": "top=0"}, 400, "bad_query"),
     (read("rest_api_console"), 400, "no_image"),
     (read("rest_api", httpMethod="DELETE"), 405, "method_not_allowed"),
     (read("rest_api", httpMethod="GET", path="/predict/x"), 404, "not_found")],
)  # fmt: skip
def test_problems_have_the_services_codes_and_shape(
    function: LambdaFunction, event: dict[str, Any], status: int, code: str
) -> None:
    answer = function.handle(event, context := Context())
    problem = json.loads(answer["body"])
    assert (answer["statusCode"], problem["status"], problem["code"]) == (status, status, code), problem
    assert sorted(problem) == ["code", "detail", "request_id", "status", "title", "type"]
    headers = headers_of(answer)
    assert headers["Content-Type"] == "application/problem+json" and headers["Access-Control-Allow-Origin"] == "*"
    assert headers["X-Request-ID"] == problem["request_id"] == context.aws_request_id
    assert ("Allow" in headers) == (status == 405)


def test_a_body_over_the_limit_is_not_decoded(function: LambdaFunction) -> None:
    event = posted("http_api_2", "") | {"body": "?" * (MAX_BYTES * 2), "isBase64Encoded": True}
    assert function.handle(event)["statusCode"] == 413


@pytest.mark.parametrize("name", HTTP)
def test_the_path_and_query_have_the_limit_of_the_http_service(function: LambdaFunction, name: str) -> None:
    def status_of(length: int, part: str) -> int:
        event = posted(name, PHOTO, "image/png")
        if part == "path":
            event["rawPath" if "rawPath" in event else "path"] = "/" + "a" * length
        elif "rawQueryString" in event and "http" in event["requestContext"]:
            event["rawQueryString"] = "a=" + "b" * length
        else:
            event["queryStringParameters"], event["multiValueQueryStringParameters"] = {"a": "b" * length}, None
        answer = function.handle(event)
        assert answer["statusCode"] == 200 or json.loads(answer["body"])["code"] == "uri_too_long"
        return answer["statusCode"]

    for part in ("path", "query"):
        assert [status_of(length, part) for length in (3900, MAX_LINE, 10**6)] == [200, 414, 414]


def test_a_long_query_is_not_parsed(function: LambdaFunction) -> None:
    event = posted("http_api_2", PHOTO, "image/png") | {"rawQueryString": "a&" * 500_000}
    tracemalloc.start()
    try:
        assert function.handle(event)["statusCode"] == 414
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_preflight_allows_the_requests_of_the_page(function: LambdaFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTAND_ORIGIN", "https://pose.example")
    answer = function.handle(read("rest_api", httpMethod="OPTIONS", body=None))
    assert (answer["statusCode"], answer["body"]) == (204, "")
    headers = answer["headers"]
    assert headers["Access-Control-Allow-Origin"] == "https://pose.example"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("form", HTTP)
def test_a_request_over_http_needs_an_api_key_if_there_is_one(
    form: str, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS authorizes direct invocations itself."""
    monkeypatch.setenv("HEADSTAND_API_KEY", "0123456789abcdef")
    function = LambdaFunction(classifier)
    event = posted(form, PHOTO, "image/png")
    answer = function.handle(event)
    assert answer["statusCode"] == 401 and json.loads(answer["body"])["code"] == "unauthorized"
    for key, value in (("headers", "Bearer 0123456789abcdef"), ("multiValueHeaders", ["Bearer 0123456789abcdef"])):
        if key in event:
            event[key]["Authorization"] = value
    assert function.handle(event)["statusCode"] == 200
    assert list(function.handle({"image": IMAGE})) == ["green", "blue", "red"]
    assert json.loads(function.handle(read("load_balancer_health"))["body"])["status"] == "ready"


def test_health_and_model_are_returned(function: LambdaFunction) -> None:
    assert json.loads(function.handle(read("load_balancer_health"))["body"]) == {"status": "ready", "model": "tiny"}
    for event in (read("rest_api", httpMethod="GET", path="/model"), read("http_api_2", rawPath="/prod/model")):
        event.get("requestContext", {}).get("http", {})["method"] = "GET"
        assert json.loads(function.handle(event)["body"])["labels"] == list(tiny.LABELS)
    event = read("http_api_2", rawPath="/prod")
    event["requestContext"]["http"]["method"] = "HEAD"
    answer = function.handle(event)
    assert (answer["statusCode"], answer["body"]) == (200, "")


def test_a_valid_request_id_of_the_client_is_kept(function: LambdaFunction) -> None:
    for given, valid in (("abc-1", True), ("a b\n", False)):
        event = posted("http_api_2", "{}")
        event["headers"]["x-request-id"] = given
        answer = function.handle(event, context := Context())
        assert answer["headers"]["X-Request-ID"] == (given if valid else context.aws_request_id)


def test_a_fault_of_the_service_raises_and_is_status_500_over_http(
    classifier: Classifier, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(url: str, timeout: float) -> bytes:
        raise RuntimeError("ours")

    function = LambdaFunction(classifier, fetch=broken)
    with pytest.raises(RuntimeError, match="ours"):
        function.handle({"url": "https://example.org/"})
    answer = function.handle(read("http_api_2"))
    problem = json.loads(answer["body"])
    assert (answer["statusCode"], problem["code"]) == (500, "internal_error") and "ours" not in answer["body"]
    for record in caplog.records:
        line = json.loads(EndedLine().format(record))
        assert line["level"] == "error" and line["status"] == 500 and "RuntimeError: ours" in line["exception"]
    assert len(caplog.records) == 2 and line["request_id"] == problem["request_id"]


@pytest.mark.parametrize(("left", "expected"), [(30_000, 10.0), (5_000, 4.0), (100, 0.08), (0, 0.0)])
def test_a_download_ends_before_the_invocation_does(classifier: Classifier, left: int, expected: float) -> None:
    given = []

    def fetch(url: str, timeout: float) -> bytes:
        given.append(timeout)
        return PHOTO

    LambdaFunction(classifier, fetch=fetch).handle({"url": "https://example.org/"}, Context(left))
    assert given == [pytest.approx(expected)]


def test_a_batch_ends_before_the_invocation_does(function: LambdaFunction) -> None:
    [first, second] = function.handle([{"image": IMAGE}, {"image": IMAGE}], Context(30_000))["results"]
    assert first == second and "green" in first["probabilities"]
    for event in ([{"image": IMAGE}], posted("http_api_2", json.dumps([{"image": IMAGE}]))):
        answer = function.handle(event, Context(0))
        [result] = (json.loads(answer["body"]) if "body" in answer else answer)["results"]
        assert result["error"]["code"] == "batch_timeout"


def test_the_log_has_one_line_per_invocation_without_private_data(
    function: LambdaFunction, server: HostileServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=REQUESTS)
    url = server.url("/photo?secret=1")
    event = posted("http_api_2", json.dumps([{"url": url}, {"image": IMAGE}, {"image": "?"}]))
    function.handle(event, context := Context())
    function.handle({"image": "?"})
    text = [EndedLine().format(record) for record in caplog.records]
    assert all(line.endswith("}\n") for line in text) and "secret" not in "".join(text)
    first, second = map(json.loads, text)
    assert first["request_id"] == first["aws_request_id"] == context.aws_request_id
    assert (first["form"], first["method"], first["path"], first["status"]) == ("http", "POST", "/predict", 200)
    assert (first["images"], first["not_confident"], first["codes"]) == (2, 0, ["bad_base64"])
    assert first["hosts"] == ["127.0.0.1"] and first["stages"].keys() >= {"download", "decode", "inference"}
    assert (second["form"], second["status"], second["code"]) == ("direct", 400, "bad_base64")


def test_the_cores_follow_the_memory() -> None:
    for memory, threads in (("128", 1), ("1769", 1), ("3538", 2), ("10240", 5), ("", 1), ("much", 1)):
        found = lambda_handler.chosen({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory})
        assert (found.threads, found.interpreters) == (threads, 1)
    assert lambda_handler.chosen({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "8000", "HEADSTAND_THREADS": "1"}).threads == 1
