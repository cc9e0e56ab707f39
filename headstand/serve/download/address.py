"""Filter of network addresses for downloads that clients request: only public unicast addresses are allowed."""

import ipaddress
import socket

_FORBIDDEN = tuple(
    ipaddress.ip_network(block)
    for block in (
        # IANA's special-purpose registries for IPv4 and IPv6. They are written out because the blocks that Python's
        # `is_global` covers depend on its patch release.
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata service here
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # a public address that reaches Azure's own agent from inside Azure
        "2001::/23",  # Teredo, ORCHID, benchmarking and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4: embeds an IPv4 address, which may be private
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

_UNICAST = ipaddress.ip_network("2000::/3")
"""The only IPv6 block from which IANA assigns global unicast addresses.

Loopback, mapped and translated IPv4 (::ffff:0:0/96, 64:ff9b::/96), unique local, link-local and multicast addresses lie
outside it.
"""


def is_public(address: str) -> bool:
    """Returns whether an IP address, in the spelling of `getaddrinfo`, is public unicast."""
    ip = ipaddress.ip_address(address)
    if ip.version == 6 and ip not in _UNICAST:
        return False
    return ip.is_global and not any(ip in block for block in _FORBIDDEN if block.version == ip.version)


def is_loopback(address: str) -> bool:
    """Returns whether an IP address is a loopback address of this machine."""
    return ipaddress.ip_address(address).is_loopback


def resolve(host: str, port: int) -> list[str]:
    """Returns all IP addresses of a host, without duplicates, in the resolver's order.

    A literal address in any spelling is returned in its canonical form.

    Raises:
        OSError: the host has no address.
        UnicodeError: the text is not a valid host name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
