"""However a host is written, it is one and the same."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.hosts import Host, host_of, host_of_ip, normal_name, spelt_out
from chainsocks.protocol.address import Address, AddressType

SPELLINGS = {
    "127.0.0.1": [
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0X7F.0.0.0x1",
        "0177.0.0.01",
        "2130706433",
        "0x7f000001",
        "127.0.0.1.",
    ],
    "10.0.0.1": [
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "::FFFF:a00:1",
        "[::ffff:10.0.0.1]",
        "012.0.0.1",
        "\uff11\uff10\uff0e0.0.1",
        "10\u30021",
    ],
    "8.0.0.1": ["010.0.0.1"],
    "::1": ["::1", "0:0::1", "[::1]", "::1%1", "::1."],
    "fe80::1": ["fe80::1%eth0", "FE80::1%1", "[fe80::1%lo]"],
}


@pytest.mark.parametrize(("ip", "text"), [(ip, text) for ip, texts in SPELLINGS.items() for text in texts])
def test_an_address_in_any_disguise(ip: str, text: str) -> None:
    assert host_of(Address(text, 1)) == Host("", (ip_address(ip).packed,))


@pytest.mark.parametrize("text", ["127.1", "0x7f.1", "010.0.0.1", "2130706433", "0", "0x7f000001", "::1%1", "1.2.772"])
def test_it_is_the_address_that_the_resolver_here_takes_it_for(text: str) -> None:
    [(*_, sockaddr)] = socket.getaddrinfo(text, 1, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    assert ip_address(sockaddr[0]).packed in host_of(Address(text, 1)).ips


@pytest.mark.parametrize(
    ("text", "ips"),
    [
        ("0.0.0.0", ["0.0.0.0", "127.0.0.1"]),
        ("0", ["0.0.0.0", "127.0.0.1"]),
        ("::ffff:0.0.0.0", ["0.0.0.0", "127.0.0.1"]),
        ("::", ["::", "::1"]),
    ],
)
def test_nowhere_is_this_machine_too(text: str, ips: list[str]) -> None:
    assert host_of(Address(text, 1)) == Host("", tuple(ip_address(ip).packed for ip in ips))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.ORG.", "example.org"),
        ("example.org..", "example.org"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.example", "xn--mnchen-3ya.example"),
        ("münchen。example", "xn--mnchen-3ya.example"),
        ("_x.münchen.example", "_x.xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("\uff25\uff38AMPLE.org", "example.org"),
        ("\udcff.Example", "\udcff.example"),
        ("1e5", "1e5"),
        ("-1", "-1"),
        ("a:b", "a:b"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert normal_name(text) == name
    assert host_of(Address(text, 1)) == Host(name)


@pytest.mark.parametrize("text", ["localhost", "LOCALHOST.", "a.localhost"])
def test_localhost_is_a_name_and_two_addresses(text: str) -> None:
    host = host_of(Address(text, 1))
    assert host.name == text.lower().rstrip(".")
    assert host.ips == (ip_address("127.0.0.1").packed, ip_address("::1").packed)


@pytest.mark.parametrize(
    "text", ["256.1", "1.2.3.4.5", "08.0.0.1", "0x", "1.-1.1.1", "example.0x1f", "x.7", ".", "..", "10.0.0.1 ", "a\tb"]
)
def test_what_is_neither_a_name_nor_an_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|no label|blanks"):
        host_of(Address(text, 1))


@pytest.mark.parametrize(
    ("asked", "dialled"),
    [
        ("127.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("0", "0.0.0.0"),
        ("10.0.0.1.", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("Example.ORG.", "Example.ORG."),
        ("localhost", "localhost"),
    ],
)
def test_what_is_dialled(asked: str, dialled: str) -> None:
    address = Address(asked, 7)
    assert spelt_out(address, host_of(address)) == Address(dialled, 7)


@given(st.binary(min_size=1, max_size=255).filter(lambda name: b"\0" not in name))
def test_any_bytes_are_a_host_or_refused(name: bytes) -> None:
    address = Address.from_packed(AddressType.DOMAINNAME, name, 1)
    try:
        host = host_of(address)
    except ValueError:
        return
    assert host.name or host.ips
    assert host == host_of(spelt_out(address, host))
    assert host.name == normal_name(host.name)


@given(st.text(min_size=1, max_size=60).filter(lambda text: "\0" not in text))
def test_the_form_is_the_form_of_itself(text: str) -> None:
    form = normal_name(text)
    assert normal_name(form) == form


@given(st.ip_addresses())
def test_ip_addresses(ip: object) -> None:
    packed = ip_address(str(ip)).packed
    assert host_of(Address(str(ip), 1)) == host_of_ip(packed)
