"""Which network addresses a crawl may connect to.

The check is made on the very address that a socket is opened for, for every connection: a name that resolves to
something else the second time, and a redirect to the inside of a network, gain nothing.
"""

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from pipeline.crawl.failure import FetchFailed

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` gives it: family, type, protocol, canonical name, (host, port, ...)."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAT64 = IPv6Network("64:ff9b::/96")
NOT_PUBLIC = (
    IPv6Network("::/96"),  # IPv4-compatible (RFC 4291), given up
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated (RFC 2765)
    IPv6Network("64:ff9b:1::/48"),  # translation inside a network (RFC 8215)
    IPv6Network("fec0::/10"),  # site-local (RFC 3879), given up
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    IPv6Network("5f00::/16"),  # segment routing inside a network (RFC 9602)
)
"""What `ipaddress` takes for global, in some of Python's versions at least."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, an IPv4 address written inside an IPv6 one included.

    Not public: private, loopback, link-local, shared (100.64/10), reserved, unspecified and multicast addresses.
    """
    meant = _meant(ip_address(address.partition("%")[0]))
    return all(one.is_global and not one.is_multicast and not _inside(one, NOT_PUBLIC) for one in meant)


def socket_factory(private: bool | tuple[str, ...]) -> Callable[[AddressInfo], socket.socket]:
    """What opens sockets to public addresses, and to private ones as far as they are allowed.

    Args:
        private: True for all of them, else the networks that are allowed.
    """
    networks = [] if isinstance(private, bool) else [ip_network(text, strict=False) for text in private]

    def allowed(address: str) -> bool:
        return private is True or is_public(address) or _inside(ip_address(address.partition("%")[0]), networks)

    def opened(info: AddressInfo) -> socket.socket:
        """Raises FetchFailed where the address is not allowed."""
        family, type_, protocol, _, (host, *_) = info
        if not allowed(str(host)):
            raise FetchFailed(
                "PrivateAddress",
                f"leads to {host}, which is not on the public internet (crawl.private_addresses permits it)",
            )
        return socket.socket(family=family, type=type_, proto=protocol)

    return opened


def _inside(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _meant(address: Address) -> list[Address]:
    """The address, and those that a translator or tunnel would make of it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inside: list[Address] = [address]
    if address.sixtofour is not None:
        inside.append(address.sixtofour)
    if address.teredo is not None:
        inside.extend(address.teredo)
    if address in NAT64:
        inside.append(IPv4Address(address.packed[-4:]))
    return inside
