import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.images import MAX_BYTES, ImageError
from headstand.serve.download import DownloadError
from headstand.serve.payload import PayloadError, image_bytes


def fetch(url: str) -> bytes:
    return f"fetched {url}".encode()


def code_of(fields: object) -> str:
    with pytest.raises((PayloadError, DownloadError, ImageError)) as excinfo:
        image_bytes(fields, fetch)
    return excinfo.value.code


def test_a_url_is_fetched() -> None:
    assert image_bytes({"url": "https://example.org/a.jpg"}, fetch) == b"fetched https://example.org/a.jpg"


@given(st.binary(max_size=200))
def test_base64_may_be_plain_wrapped_or_a_data_url(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for image in (text, "\n".join(textwrap.wrap(text, 76)) + "\n", f"data:image/jpeg;base64,{text}"):
        assert image_bytes({"image": image}, fetch) == data


@pytest.mark.parametrize("fields", [None, [], "url", 3, ["url"]])
def test_anything_but_an_object_is_refused(fields: object) -> None:
    assert code_of(fields) == "bad_request"


@pytest.mark.parametrize("fields", [{}, {"URL": "x"}, {"url": None}, {"url": "http://x/", "image": "AAAA"}])
def test_exactly_one_field_is_required(fields: object) -> None:
    assert code_of(fields) == "no_image"


@pytest.mark.parametrize("url", [3, "", "  ", ["http://x/"], {"a": 1}, False])
def test_a_url_must_be_a_string(url: object) -> None:
    assert code_of({"url": url}) == "bad_url"


def test_a_url_has_at_most_4096_characters() -> None:
    assert code_of({"url": "http://" + "a" * 4090}) == "bad_url"
    assert image_bytes({"url": "http://" + "a" * 4089}, lambda url: url.encode()) == b"http://" + b"a" * 4089


@pytest.mark.parametrize(
    "image",
    ["a", "AAA", "AA=A", "\u00e9AAA", "****", 3, ["AAAA"], "data:image/png,AAAA", "data:image/png;base64", "data:"],
)
def test_invalid_base64_is_refused(image: object) -> None:
    assert code_of({"image": image}) == "bad_base64"


def test_base64_of_too_many_bytes_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = "A" * ((MAX_BYTES + 2) // 3 * 4)
    assert len(image_bytes({"image": longest}, fetch)) <= MAX_BYTES + 2
    monkeypatch.setattr(base64, "b64decode", lambda *args, **kwargs: pytest.fail("decoded"))
    assert code_of({"image": longest + "AAAA"}) == "too_large"
