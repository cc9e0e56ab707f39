import hmac

import pytest

from headstand.errors import HeadstandError
from headstand.serve.api_keys import ApiKeys, configured

ONE, TWO = "0123456789abcdef", "another~key!of-characters"


def test_without_keys_every_client_is_admitted() -> None:
    keys = configured({})
    assert not keys and keys.admits(None) and keys.admits("Bearer x") and keys.admits("")


def test_any_of_the_keys_is_admitted_and_nothing_else() -> None:
    keys = configured({"HEADSTAND_API_KEY": f"{ONE}, {TWO}"})
    assert keys
    for header in (f"Bearer {ONE}", f"bearer {TWO}", f"BEARER  {ONE} "):
        assert keys.admits(header)
    for header in (
        None, "", "Bearer", "Bearer ", ONE, f"Basic {ONE}", f"Bearer {ONE}x", f"Bearer {ONE[:-1]}", f"Bearer{ONE}",
        f"Bearer {ONE},{TWO}", f"Bearer {ONE}, {TWO}", "Bearer \udcff\u1234" + ONE, "Bearer " + "x" * 8000,
    ):  # fmt: skip
        assert not keys.admits(header)


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    original = hmac.compare_digest

    def spied(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spied)
    keys = ApiKeys(ONE, TWO, "a" * 16)
    for header in (f"Bearer {ONE}", "Bearer x", None):
        compared.clear()
        keys.admits(header)
        assert compared == [(32, 32)] * 3


@pytest.mark.parametrize(
    ("text", "number", "length"),
    [("", 1, 0), (" ", 1, 0), (ONE[:-1], 1, 15), (f"{ONE},", 2, 0), (f"{ONE},,{TWO}", 2, 0), ("a" * 257, 1, 257),
     ("0123456789 abcdef", 1, 17), ("0123456789abcdef\u00e9", 1, 17), (ONE + "\n" + ONE, 1, 33)],
)  # fmt: skip
def test_an_invalid_key_is_an_error_that_does_not_show_it(text: str, number: int, length: int) -> None:
    with pytest.raises(HeadstandError) as caught:
        configured({"HEADSTAND_API_KEY": text})
    assert f"key {number} of HEADSTAND_API_KEY has {length} characters" in str(caught.value)
    assert ONE[:9] not in str(caught.value)
