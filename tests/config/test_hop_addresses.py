"""Where hops are, and where their datagrams go."""

from __future__ import annotations

import pytest

from chainsocks.config.choices import UdpRelay
from chainsocks.config.hop_addresses import parse_hop_address, parse_udp_relay
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.protocol.address import Address
from tests.config.files import complaint_of

EXPECTED_ADDRESS = (
    "expected host:port, as in example.org:1080 or [::1]:1080, with a name of at most 255 bytes and a port in "
    "1..65535; a login stands before an @, or under keys of its own"
)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="nothing"),
        pytest.param(":1080", id="no host"),
        pytest.param("paris.example:socks", id="port in letters"),
        pytest.param("paris.example:-1", id="negative port"),
        pytest.param("paris.example:1080x", id="letters behind the port"),
        pytest.param("paris.example:١٠٨٠", id="digits of another script"),
        pytest.param("paris.example:0", id="port 0: no server can be reached there"),
        pytest.param("paris.example:65536", id="port too high"),
        pytest.param("paris.example:" + "9" * 5000, id="port far too high"),
        pytest.param("::1", id="IPv6 without brackets"),
        pytest.param("::1:1080", id="IPv6 with port, without brackets"),
        pytest.param("[::1", id="bracket left open"),
        pytest.param("[paris.example]:1080", id="name in brackets"),
        pytest.param("n" * 256, id="name over 255 bytes"),
        pytest.param("paris.example:1080/path", id="path"),
        pytest.param("paris.example/path", id="path without port"),
        pytest.param("paris.example?timeout=5", id="query"),
        pytest.param("paris.example#1", id="fragment"),
        pytest.param("paris example:1080", id="space"),
        pytest.param("10.0.0.1:1080:alice:secret", id="login in another program's order"),
        pytest.param("alice:secret", id="login without a host"),
    ],
)
def test_what_no_address_of_a_hop_is(address: str) -> None:
    """It is never repeated: it may hold a login in the form of another program."""
    for parse, text in ((parse_hop_address, address), (parse_hop_url, f"socks5://{address}")):
        assert complaint_of(parse, text) == EXPECTED_ADDRESS


@pytest.mark.parametrize(
    ("text", "relay"),
    [
        ("hop", UdpRelay.HOP),
        ("reported", UdpRelay.REPORTED),
        ("192.0.2.1", Address("192.0.2.1", 0)),
        ("192.0.2.1:4000", Address("192.0.2.1", 4000)),
        ("2001:db8::1", Address("2001:db8::1", 0)),
        ("[2001:db8::1]", Address("2001:db8::1", 0)),
        ("[2001:db8::1]:4000", Address("2001:db8::1", 4000)),
    ],
)
def test_where_the_datagrams_of_a_hop_go(text: str, relay: UdpRelay | Address) -> None:
    assert parse_udp_relay(text) == relay


@pytest.mark.parametrize(
    "text", ["", "Hop", "hop:1", "example.org", "example.org:1080", "0.0.0.0", "::", "192.0.2.1:x", "[::1"]
)
def test_what_is_no_place_for_datagrams(text: str) -> None:
    assert complaint_of(parse_udp_relay, text) == (
        'expected "hop", "reported", or an IP address such as 192.0.2.1 or 192.0.2.1:1080'
    )


def test_a_place_for_datagrams_may_be_written_as_in_a_file() -> None:
    hop = Hop("x", "socks5", Address("paris.example", 1080), udp_relay="192.0.2.1")
    assert hop.udp_relay == Address("192.0.2.1", 0)


@pytest.mark.parametrize("url", ["socks5://[fe80::1]:1080", "socks4a://[FEBF::1]", "socks5://alice:secret@[fe80::1]"])
def test_a_link_local_hop_needs_its_interface(url: str) -> None:
    with pytest.raises(ValueError, match=r"^a link-local address needs the name of its interface"):
        parse_hop_url(url)


def test_a_link_local_hop_with_its_interface() -> None:
    assert parse_hop_url("socks5://[fe80::1%eth0]:1080").address == Address("fe80::1%eth0", 1080)
