"""International names as A-labels, wherever a user names a host."""

from __future__ import annotations

from ipaddress import IPv6Address

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.idn import a_label, a_name, destination_of, with_a_labels
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.gssapi import Gssapi

MUNICH = "xn--mnchen-3ya"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("münchen.example", f"{MUNICH}.example"),
        ("MÜNCHEN.Example", f"{MUNICH}.example"),
        ("mu\u0308nchen.example", f"{MUNICH}.example"),  # the dots of the u as a character of their own
        ("münchen", MUNICH),
        ("münchen.example.", f"{MUNICH}.example."),
        ("münchen。example｡", f"{MUNICH}.example."),
        ("a\uff0emünchen\uff0eexample", f"a.{MUNICH}.example"),
        ("_dmarc.münchen.example", f"_dmarc.{MUNICH}.example"),
        ("xn--bcher-kva.münchen.example", f"xn--bcher-kva.{MUNICH}.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
        ("דוגמה.example", "xn--6dbbec0c.example"),
        ("\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45.org", "example.org"),
        ("exam\u00adple.org", "example.org"),
        ("☃.example", "xn--n3h.example"),
        ("i❤.example", "xn--i-7iq.example"),
        ("_müller.example", "xn--_mller-4ya.example"),
        ("\uff11\uff12\uff17.0.0.\uff11", "127.0.0.1"),
    ],
)
def test_an_international_name(name: str, form: str) -> None:
    assert a_name(name) == form
    assert a_name(form) == form
    assert destination_of(name, 80) == destination_of(name.encode(), "80") == Address(form, 80)


@pytest.mark.parametrize(
    "name",
    [
        "example.org",
        "Example.ORG",
        "localhost",
        "_ldap._tcp.example.org",
        "example.org.",
        "a..b",
        ".",
        f"{MUNICH}.example",
        "XN--MNCHEN-3YA.example",
        "xn--.example",
        "-a-.example",
        "a b",
        "x" * 64,
        "192.0.2.1",
        "::1",
        "fe80::1%eth0",
        "b\udcffcher.example",
    ],
)
def test_every_other_name_is_as_it_was(name: str) -> None:
    assert a_name(name) == name
    assert destination_of(name, 80).host == name


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("münchen..example", "a label is empty"),
        (".münchen", "a label is empty"),
        ("münchen..", "a label is empty"),
        ("\u00ad.münchen", "a label is empty"),
        ("ü" * 70 + ".example", "a label has more than 63 bytes"),
        ("☃" * 70 + ".example", "a label has more than 63 bytes"),
        ("x" * 64 + ".münchen", "a label has more than 63 bytes"),
        ("mün chen.example", "a character that no name has"),
        ("mün\u00a0chen.example", "a character that no name has"),
        ("münchen\uff0fetc", "a character that no name has"),
        ("münchen.example:80", "a character that no name has"),
        ("münchen\0.example", "a character that no name has"),
        ("user@münchen.example", "a character that no name has"),
        ("\ud800.example", "a character that no name has"),
        ("\uffff.example", "a character that no name has"),
        ("-ü.example", "hyphen"),
        ("אa.example", "direction"),
        (".".join(["ü" * 40] * 6), "SOCKS carries at most 255"),
    ],
)
def test_a_name_that_has_no_such_form(name: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        destination_of(name, 80)
    assert type(caught.value) is ValueError
    assert str(caught.value).isprintable()


@given(st.text())
def test_any_text_has_a_form_in_ascii_or_none(text: str) -> None:
    try:
        name = a_name(text)
    except UnicodeError:
        raise  # a ValueError as well, and not one in plain words
    except ValueError:
        pass
    else:
        assert name == text or name.isascii()
        assert a_name(name) == name


@given(st.text(min_size=1).filter(lambda text: not text.isascii()))
def test_the_form_is_that_of_idna_where_it_has_one(label: str) -> None:
    try:
        form = idna.encode(label, uts46=True).decode()
    except idna.IDNAError:
        return
    assert a_label(label) == form


def test_only_names_have_labels() -> None:
    for address in (Address("192.0.2.1", 1), Address("::1", 1), Address("fe80::1", 1, scope=2), Address("a", 1)):
        assert with_a_labels(address) is address
    assert with_a_labels(Address("münchen.example", 443)) == Address(f"{MUNICH}.example", 443)
    assert destination_of(IPv6Address("::1"), 1).type is AddressType.IPV6


def test_the_hosts_of_hops_and_chains() -> None:
    munich = Address(f"{MUNICH}.example", 1080)
    assert Hop("a", HopProtocol.SOCKS5, Address("münchen.example", 1080)).address == munich
    assert parse_hop_url("socks5://münchen.example").address == munich
    assert Group("socks5://a", check=1, check_target=Address("münchen.example", 1080)).check_target == munich
    assert Chain("socks5://a", resolver=Address("münchen.example", 1080)).resolver == munich
    login = Gssapi(host="münchen.example")
    assert Hop("a", HopProtocol.SOCKS5, Address("a", 1080), login).credentials == Gssapi(host=f"{MUNICH}.example")
    with pytest.raises(ValueError, match="a label is empty"):
        Hop("a", HopProtocol.SOCKS5, Address("münchen..example", 1080))
