"""The vocabulary: its numbers and words are the RFCs', its secrets are not shown, and unknown codes survive."""

from __future__ import annotations

from enum import IntEnum

import pytest

from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import (
    Command,
    IdentCode,
    Method,
    Reply,
    ReplyCode,
    Request,
    UserId,
    UsernamePassword,
    Version,
    describe_reply,
)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (Version, {"SOCKS4": 4, "SOCKS5": 5, "HTTP": 0x43, "REDIRECTED": 0, "TUNNEL": 1, "DNS": 2}),
        (Command, {"CONNECT": 1, "BIND": 2, "UDP_ASSOCIATE": 3, "RESOLVE": 0xF0, "RESOLVE_PTR": 0xF1}),
        (Method, {"NO_AUTHENTICATION_REQUIRED": 0, "GSSAPI": 1, "USERNAME_PASSWORD": 2, "NO_ACCEPTABLE_METHODS": 0xFF}),
    ],
)
def test_the_numbers_are_the_rfcs(kind: type[IntEnum], numbers: dict[str, int]) -> None:
    assert {member.name: member.value for member in kind} == numbers


REPLY_CODES = [
    # RFC 1928 section 6
    (0x00, ReplyCode.SUCCEEDED, "succeeded (00)"),
    (0x01, ReplyCode.GENERAL_FAILURE, "general SOCKS server failure (01)"),
    (0x02, ReplyCode.NOT_ALLOWED_BY_RULESET, "connection not allowed by ruleset (02)"),
    (0x03, ReplyCode.NETWORK_UNREACHABLE, "network unreachable (03)"),
    (0x04, ReplyCode.HOST_UNREACHABLE, "host unreachable (04)"),
    (0x05, ReplyCode.CONNECTION_REFUSED, "connection refused (05)"),
    (0x06, ReplyCode.TTL_EXPIRED, "TTL expired (06)"),
    (0x07, ReplyCode.COMMAND_NOT_SUPPORTED, "command not supported (07)"),
    (0x08, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED, "address type not supported (08)"),
    # tor's socks-extensions.txt section 1.2
    (0xF0, ReplyCode.ONION_DESCRIPTOR_NOT_FOUND, "onion service descriptor not found (F0)"),
    (0xF1, ReplyCode.ONION_DESCRIPTOR_INVALID, "onion service descriptor invalid (F1)"),
    (0xF2, ReplyCode.ONION_INTRODUCTION_FAILED, "onion service introduction failed (F2)"),
    (0xF3, ReplyCode.ONION_RENDEZVOUS_FAILED, "onion service rendezvous failed (F3)"),
    (0xF4, ReplyCode.ONION_CLIENT_AUTH_MISSING, "onion service wants client authorization (F4)"),
    (0xF5, ReplyCode.ONION_CLIENT_AUTH_WRONG, "onion service refused the client authorization (F5)"),
    (0xF6, ReplyCode.ONION_ADDRESS_INVALID, "onion service address invalid (F6)"),
    (0xF7, ReplyCode.ONION_INTRODUCTION_TIMED_OUT, "onion service introduction timed out (F7)"),
]


def test_the_refusals_that_only_socks4_has() -> None:
    assert describe_reply(IdentCode.IDENTD_MISSING) == "the server cannot connect to identd on the client (5C)"
    assert describe_reply(IdentCode.IDENTD_DIFFERS) == "the client and its identd report different user-ids (5D)"


@pytest.mark.parametrize(("number", "code", "words"), REPLY_CODES)
def test_reply_codes(number: int, code: ReplyCode, words: str) -> None:
    assert ReplyCode(number) is code
    assert describe_reply(number) == describe_reply(code) == words


def test_every_reply_code_stands_in_the_table() -> None:
    assert [code for _, code, _ in REPLY_CODES] == list(ReplyCode)


@pytest.mark.parametrize("code", [0x09, 0x5B, 0xEF, 0xF8, 0xFF])
def test_an_unassigned_reply_code_is_described_by_its_number(code: int) -> None:
    assert describe_reply(code) == f"unassigned reply code ({code:02X})"


@pytest.mark.parametrize("code", [*ReplyCode, 0x09, 0xFF])
def test_only_00_has_succeeded(code: int) -> None:
    assert Reply(code).succeeded is (code == 0)


def test_a_reply_without_an_address_carries_the_unspecified_one() -> None:
    assert Reply(ReplyCode.GENERAL_FAILURE).bound == UNSPECIFIED


REQUEST = Request(Version.SOCKS5, Command.CONNECT, Address("example.org", 80))


def test_a_request_without_credentials_has_none() -> None:
    assert REQUEST.credentials is None


@pytest.mark.parametrize(
    ("secret", "shown"),
    [(UserId(b"sesame"), "UserId()"), (UsernamePassword(b"sesame", b"sesame"), "UsernamePassword()")],
)
def test_secrets_are_not_shown(secret: UserId | UsernamePassword, shown: str) -> None:
    assert repr(secret) == str(secret) == shown
    assert "sesame" not in repr(REQUEST._replace(credentials=secret))


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (UserId(b"a"), UserId(b"a"), UserId(b"b")),
        (UsernamePassword(b"a", b"b"), UsernamePassword(b"a", b"b"), UsernamePassword(b"a", b"c")),
        (Reply(1, Address("a", 1)), Reply(ReplyCode.GENERAL_FAILURE, Address("a", 1)), Reply(1)),
        (REQUEST, REQUEST._replace(), REQUEST._replace(credentials=UserId(b"a"))),
    ],
    ids=["UserId", "UsernamePassword", "Reply", "Request"],
)
def test_messages_are_values(one: object, same: object, other: object) -> None:
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


@pytest.mark.parametrize(
    ("message", "field"),
    [(UserId(b""), "user_id"), (UsernamePassword(b"", b""), "password"), (Reply(0), "code"), (REQUEST, "version")],
    ids=["UserId", "UsernamePassword", "Reply", "Request"],
)
def test_messages_are_frozen(message: object, field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(message, field, None)
