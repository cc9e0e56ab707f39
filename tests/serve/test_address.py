import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstand.serve.download import address


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808",
        "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1", "2001:10::1", "2001:20::1", "3fff::1", "5f00::1", "100::1", "fc00::1", "fd00:ec2::254",
        "fe80::1", "fe80::1%2", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_special_addresses_are_not_public(text: str) -> None:
    assert not address.is_public(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_ordinary_addresses_are_public(text: str) -> None:
    assert address.is_public(text)


@given(st.ip_addresses(v=4))
def test_no_embedded_private_ipv4_address_is_public(ip) -> None:
    if ip.is_private or ip.is_multicast or ip.is_reserved or ip.is_link_local:
        assert not address.is_public(str(ip))
    packed = ip.packed.hex()
    for disguise in (f"::ffff:{ip}", f"64:ff9b::{ip}", f"2002:{packed[:4]}:{packed[4:]}::1", f"::{ip}"):
        assert not address.is_public(disguise)


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001"])
def test_unusual_spellings_resolve_to_their_address(spelling: str) -> None:
    assert address.resolve(spelling, 80) == ["127.0.0.1"]


def test_all_addresses_of_a_host_are_returned_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [("8.8.8.8", 80), ("10.0.0.1", 80), ("8.8.8.8", 80)]
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", pair) for pair in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer)
    assert address.resolve("two.example", 80) == ["8.8.8.8", "10.0.0.1"]


def test_only_addresses_of_this_machine_are_loopback() -> None:
    assert address.is_loopback("127.0.0.2") and address.is_loopback("::1")
    assert not address.is_loopback("10.0.0.1") and not address.is_loopback("8.8.8.8")
