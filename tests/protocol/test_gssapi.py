"""The messages of RFC 1961, in three ways; and bytes that are not such messages."""

from __future__ import annotations

import pytest

from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.gssapi import (
    ABORT,
    HEADER,
    MAX_TOKEN,
    Gssapi,
    MessageType,
    Principal,
    Protection,
    decode_message,
    encode_message,
)
from tests.protocol.playbook import wire

MESSAGES = [
    pytest.param(MessageType.AUTHENTICATION, b"ticket", "01 01 0006 'ticket'", id="authentication"),
    pytest.param(MessageType.PROTECTION_LEVEL, b"\x02", "01 02 0001 02", id="protection-level"),
    pytest.param(MessageType.DATA, b"x" * MAX_TOKEN, "01 03 FFFF 'x'*65535", id="longest"),
    pytest.param(MessageType.DATA, b"", "01 03 0000", id="empty"),
]


@pytest.mark.parametrize(("kind", "token", "message"), MESSAGES)
def test_messages_as_the_rfc_draws_them(kind: MessageType, token: bytes, message: str) -> None:
    assert encode_message(kind, token) == wire(message)


@pytest.mark.parametrize(("kind", "token", "message"), MESSAGES)
def test_messages_are_decoded_whole_and_with_more_after_them(kind: MessageType, token: bytes, message: str) -> None:
    data = wire(message)
    assert decode_message(data, kind) == token
    assert decode_message(bytearray(data) + b"more", kind) == token
    assert len(data) == HEADER + len(token)


@pytest.mark.parametrize(("kind", "token", "message"), MESSAGES)
def test_an_incomplete_message_is_none_yet(kind: MessageType, token: bytes, message: str) -> None:
    data = wire(message)
    for size in {*range(min(len(data), 12)), len(data) - 1}:
        assert decode_message(data[:size], kind) is None


def test_a_token_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="at most 65535 bytes, this one has 65536"):
        encode_message(MessageType.DATA, bytes(MAX_TOKEN + 1))


@pytest.mark.parametrize("kind", [MessageType.AUTHENTICATION, MessageType.PROTECTION_LEVEL, MessageType.DATA])
def test_an_abort_needs_no_length(kind: MessageType) -> None:
    assert wire("01 FF") == ABORT
    with pytest.raises(LoginRefused, match="abort"):
        decode_message(ABORT, kind)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("05", "version 5; RFC 1961 wants 1"),
        ("48", "version 72"),
        ("01 02", "has type 2; expected an authentication token, type 1"),
        ("01 03", "type 3; expected"),
        ("01 00", "type 0; expected"),
        ("01 FE", "type 254; expected"),
    ],
)
def test_what_is_no_such_message_is_known_by_its_first_bytes(message: str, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint) as error:
        decode_message(wire(message), MessageType.AUTHENTICATION)
    assert type(error.value) is ProtocolError


def test_levels_are_in_the_order_of_what_they_protect() -> None:
    assert sorted(Protection) == list(Protection)
    assert [str(each) for each in Protection] == ["none", "integrity", "confidentiality", "selective"]
    assert [*map(int, Protection)] == [0, 1, 2, 3]


def test_what_stands_for_a_login_has_no_secret_in_it() -> None:
    assert Gssapi() == Gssapi(Protection.INTEGRITY, "rcmd", None)
    assert "carol@EXAMPLE.ORG" in repr(Principal("carol@EXAMPLE.ORG"))
