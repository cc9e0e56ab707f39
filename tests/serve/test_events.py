import base64
from functools import partial

import pytest

from headstand.serve.classifier import Classifier
from headstand.serve.download import fetch
from headstand.serve.events import answer
from tests import tiny
from tests.serve.hostile import HostileServer


def test_an_event_with_base64_is_answered_highest_first(classifier: Classifier) -> None:
    found = answer({"image": base64.b64encode(tiny.photo((0, 200, 100))).decode()}, classifier)
    assert list(found) == ["green", "blue", "red"]
    assert found == pytest.approx(tiny.expected((0, 200, 100)), abs=1e-6)


def test_an_event_with_a_url_is_answered(classifier: Classifier, server: HostileServer) -> None:
    found = answer({"url": server.url()}, classifier, fetch=partial(fetch, allow_loopback=True))
    assert list(found) == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("event", "code"),
    [({}, "no_image"), (None, "bad_request"), ({"image": "?"}, "bad_base64"), ({"image": "AAAA"}, "not_an_image"),
     ({"url": "http://169.254.169.254/"}, "forbidden_address"), ({"url": "file:///etc/passwd"}, "bad_url")],
)  # fmt: skip
def test_a_mistake_of_the_client_comes_back(classifier: Classifier, event: object, code: str) -> None:
    found = answer(event, classifier)
    assert list(found) == ["error"] and found["error"]["code"] == code and found["error"]["message"]


def test_our_own_fault_raises(classifier: Classifier) -> None:
    def broken(url: str) -> bytes:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        answer({"url": "https://example.org/"}, classifier, fetch=broken)
