"""The table of kinds of hops, and the credentials that they take."""

from __future__ import annotations

import pytest

from chainsocks.config.kinds import DEFAULT_PORT, KINDS, SCHEMES, HopKind, HopProtocol, make_credentials, which
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Credentials, IsolationLogin, UserId, UsernamePassword
from tests.config.files import complaint_of

SOCKS4, SOCKS4A, SOCKS5, HTTP = HopProtocol

ADDRESSES = {
    "IPv4": Address("192.0.2.1", 80),
    "what 4a says before a name": Address("0.0.0.1", 80),
    "name": Address("example.org", 80),
    "IPv6": Address("2001:db8::1", 80),
    "name that ends a line": Address("example.org\r\nX: y", 80),
}

LOGIN = UsernamePassword(b"bob", b"pw")


def test_the_default_port_is_ianas() -> None:
    assert DEFAULT_PORT == 1080


def test_each_protocol_has_a_row() -> None:
    assert list(KINDS) == list(HopProtocol)
    assert {scheme: kind.protocol for scheme, kind in SCHEMES.items()} == {
        "socks4": SOCKS4,
        "socks4a": SOCKS4A,
        "socks5": SOCKS5,
        "socks5h": SOCKS5,
        "http": HTTP,
    }


def test_which_protocols_can() -> None:
    assert which(lambda kind: kind.carries_udp) == "only socks5"
    assert which(lambda kind: kind.has_bind) == "only socks4, socks4a and socks5"
    assert which(lambda kind: UserId in kind.logins) == "only socks4 and socks4a"


@pytest.mark.parametrize(
    ("protocol", "carried"),
    [
        (SOCKS4, {"IPv4"}),
        (SOCKS4A, {"IPv4", "name", "name that ends a line"}),
        (SOCKS5, set(ADDRESSES)),
        (HTTP, set(ADDRESSES) - {"name that ends a line"}),
    ],
)
def test_what_a_kind_carries_is_what_its_handshake_takes(protocol: HopProtocol, carried: set[str]) -> None:
    kind = KINDS[protocol]
    assert {what for what, address in ADDRESSES.items() if kind.carries(address)} == carried
    for what, address in ADDRESSES.items():
        if what in carried:
            assert kind.open_handshake(Command.CONNECT, address, None).data_to_send()
        elif (
            "name" not in what or protocol is HTTP
        ):  # plain socks4 has the words for that, and few servers understand them
            with pytest.raises(ValueError, match="cannot carry"):
                kind.open_handshake(Command.CONNECT, address, None)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_first_step_of_a_handshake(kind: HopKind) -> None:
    for opener in (kind.open_handshake, kind.open_pipelined):
        assert opener(Command.CONNECT, ADDRESSES["IPv4"], None).state is kind.first_step
    assert (kind.first_step is State.REQUEST) == (kind.open_greeting is None)


def test_all_messages_at_once_or_one_by_one() -> None:
    kind, address = KINDS[SOCKS5], ADDRESSES["IPv4"]
    login, request = b"\x01\x03bob\x02pw", bytes.fromhex("05 01 00 01 C0000201 0050")
    assert kind.open_handshake(Command.CONNECT, address, LOGIN).data_to_send() == b"\x05\x02\x00\x02"
    assert kind.open_pipelined(Command.CONNECT, address, LOGIN).data_to_send() == b"\x05\x01\x02" + login + request


@pytest.mark.parametrize("login", [None, LOGIN, IsolationLogin(b"a", b"b")])
def test_a_greeting_ends_before_the_request(login: UsernamePassword | None) -> None:
    opener = KINDS[SOCKS5].open_greeting
    assert opener
    handshake = opener(login)
    handshake.data_to_send()
    handshake.receive_data(b"\x05\x02" if login else b"\x05\x00")
    if login:
        assert not handshake.done
        handshake.data_to_send()
        handshake.receive_data(b"\x01\x00")
    assert handshake.done
    assert handshake.data_to_send() == b""


@pytest.mark.parametrize(
    ("protocol", "user", "password", "credentials"),
    [
        (SOCKS5, b"u", b"p", UsernamePassword(b"u", b"p")),
        (SOCKS5, b"u" * 255, b"p" * 255, UsernamePassword(b"u" * 255, b"p" * 255)),
        (SOCKS5, b"\0", b"\0", UsernamePassword(b"\0", b"\0")),
        (SOCKS5, b"token", b"", UsernamePassword(b"token", b"")),
        (SOCKS5, b"", b"token", UsernamePassword(b"", b"token")),
        (SOCKS5, b"", b"", UsernamePassword(b"", b"")),
        (SOCKS4, b"", None, UserId(b"")),
        (SOCKS4A, b"u" * 512, None, UserId(b"u" * 512)),
    ],
    ids=[
        "shortest",
        "longest",
        "NULs",
        "empty password",
        "empty username",
        "both empty",
        "empty user id",
        "longest user id",
    ],
)
def test_credentials_take_the_form_of_the_protocol(
    protocol: HopProtocol, user: bytes, password: bytes | None, credentials: Credentials
) -> None:
    assert make_credentials(KINDS[protocol], user, password) == credentials


@pytest.mark.parametrize(
    ("protocol", "user", "password", "complaint"),
    [
        (SOCKS5, b"user", None, 'a username needs a password, which may be empty: ""'),
        (SOCKS5, b"u" * 256, b"p", "a username has at most 255 bytes, this one has 256"),
        (SOCKS5, b"u", b"p" * 256, "a password has at most 255 bytes, this one has 256"),
        (SOCKS4, b"u", b"", "socks4 has a user id and no password; use socks5 for a password"),
        (SOCKS4A, b"u", b"p", "socks4a has a user id and no password; use socks5 for a password"),
        (SOCKS4, b"u" * 513, None, "a user id has at most 512 bytes, none of them NUL"),
        (SOCKS4A, b"u\0", None, "a user id has at most 512 bytes, none of them NUL"),
    ],
)
def test_credentials_that_do_not_fit(
    protocol: HopProtocol, user: bytes, password: bytes | None, complaint: str
) -> None:
    assert complaint_of(make_credentials, KINDS[protocol], user, password) == complaint
