"""Which addresses are on the public internet."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.crawl.addresses import is_public, socket_factory
from pipeline.crawl.failure import FetchFailed

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fec0::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::7f00:1",
    "3fff::1",
    "5f00::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_counts_as_itself(address: IPv4Address) -> None:
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    translated = IPv6Address(IPv6Address("64:ff9b::").packed[:12] + address.packed)
    assert is_public(str(mapped)) == is_public(str(address)) == is_public(str(translated))


@given(st.ip_addresses(), st.integers(0, 32))
def test_an_allowed_network_opens_itself_and_nothing_else(address: IPv4Address | IPv6Address, prefix: int) -> None:
    info: Any = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (str(address), 80))
    opened = socket_factory((f"10.0.0.0/{prefix}",))
    network = ip_network(f"10.0.0.0/{prefix}", strict=False)
    if is_public(str(address)) or address in network:
        opened(info).close()
    else:
        with pytest.raises(FetchFailed, match="PrivateAddress"):
            opened(info)
