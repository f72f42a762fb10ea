"""Which network addresses a crawl may connect to.

The check is made on the very address that a socket is opened for, for every connection: a name that resolves to
something else the second time, and a redirect to the inside of a network, gain nothing.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from pipeline.crawl.failure import FetchFailed

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it: family, type, protocol, canonical name, (host, port, ...)."""

NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, an IPv4 address written inside an IPv6 one included.

    Not public: private, loopback, link-local, shared (100.64/10), reserved, unspecified and multicast addresses.
    """
    return all(one.is_global and not one.is_multicast for one in _meant(ip_address(address.partition("%")[0])))


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address, and those that a translator or tunnel would make of it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inside: list[IPv4Address | IPv6Address] = [address]
    if address.sixtofour is not None:
        inside.append(address.sixtofour)
    if address.teredo is not None:
        inside.extend(address.teredo)
    if address in NAT64:
        inside.append(IPv4Address(address.packed[-4:]))
    return inside


def public_socket(info: AddressInfo) -> socket.socket:
    """A socket for this address. Raises FetchFailed where the address is not public."""
    family, type_, protocol, _, (host, *_) = info
    if not is_public(str(host)):
        raise FetchFailed(
            "PrivateAddress", f"leads to {host}, which is not on the public internet (crawl.allow_private permits it)"
        )
    return socket.socket(family=family, type=type_, proto=protocol)
