"""Request bodies over HTTP and through Lambda: both give the same response."""

import base64
import json
import tracemalloc
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from headstand.serve import content, flask_app
from headstand.serve.classifier import Classifier
from headstand.serve.download import fetch
from headstand.serve.lambda_handler import LambdaFunction
from tests import tiny
from tests.serve.hostile import HostileServer

PHOTO = tiny.photo((200, 100, 0))
TEXT = base64.b64encode(PHOTO).decode()
FORM = "multipart/form-data; boundary=cut"
URLENCODED = "application/x-www-form-urlencoded"
EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_2.json").read_text())


def part(data: bytes, name: str = "image", more: str = "") -> bytes:
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--cut--\r\n"


Services = tuple[FlaskClient, LambdaFunction]


@pytest.fixture(scope="module")
def services(classifier: Classifier) -> Services:
    """The same model over HTTP and in a Lambda function."""
    loopback = partial(fetch, allow_loopback=True)
    client = flask_app.create_app(classifier, fetch=loopback).test_client()
    return client, LambdaFunction(classifier, fetch=loopback)


def response_of(services: Services, body: bytes, kind: str, path: str = "/predict") -> tuple[int, Any]:
    """Status and body of the answer, without its id; it must be the same over HTTP and through Lambda."""
    client, function = services
    length = {"Content-Length": str(len(body))}
    response = client.post(path, input_stream=BytesIO(body), content_type=kind, headers=length)
    event = EVENT | {
        "rawPath": path,
        "rawQueryString": "",
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
    event["headers"] = {**EVENT["headers"], "content-type": kind}
    answer = function.handle(event)
    found = [(response.status_code, response.json), (answer["statusCode"], json.loads(answer["body"]))]
    for _, value in found:
        value.pop("request_id", None)
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(part(PHOTO)), FORM),
        (form(part(PHOTO, "file")), FORM),
        (form(part(TEXT.encode(), "file")), FORM),
        (form(part(TEXT.encode())), FORM),
        (form(part(b"", more='; filename=""'), part(PHOTO, "file", '; filename="a.png"')), FORM),
        (urlencode({"image": TEXT}).encode(), URLENCODED),
        (b"image=" + TEXT.encode(), URLENCODED),
        (b"image=" + quote("data:image/png;base64,").encode() + TEXT.encode(), URLENCODED + "; charset=utf-8"),
        (urlencode({"token": "x", "image": TEXT, "submit": ""}).encode(), URLENCODED),
        (json.dumps({"image": TEXT}).encode(), URLENCODED),
        (PHOTO, URLENCODED),
    ],
    ids=range(11),
)
def test_each_valid_body_is_classified_by_both_services(services: Services, body: bytes, kind: str) -> None:
    status, answer = response_of(services, body, kind)
    assert status == 200 and answer == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)


@pytest.mark.parametrize("body", [b"url=%b", b"a=b&url=%b", b"url=%b&url=x"])
def test_a_urlencoded_url_is_downloaded(services: Services, server: HostileServer, body: bytes) -> None:
    for text in (server.url(), quote(server.url(), safe="")):
        status, answer = response_of(services, body % text.encode(), URLENCODED)
        assert status == 200 and list(answer) == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("body", "kind", "code", "named"),
    [
        (form(part(PHOTO)), "multipart/form-data", "bad_request", "has no boundary"),
        (form(part(PHOTO)), "multipart/form-data; boundary=", "bad_request", "has no boundary"),
        (form(part(PHOTO)), "multipart/form-data; charset=utf-8", "bad_request", "has no boundary"),
        (form(part(PHOTO)), "multipart/form-data; boundary=other", "bad_request", "the form is malformed"),
        (form(part(PHOTO))[:-5], FORM, "bad_request", "incomplete"),
        (form(part(PHOTO, "photo", '; filename="a.png"')), FORM, "no_image", 'its fields are: "photo"'),
        (form(part(PHOTO, "photo")), FORM, "no_image", 'its fields are: "photo"'),
        (form(part(b"x", "link")), FORM, "no_image", 'its fields are: "link"'),
        (form(), FORM, "no_image", "its fields are: none"),
        (form(part(b"", more='; filename=""')), FORM, "no_image", 'its fields are: "image"'),
        (b"link=https://a.example", URLENCODED, "no_image", 'its fields are: "link"'),
        (b"a=" + TEXT.encode(), URLENCODED, "no_image", 'its fields are: "a"'),
        (b"url=", URLENCODED, "bad_url", "must be a string that starts with http"),
        (b"url=x&image=y", URLENCODED, "no_image", "has both"),
        (b"image=?", URLENCODED, "bad_base64", "is not base64"),
        (b"a=" + b"%41" * 2_000_001, URLENCODED, "request_entity_too_large", "more than 2,000,000 percent signs"),
        (b"a=b&" * 1001 + b"url=x", URLENCODED, "request_entity_too_large", "more than 1,000 fields"),
        (form(part(b"1", "a" * 2_000)), FORM, "bad_request", "malformed"),
        (b"", URLENCODED, "no_image", "no body"),
        (b"", FORM, "bad_request", "incomplete"),
    ],
    ids=range(20),
)
def test_each_invalid_body_is_an_error_that_names_the_problem(
    services: Services, body: bytes, kind: str, code: str, named: str
) -> None:
    _, problem = response_of(services, body, kind)
    assert problem["code"] == code and named in problem["detail"], problem


def test_a_batch_may_be_a_multipart_or_urlencoded_form(services: Services, server: HostileServer) -> None:
    files = form(part(PHOTO, "a", '; filename="a.png"'), part(PHOTO, "b"), part(b"", "c", '; filename=""'))
    fields = urlencode([("url", server.url()), ("image", TEXT), ("token", "x")]).encode()
    for body, kind in ((files, FORM), (fields, URLENCODED)):
        status, answer = response_of(services, body, kind, "/predict/batch")
        assert status == 200
        assert [next(iter(found["probabilities"])) for found in answer["results"]] == ["red", "red"]
    status, problem = response_of(services, form(part(b"x", "a")), FORM, "/predict/batch")
    assert (status, problem["code"]) == (400, "no_image") and "a part with a file name" in problem["detail"]


@pytest.mark.parametrize(
    "event",
    [
        {"body": json.dumps({"image": TEXT})},
        {"body": {"image": TEXT}},
        {"body": TEXT, "isBase64Encoded": True},
        {"body": "image=" + TEXT, "headers": {"Content-Type": URLENCODED}},
        {"httpMethod": "POST", "body": json.dumps({"image": TEXT})},
        {"requestContext": None, "body": json.dumps({"image": TEXT}), "headers": None},
    ],
)
def test_a_console_event_is_a_request_even_without_its_context(classifier: Classifier, event: dict[str, Any]) -> None:
    answer = LambdaFunction(classifier).handle(event)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == pytest.approx(tiny.expected((200, 100, 0)), abs=1e-6)


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [({"body": "{"}, 400, "bad_json"), ({"body": "{}"}, 400, "no_image"), ({"body": "words"}, 415, "not_an_image"),
     ({"body": {"body": "x"}}, 400, "no_image"), ({"body": [1], "path": "/predict"}, 200, None)],
)  # fmt: skip
def test_an_invalid_console_event_is_an_http_error(
    classifier: Classifier, event: dict[str, Any], status: int, code: str | None
) -> None:
    answer = LambdaFunction(classifier).handle(event)
    assert answer["statusCode"] == status and json.loads(answer["body"]).get("code") == code


def test_the_error_for_an_event_without_an_image_names_the_fields(classifier: Classifier) -> None:
    for event in ({}, {"body": None}, {"body": ""}, {"bodies": "x"}, {"requestContext": {}}):
        error = LambdaFunction(classifier).handle(event)["error"]
        assert error["code"] == "no_image" and 'send either "url" or "image"' in error["detail"]


@given(st.text("aA4%+&=\xe9 ", max_size=40).map(lambda text: text.replace("\xe9", "%C3%A9").encode()))
def test_forms_are_decoded_as_the_standard_library_decodes_them(body: bytes) -> None:
    assert content._fields(body) == parse_qsl(body.decode(), keep_blank_values=True)


def test_the_most_expensive_forms_take_little_time_and_memory() -> None:
    """Each took minutes or gigabytes."""
    signs = b"=" * 2_000_000 + b"\0"
    assert content.one(URLENCODED, signs, pytest.fail) == signs  # not a form: the decoder reports the error
    escapes = b"image=" + b"%41" * 400_000
    tracemalloc.start()
    try:
        assert len(content.one(URLENCODED, escapes, pytest.fail)) == 300_000
        assert tracemalloc.get_traced_memory()[1] < 7 * len(escapes)
    finally:
        tracemalloc.stop()
