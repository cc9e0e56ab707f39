"""Random requests: every response is one of the OpenAPI document, and never has status 5xx."""

import base64
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headstand.serve import flask_app
from headstand.serve.classifier import Classifier
from headstand.serve.download import DownloadError
from headstand.serve.problem import KINDS, MEDIA_TYPE
from tests.mutations import SEEDS, mutations
from tests.serve.service import running

ROUTES = ("/predict", "/predict/batch", "/model", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get")
KINDS_OF_BODY = (
    "application/json", "application/json; charset=utf-16", "application/problem+json", "multipart/form-data",
    "multipart/form-data; boundary=cut", "multipart/form-data; boundary=", "multipart/mixed; boundary=cut",
    "application/x-www-form-urlencoded", "application/octet-stream", "image/png", "image/svg+xml", "text/html", "", "/",
    "application/json; charset=\xff",
)  # fmt: skip


def fetch(url: str) -> bytes:
    """Returns a photo for URLs that contain "photo", without network."""
    if "photo" in url:
        return SEEDS[0]
    raise DownloadError("download_failed", "the download failed: the host cannot be reached")


@pytest.fixture(scope="module")
def app(classifier: Classifier) -> Flask:
    return flask_app.create_app(classifier, fetch=fetch)


TEXTS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["http://example.com/photo", "http://x/", "data:image/png;base64,", "data:;base64,AAAA", "AAAA", "\0"]
    ),
    mutations().map(lambda data: base64.b64encode(data).decode()),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(["url", "image"]), st.text(max_size=8)), inner, max_size=4),
    ),
    max_leaves=8,
)
ITEMS = st.one_of(
    st.builds(lambda value: {"url": value}, TEXTS), st.builds(lambda value: {"image": value}, TEXTS), VALUES
)


def multipart(parts: list[tuple[str, str | None, bytes]]) -> bytes:
    body = b""
    for name, file, data in parts:
        head = f'--cut\r\nContent-Disposition: form-data; name="{name}"' + (f'; filename="{file}"' if file else "")
        body += head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + data + b"\r\n"
    return body + b"--cut--\r\n"


PARTS = st.tuples(
    st.one_of(st.sampled_from(["image", "file", "url"]), st.text(max_size=5)),
    st.one_of(st.none(), st.just("photo.png"), st.text(max_size=8)),
    st.one_of(mutations(), st.binary(max_size=60)),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    mutations(),
    VALUES.map(lambda value: json.dumps(value).encode()),
    ITEMS.map(lambda value: json.dumps(value).encode()),
    st.lists(ITEMS, max_size=20).map(lambda value: json.dumps(value).encode()),
    ITEMS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    ITEMS.map(lambda value: json.dumps(value).encode("utf-16")),
    st.lists(PARTS, max_size=20).map(multipart),
    st.lists(PARTS, max_size=3).map(lambda parts: multipart(parts)[:-12]),
)
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)
REQUESTS = st.fixed_dictionaries(
    {
        "method": st.sampled_from(("POST",) * 12 + METHODS),
        "path": st.one_of(
            st.sampled_from(("/predict", "/predict/batch") * 5 + ROUTES),
            st.text(st.characters(codec="utf-8", exclude_characters="?"), max_size=20).map(lambda text: "/" + text),
        ),
        "query_string": st.one_of(
            st.just(""),
            st.one_of(st.integers(), st.text(st.characters(codec="utf-8"), max_size=6)).map(lambda top: {"top": top}),
            st.binary(max_size=20).map(lambda data: data.decode("latin-1")),
        ),
        "data": BODIES,
        "content_type": st.one_of(st.sampled_from(KINDS_OF_BODY), HEADER_TEXT),
        "headers": st.dictionaries(
            st.sampled_from(
                ["X-Request-ID", "Accept", "Accept-Encoding", "Content-Encoding", "Transfer-Encoding", "Content-Length",
                 "Range", "If-None-Match", "If-Modified-Since", "Host", "Cookie", "Authorization", "Expect",
                 "X-Forwarded-For", "X-HTTP-Method-Override", "Origin", "Referer"]
            ),
            st.one_of(HEADER_TEXT, st.sampled_from(["gzip", "chunked", "-1", "99999999999999999999", "bytes=0-", "*"])),
            max_size=3,
        ),
    }
)  # fmt: skip


def check(client: FlaskClient, request: dict[str, Any]) -> int:
    """Sends the request, checks that the response is documented, and returns its status."""
    # The path as gunicorn passes it; the test client would parse the part after two slashes as a host.
    path = request["path"].encode().decode("latin-1")
    response = client.open(**{**request, "path": "/"}, environ_overrides={"PATH_INFO": path})
    assert response.status_code < 500, response.text
    assert response.headers["X-Request-ID"]
    if response.status_code >= 400:
        assert response.mimetype == MEDIA_TYPE
        if request["method"] != "HEAD":
            problem = json.loads(response.data)
            assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
            assert problem["status"] == response.status_code
            assert problem["code"] not in KINDS or KINDS[problem["code"]].status == response.status_code
            assert "Traceback" not in response.text and "/headstand/" not in response.text
    elif response.mimetype == "application/json" and request["method"] == "POST":
        answer = json.loads(response.data, parse_constant=pytest.fail)
        for result in answer.get("results", []):
            assert set(result) in ({"error"}, {"probabilities", "confident"})
            assert "error" not in result or KINDS[result["error"]["code"]].status < 500
    return response.status_code


@given(request=REQUESTS)
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_request_fails_the_service(app: Flask, request: dict[str, Any]) -> None:
    check(app.test_client(), request)


@pytest.mark.slow
def test_five_thousand_requests_do_not_fail_the_service(app: Flask) -> None:
    client, statuses = app.test_client(), Counter[int]()

    @given(request=REQUESTS)
    @settings(max_examples=5_000, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
    def run(request: dict[str, Any]) -> None:
        statuses[check(client, request)] += 1

    run()
    assert all(statuses[status] > 20 for status in (200, 400, 404, 405, 415)), statuses


@pytest.mark.slow
def test_the_openapi_document_holds_for_thousands_of_generated_requests(model: Path, tmp_path: Path) -> None:
    """All checks of schemathesis through gunicorn, with valid and invalid requests."""
    # The document cannot specify which bytes are an image, so refusing valid requests is allowed.
    accepted = '["2xx", "400", "413", "415", "422"]'
    settings_file = tmp_path / "schemathesis.toml"
    settings_file.write_text(f"[checks.positive_data_acceptance]\nexpected-statuses = {accepted}\n")
    with running(model, tmp_path / "service", WEB_CONCURRENCY="1") as service:
        command = [
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "--config-file", str(settings_file), "run", f"http://127.0.0.1:{service.port}/openapi.json",
            "--checks", "all", "--max-examples", "700", "--seed", "1", "--no-color",
        ]  # fmt: skip
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=550, check=False)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    cases = re.search(r"(\d[\d,]*) generated", found.stdout)
    assert cases and int(cases[1].replace(",", "")) >= 1000, found.stdout[-2000:]
