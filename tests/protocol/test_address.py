"""Addresses: what is an IPv4 address, an IPv6 address or a name, and how they are written, read and shown."""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.address import (
    MAX_NAME,
    UNSPECIFIED,
    Address,
    AddressType,
    address_of,
    canonical,
    interleave,
    parse_address,
    parse_zoned,
    printable,
    unmapped,
    with_scope,
)
from chainsocks.protocol.masking import masked
from tests.protocol.playbook import wire

IPV4, DOMAINNAME, IPV6 = AddressType


def test_the_types_are_numbered_as_rfc_1928_numbers_atyp() -> None:
    assert {kind.name: kind.value for kind in AddressType} == {"IPV4": 1, "DOMAINNAME": 3, "IPV6": 4}


@pytest.mark.parametrize(
    ("host", "kind", "packed"),
    [
        ("192.0.2.1", IPV4, "C0000201"),
        ("0.0.0.0", IPV4, "00000000"),
        ("255.255.255.255", IPV4, "FF*4"),
        ("::", IPV6, "00*16"),
        ("::1", IPV6, "00*15 01"),
        ("2001:db8::c0de", IPV6, "20010DB8 00*10 C0DE"),
        ("::ffff:192.0.2.1", IPV6, "00*10 FFFF C0000201"),
        ("example.org", DOMAINNAME, "'example.org'"),
        ("a", DOMAINNAME, "'a'"),
        ("bücher.example", DOMAINNAME, "'b' C3BC 'cher.example'"),
        ("\udcff\udcfe", DOMAINNAME, "FFFE"),
        # What only resembles an address is a name, and the resolver at the far end may judge it.
        ("192.0.2", DOMAINNAME, "'192.0.2'"),
        ("192.0.2.256", DOMAINNAME, "'192.0.2.256'"),
        ("192.0.2.1.", DOMAINNAME, "'192.0.2.1.'"),
        ("example.org1", DOMAINNAME, "'example.org1'"),
        ("x²", DOMAINNAME, "'x' C2B2"),
        ("fe80::1%eth0", DOMAINNAME, "'fe80::1%eth0'"),
        ("[::1", DOMAINNAME, "'[::1'"),
        ("::1]", DOMAINNAME, "'::1]'"),
        ("[]", DOMAINNAME, "'[]'"),
        ("[", DOMAINNAME, "'['"),
        ("[[::1]]", DOMAINNAME, "'[[::1]]'"),
        ("[192.0.2.1]", DOMAINNAME, "'[192.0.2.1]'"),
        ("[example.org]", DOMAINNAME, "'[example.org]'"),
        ("::\udcff", DOMAINNAME, "'::' FF"),
        ("\udcff.1", DOMAINNAME, "FF '.1'"),
        pytest.param("n" * 255, DOMAINNAME, "'n'*255", id="255-bytes"),
        pytest.param("ü" * 127, DOMAINNAME, "C3BC*127", id="254-bytes-in-127-characters"),
    ],
)
def test_the_type_is_decided_by_the_host(host: str, kind: AddressType, packed: str) -> None:
    address = Address(host, 80)
    assert (address.host, address.port) == (host, 80)
    assert (address.type, address.packed) == (kind, wire(packed))


@pytest.mark.parametrize("inner", ["::1", "2001:DB8::1", "::ffff:192.0.2.1", "::", "fe80::1%eth0"])
def test_an_ipv6_address_in_brackets_is_that_address(inner: str) -> None:
    as_name = Address.from_packed(DOMAINNAME, f"[{inner}]".encode(), 80)
    assert as_name == Address(f"[{inner}]", 80) == Address(inner, 80)
    assert (as_name.host, as_name.type, as_name.packed) == (inner, Address(inner, 80).type, Address(inner, 80).packed)


def test_the_interface_of_a_link_local_address() -> None:
    address = Address("fe80::1", 80, scope=2)
    assert (str(address), address.zoned, address.sockaddr) == ("[fe80::1%2]:80", "fe80::1%2", ("fe80::1", 80, 0, 2))
    assert address != Address("fe80::1", 80)
    assert parse_zoned("fe80::1%2", 80) == address
    assert canonical(address) == address
    for other in (Address("fe80::1", 80), Address("192.0.2.1", 80)):
        assert (other.zoned, other.sockaddr) == (other.host, (other.host, 80))
        assert parse_zoned(other.zoned, 80) == other


@pytest.mark.parametrize(
    ("host", "gets_it"),
    [("fe80::1", True), ("febf::1", True), ("fec0::1", False), ("2001:db8::1", False), ("fe80.example", False)],
)
def test_only_a_link_local_address_gets_an_interface(host: str, gets_it: bool) -> None:  # noqa: FBT001
    assert with_scope(Address(host, 80), 3) == Address(host, 80, scope=3 if gets_it else 0)
    assert Address(host, 80).is_link_local is gets_it
    assert with_scope(Address(host, 80, scope=2), 3).scope == 2


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_ports_at_the_limits(port: int) -> None:
    assert Address("example.org", port).port == port


@pytest.mark.parametrize(
    ("host", "port", "complaint"),
    [
        pytest.param("", 80, "the host is empty", id="empty"),
        pytest.param("n" * 256, 80, "the name is 256 bytes long; SOCKS carries at most 255", id="256-bytes"),
        pytest.param("ü" * 128, 80, "the name is 256 bytes long", id="128-characters-of-two-bytes"),
        pytest.param("ex\0ample.org", 80, "the name contains a NUL byte", id="NUL-in-name"),
        pytest.param("192.0.\0.1", 80, "the name contains a NUL byte", id="NUL-in-what-resembles-IPv4"),
        pytest.param("::\0", 80, "the name contains a NUL byte", id="NUL-in-what-resembles-IPv6"),
        pytest.param("\ud800", 80, "'utf-8' codec can't encode", id="half-a-character"),
        pytest.param("example.org", -1, "port -1 is not in 0..65535", id="port-below"),
        pytest.param("example.org", 65536, "port 65536 is not in 0..65535", id="port-above"),
    ],
)
def test_what_no_address_can_be(host: str, port: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}"):
        Address(host, port)


class Word(str):
    """A text of a type of its own, as numpy and pandas have them."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number:
    """A number of a type of its own."""

    def __index__(self) -> int:
        return 443


class Ports(enum.IntEnum):
    HTTPS = 443


@pytest.mark.parametrize(
    ("host", "same"),
    [
        (b"example.org", "example.org"),
        (bytearray(b"::1"), "::1"),
        ("bücher.example".encode(), "bücher.example"),
        (Word("example.org"), "example.org"),
        (IPv4Address("192.0.2.1"), "192.0.2.1"),
        (IPv6Address("2001:db8::1"), "2001:db8::1"),
        (IPv6Address("fe80::1%eth0"), "fe80::1%eth0"),
        (b"[::1]", "::1"),
    ],
)
@pytest.mark.parametrize("port", ["443", b"443", Number(), Ports.HTTPS, "00443"])
def test_other_types_that_have_one_meaning(host: Any, same: str, port: Any) -> None:
    address = Address(host, port)
    assert address == Address(same, 443)
    assert (type(address.host), type(address.port), address.type) == (str, int, Address(same, 443).type)


@pytest.mark.parametrize("port", [None, True, False, 80.0, math.nan, "", "http", " 80", "+80", "-1", "8_0", "٨٠", [80]])
def test_what_is_no_port(port: Any) -> None:
    with pytest.raises(ValueError, match=r"^the port is .*; write a number in 0..65535, such as 443$"):
        Address("example.org", port)


@pytest.mark.parametrize("port", [65536, -1, 2**70, "65536", "99999"])
def test_a_port_out_of_range(port: Any) -> None:
    with pytest.raises(ValueError, match=r"^port -?\d+ is not in 0..65535$"):
        Address("example.org", port)


@pytest.mark.parametrize(
    "host",
    [
        *(None, True, 80, 1.5, ["example.org"], ("example.org", 80), Address("example.org", 80)),
        *(ip_interface("192.0.2.1/24"), ip_network("192.0.2.0/24"), memoryview(b"example.org")),
    ],
)
def test_what_is_no_host(host: Any) -> None:
    with pytest.raises(ValueError, match=r'^the host is .*; write a text, such as "example.org" or "192.0.2.1"$'):
        Address(host, 80)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(ValueError, match="bytes that are not UTF-8; write it as text"):
        Address(b"caf\xe9", 80)  # type: ignore[arg-type]


def test_what_is_no_interface() -> None:
    assert type(Address("fe80::1", 80, scope=Ports.HTTPS).scope) is int
    with pytest.raises(ValueError, match="the scope is of type str; write the number of the interface"):
        Address("fe80::1", 80, scope="eth0")  # type: ignore[arg-type]


def test_an_address_is_a_value() -> None:
    address = Address("example.org", 80)
    assert address == Address("example.org", 80)
    assert hash(address) == hash(Address("example.org", 80))
    assert address not in {Address("example.org", 81), Address("example.com", 80)}
    assert repr(address) == "Address(host='example.org', port=80)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        address.port = 81  # type: ignore[misc]


def test_the_unspecified_address() -> None:
    assert (UNSPECIFIED.type, UNSPECIFIED.packed, UNSPECIFIED.port) == (IPV4, bytes(4), 0)


# --- the wire form ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "packed", "address"),
    [
        (IPV4, "C0000201", Address("192.0.2.1", 80)),
        (IPV6, "20010DB8 00*10 C0DE", Address("2001:db8::c0de", 80)),
        (DOMAINNAME, "'example.org'", Address("example.org", 80)),
        (DOMAINNAME, "FF", Address("\udcff", 80)),
        # A name that spells an address is that address: some clients send every destination as a name.
        (DOMAINNAME, "'192.0.2.1'", Address("192.0.2.1", 80)),
        (DOMAINNAME, "'::1'", Address("::1", 80)),
    ],
)
def test_from_packed(kind: AddressType, packed: str, address: Address) -> None:
    assert Address.from_packed(kind, wire(packed), 80) == address


@pytest.mark.parametrize(
    ("kind", "packed", "complaint"),
    [
        (IPV4, "00*3", "invalid length"),
        (IPV6, "00*15", "invalid length"),
        (DOMAINNAME, "", "the host is empty"),
        (DOMAINNAME, "'a' 00", "the name contains a NUL byte"),
        (DOMAINNAME, "'a'*256", "the name is 256 bytes long"),
    ],
)
def test_from_packed_refuses(kind: AddressType, packed: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}"):
        Address.from_packed(kind, wire(packed), 80)


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_ip_addresses_survive_the_way_through_text(packed: bytes) -> None:
    kind = IPV4 if len(packed) == 4 else IPV6
    address = Address.from_packed(kind, packed, 80)
    assert (address.type, address.packed) == (kind, packed)


@given(st.binary(min_size=1, max_size=MAX_NAME).filter(lambda name: b"\0" not in name))
def test_names_survive_byte_for_byte(name: bytes) -> None:
    address = Address.from_packed(DOMAINNAME, name, 80)
    assert address.type is not DOMAINNAME or address.packed == name
    assert address.host.encode("utf-8", "surrogateescape") == name


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("192.0.2.1", 80), "192.0.2.1:80"),
        (Address("2001:db8::1", 80), "[2001:db8::1]:80"),
        (Address("example.org", 0), "example.org:0"),
        (Address("bücher.example", 80), "bücher.example:80"),
        (Address("evil\r\nlog line", 80), r"evil\r\nlog line:80"),
        (Address("\udcff", 80), r"\udcff:80"),
    ],
)
def test_str(address: Address, text: str) -> None:
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("example.org:1080", Address("example.org", 1080)),
        ("192.0.2.1:0", Address("192.0.2.1", 0)),
        ("192.0.2.1:65535", Address("192.0.2.1", 65535)),
        ("[::1]:1080", Address("::1", 1080)),
        ("[fe80::1%eth0]:1080", Address("fe80::1%eth0", 1080)),
        ("example.org:01080", Address("example.org", 1080)),
        # The port may be left out where there is a usual one.
        ("example.org", Address("example.org", 9050)),
        ("example.org:", Address("example.org", 9050)),
        ("192.0.2.1", Address("192.0.2.1", 9050)),
        ("[::1]", Address("::1", 9050)),
        ("[::1]:", Address("::1", 9050)),
    ],
)
def test_parse_address(text: str, address: Address) -> None:
    assert parse_address(text, default_port=9050) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("example.org", "a port is missing, as in example.org:1080"),
        ("example.org:", "a port is missing"),
        ("[::1]", "a port is missing"),
        ("", "a port is missing"),
        ("::1", r"put an IPv6 address in brackets, as in \[::1\]:1080"),
        ("::1:1080", "put an IPv6 address in brackets"),
        ("[::1:1080", "put an IPv6 address in brackets"),
        ("[::1]1080", "put an IPv6 address in brackets"),
        ("http://example.org:1080", "put an IPv6 address in brackets"),
        ("[example.org]:1080", "only an IPv6 address stands in brackets"),
        ("[192.0.2.1]:1080", "only an IPv6 address stands in brackets"),
        ("[]:1080", "only an IPv6 address stands in brackets"),
        ("[not:ipv6]:1080", "only an IPv6 address stands in brackets"),
        ("example.org:http", "a port is a number, as in example.org:1080"),
        ("example.org:-1", "a port is a number, as in example.org:1080"),
        ("example.org: 80", "a port is a number, as in example.org:1080"),
        ("example.org:٨٠", "a port is a number, as in example.org:1080"),
    ],
)
def test_parse_address_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(masked(text)))}: {complaint}"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(":1080", "the host is empty"), ("example.org:65536", r"port 65536 is not in 0\.\.65535")],
)
def test_parse_address_makes_no_address_that_cannot_be(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        parse_address(text)


@given(
    st.ip_addresses().map(str) | st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z]{2,9})?", fullmatch=True), st.integers(0, 65535)
)
def test_what_str_writes_parse_address_reads(host: str, port: int) -> None:
    address = Address(host, port)
    assert parse_address(str(address)) == address


@given(st.text(alphabet="a1:[].%\0ü", max_size=12) | st.text())
def test_parse_address_raises_nothing_but_value_errors(text: str) -> None:
    try:
        address = parse_address(text, default_port=1080)
    except ValueError:
        return
    assert address.host in text


# --- log lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain 'text' ~", "plain 'text' ~"),
        ("bücher 書", "bücher 書"),
        ("\r\n\t\0\x7f", r"\r\n\t\x00\x7f"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x85\xa0\u2028", r"\x85\xa0\u2028"),
        ("\u202ekcab", r"\u202ekcab"),
        ("\udcff\U0010ffff", r"\udcff\U0010ffff"),
    ],
    ids=[
        "empty",
        "ascii",
        "letters",
        "controls",
        "escape",
        "latin-1-and-line-separator",
        "right-to-left",
        "no-character",
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("host", "same"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::fffe:192.0.2.1", "::fffe:c000:201"),
        ("::", "::"),
        ("Example.org", "Example.org"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_one_way_to_write_an_ip_address(host: str, same: str) -> None:
    assert canonical(Address(host, 53)) == Address(same, 53)


@pytest.mark.parametrize(
    ("packed", "same"),
    [
        ("00*10 FFFF C0000201", "C0000201"),
        ("00*10 FFFE C0000201", "00*10 FFFE C0000201"),
        ("00*10 0000 C0000201", "00*10 0000 C0000201"),  # RFC 4291 section 2.5.5.1, which is deprecated
        ("C0000201", "C0000201"),
    ],
)
def test_ipv4_inside_ipv6_is_undone(packed: str, same: str) -> None:
    assert unmapped(wire(packed)) == wire(same)


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("192.0.2.1", 80), Address("192.0.2.1", 80)),
        (("::1", 80, 0, 0), Address("::1", 80)),
        (("fe80::1%eth0", 80, 0, 2), Address("fe80::1", 80, scope=2)),
    ],
)
def test_what_a_socket_tells(sockaddr: tuple[str, int], address: Address) -> None:
    assert address_of(sockaddr) == address
    assert address_of(sockaddr).type is not AddressType.DOMAINNAME


# --- order ---


A, B, C = Address("2001:db8::1", 80), Address("192.0.2.1", 80), Address("2001:db8::2", 80)


@pytest.mark.parametrize(
    ("addresses", "ordered"),
    [
        ([], []),
        ([B], [B]),
        ([A, C, B], [A, B, C]),
        ([B, A, C], [B, A, C]),
        ([A, A, B, B], [A, B]),
    ],
    ids=["none", "one", "alternates", "keeps the first family first", "no repeats"],
)
def test_the_families_take_turns(addresses: list[Address], ordered: list[Address]) -> None:
    assert interleave(addresses) == ordered
