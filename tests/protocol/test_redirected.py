"""The handshake that a redirected connection does not have."""

from __future__ import annotations

from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, Version
from chainsocks.protocol.redirected import RedirectedHandshake

DESTINATION = Address("192.0.2.80", 80)


def test_the_request_is_there_from_the_start() -> None:
    handshake = RedirectedHandshake(DESTINATION)
    assert handshake.state is State.REPLY
    assert handshake.request == Request(Version.REDIRECTED, Command.CONNECT, DESTINATION)
    assert handshake.data_to_send() == b""


def test_all_that_arrives_is_data() -> None:
    handshake = RedirectedHandshake(DESTINATION)
    handshake.receive_data(b"\x05\x01")
    handshake.receive_data(b"\x00")
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
    assert handshake.done
    assert handshake.data_to_send() == b""
    assert handshake.trailing_data == b"\x05\x01\x00"


def test_a_refusal_is_no_bytes() -> None:
    handshake = RedirectedHandshake(DESTINATION)
    handshake.send_reply(Reply(ReplyCode.CONNECTION_REFUSED, problem="no"))
    assert handshake.state is State.FAILED
    assert handshake.data_to_send() == b""
