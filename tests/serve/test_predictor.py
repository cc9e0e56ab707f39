from urllib.parse import urlsplit

import pytest

from headstand.serve.predictor import _host


@pytest.mark.parametrize(
    "url",
    ["http://photos.example/a.jpg", "HTTPS://Photos.Example:8443/?q#f", "http://user:secret@photos.example/",
     "http://a@b@photos.example:80", "http://[2001:db8::1]:80/", "http://photos.example?x@y", "http://photos.example#x@y"],
)  # fmt: skip
def test_the_host_for_the_log_is_the_one_that_urlsplit_finds(url: str) -> None:
    assert _host(url) == urlsplit(url).hostname


@pytest.mark.parametrize("url", ["", "photo.jpg", "file:///etc/passwd", "http://", "http:///x", "http://user:secret@/"])
def test_a_url_without_a_host_is_not_logged(url: str) -> None:
    assert _host(url) == "?"


def test_a_password_is_never_logged_as_the_host() -> None:
    assert _host("http://photos.example\\@other.example/") == "photos.example"
    assert _host("http://user:se/cret@photos.example/") == "user"
    assert _host("http://" + "a" * 300 + "/") == "a" * 255
