"""No client data stays in a cache of the process, from any part of a request."""

import base64
import encodings
import functools
import gc
import re
import tracemalloc
import urllib.parse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from headstand.serve import flask_app
from headstand.serve.classifier import Classifier
from headstand.serve.download import DownloadError, fetch
from headstand.serve.lambda_handler import LambdaFunction
from tests.serve.hostile import HostileServer

MARK = "canary"
LONG = 30_000


def cached() -> set[str]:
    """Returns the names of caches that contain the mark: `functools.lru_cache` and those of the standard library."""
    caches: list[tuple[str, Any]] = [("re", re._cache), ("encodings", encodings._cache)]  # type: ignore[attr-defined]
    wrappers = [item for item in gc.get_objects() if type(item) is functools._lru_cache_wrapper]
    caches += [(wrapper.__name__, wrapper) for wrapper in wrappers if wrapper.cache_info().currsize]
    return {name for name, cache in caches if any(MARK in text for text in texts(cache))}


def texts(cache: Any) -> Iterator[str]:
    """Yields all strings that a cache refers to, through its links, keys and values."""
    visited, level = {id(cache)}, [cache]
    for _ in range(6):
        following = []
        for item in level:
            for found in gc.get_referents(item):
                if isinstance(found, str):
                    yield found
                elif isinstance(found, bytes):
                    yield found.decode("latin-1")
                elif id(found) not in visited and not isinstance(found, (int, float, type, type(re), type(cached))):
                    visited.add(id(found))
                    following.append(found)
        level = following


def requests(server: HostileServer, mark: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields path and arguments of requests with the mark in each part that a client controls."""
    long = mark + "a" * LONG
    yield "/predict", {"json": {"url": f"http://{long}"}}
    yield "/predict", {"json": {"url": f"http://{mark}.invalid/"}}
    yield "/predict", {"json": {"url": f"http://{mark}@[{mark}/"}}
    yield "/predict", {"json": {"url": server.url(f"/photo?{mark}")}}
    yield "/predict", {"json": {"url": server.url(f"/redirect?to=/photo?{mark}")}}
    yield "/predict", {"json": {"url": server.url(f"/redirect?to=http://{long}/")}}
    yield "/predict", {"json": {long: long}}
    yield "/predict", {"json": {"image": long}}
    yield "/predict", {"data": b"x", "content_type": f"text/plain; charset={mark}"}
    yield "/predict", {"data": b"{" + mark.encode(), "content_type": f"application/json; charset={mark}"}
    yield f"/predict?top={mark}&{mark}={mark}", {"data": b"x"}
    yield f"/{mark}", {"data": b"x", "headers": {mark: mark, "Cookie": f"{mark}={mark}", "X-Request-ID": mark}}
    head = (
        f'Content-Disposition: form-data; name="{mark}"; filename="{mark}"\r\nContent-Type: text/{mark}; charset={mark}'
    )
    form = f"--{mark}\r\n{head}\r\n\r\nx\r\n--{mark}--\r\n"
    yield "/predict", {"data": form, "content_type": f"multipart/form-data; boundary={mark}"}
    yield "/predict/batch", {"data": form, "content_type": f"multipart/form-data; boundary={mark}"}
    yield "/predict/batch", {"json": [{"url": server.url(f"/photo?{mark}")}, {"url": f"http://{long}"}]}


def over_http(classifier: Classifier) -> Callable[[str, dict[str, Any]], int]:
    client = flask_app.create_app(classifier, fetch=partial(fetch, allow_loopback=True)).test_client()
    return lambda path, arguments: client.post(path, **arguments).status_code


def over_lambda(classifier: Classifier) -> Callable[[str, dict[str, Any]], int]:
    """The same requests as events of a gateway, built with werkzeug, whose caches are cleared."""
    function = LambdaFunction(classifier, fetch=partial(fetch, allow_loopback=True))

    def send(path: str, arguments: dict[str, Any]) -> int:
        from werkzeug.test import EnvironBuilder

        builder = EnvironBuilder(path, method="POST", **arguments)
        request = builder.get_request()
        event = {
            "requestContext": {"http": {"method": "POST"}},
            "rawPath": request.path,
            "rawQueryString": request.query_string.decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": base64.b64encode(request.get_data()).decode(),
            "isBase64Encoded": True,
        }
        builder.close()
        urllib.parse.clear_cache()
        return function.handle(event)["statusCode"]

    return send


@pytest.mark.parametrize("transport", [over_http, over_lambda])
def test_no_cache_keeps_client_data(
    transport: Callable[[Classifier], Callable[[str, dict[str, Any]], int]],
    classifier: Classifier,
    server: HostileServer,
) -> None:
    send = transport(classifier)
    statuses = [send(path, arguments) for path, arguments in requests(server, MARK)]
    assert statuses.count(200) == 4 and max(statuses) < 500
    assert cached() == set()


def test_the_check_detects_cached_data() -> None:
    assert cached() == set()
    urllib.parse.urlsplit(f"http://{MARK}/")
    re.compile(f"of {MARK}")
    try:
        assert cached() == {"urlsplit", "re"}
    finally:
        urllib.parse.clear_cache()
        re.purge()


@pytest.mark.parametrize("transport", [over_http, over_lambda])
def test_memory_does_not_grow_with_long_urls(
    transport: Callable[[Classifier], Callable[[str, dict[str, Any]], int]], classifier: Classifier
) -> None:
    """Regression: 60 bodies with a URL of 27.9 MB each left 1,988 MB in memory."""
    send = transport(classifier)
    assert send("/predict", {"json": {"url": "http://" + "a" * LONG}}) == 400
    tracemalloc.start()
    try:
        for number in range(20):
            assert send("/predict", {"json": {"url": f"http://{number}" + "a" * 10 * LONG}}) == 400
        gc.collect()  # objects of the test client
        assert tracemalloc.get_traced_memory()[0] < 10 * LONG
    finally:
        tracemalloc.stop()


def test_a_failed_download_leaves_nothing_for_the_garbage_collector(
    server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: an error that its own frame referred to kept up to 20 MB of a body."""
    monkeypatch.setattr("headstand.serve.download.MAX_BYTES", 1_000_000)

    def fails() -> None:
        try:
            fetch(server.url("/huge"), allow_loopback=True)
        except DownloadError as error:
            assert error.code == "download_too_large"

    fails()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            fails()
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
        gc.enable()
