"""The messages of SOCKS5, whole and in part; the handshakes' tests have them in conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import Cause, ProtocolError
from chainsocks.protocol.messages import Command, Reply, ReplyCode, UsernamePassword
from chainsocks.protocol.socks5_messages import (
    decode_address,
    decode_login,
    decode_methods,
    decode_request,
    encode_address,
    encode_reply,
    reply_size,
    skip_name,
)

Decode = Callable[[bytes], Any]
FOUR, SIX, NAME = Address("192.0.2.1", 80), Address("2001:db8::1", 443), Address("example.org", 1080)
ADDRESSES = pytest.mark.parametrize("address", [FOUR, SIX, NAME], ids=str)


@pytest.mark.parametrize(
    ("decode", "message", "said"),
    [
        (decode_methods, b"\x05\x02\x00\x02", (b"\x00\x02",)),
        (decode_methods, b"\x05\x00", (b"",)),
        (decode_login, b"\x01\x05carol\x06secret", (UsernamePassword(b"carol", b"secret"),)),
        (decode_login, b"\x01\x00\x00", (UsernamePassword(b"", b""),)),
        *((decode_request, b"\x05\x01\x07" + encode_address(to), (Command.CONNECT, to)) for to in (FOUR, SIX, NAME)),
    ],
)
def test_a_message_is_whole_or_incomplete(decode: Decode, message: bytes, said: tuple[Any, ...]) -> None:
    for end in range(1, len(message)):
        assert decode(message[:end]) is None
    assert decode(message + b"behind it") == (*said, len(message))


@pytest.mark.parametrize(
    ("decode", "message", "cause"),
    [
        (decode_methods, b"\x04\x01", Cause.SOCKS4),
        (decode_login, b"\x05\x00\x00", Cause.WRONG_VERSION),
        (decode_request, b"\x04\x01\x00\x01", Cause.WRONG_VERSION),
        (decode_request, b"\x05\x09\x00\x01", Cause.UNKNOWN_COMMAND),
        (decode_request, b"\x05\x01\x00\x02", Cause.UNKNOWN_ADDRESS_TYPE),
        (decode_request, b"\x05\x01\x00\x03\x00\x00\x50", Cause.MALFORMED),
    ],
)
def test_a_message_that_breaks_the_protocol(decode: Decode, message: bytes, cause: Cause) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(message)
    assert caught.value.cause is cause


@ADDRESSES
def test_an_address_is_read_as_it_was_written(address: Address) -> None:
    written = b"??" + encode_address(address)
    assert decode_address(written + b"!", 2) == (address, len(written))


@ADDRESSES
def test_the_size_of_a_reply(address: Address) -> None:
    reply = encode_reply(Reply(ReplyCode.SUCCEEDED, address))
    assert reply_size(reply[:5]) == reply_size(reply + b"more") == len(reply)
    assert reply_size(reply[:3]) <= len(reply)


def test_an_ident_code_of_socks4_is_sent_as_a_refusal() -> None:
    assert encode_reply(Reply(0x15C))[:3] == b"\x05\x02\x00"


def test_a_name_that_is_no_host_is_skipped() -> None:
    assert skip_name(b"\x05\x00\x00\x03\x00\x00\x50", 3) == (Address("0.0.0.0", 80), 7)
