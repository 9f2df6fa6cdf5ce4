"""The handshake of connections whose destination is known beforehand."""

from __future__ import annotations

from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, Version
from chainsocks.protocol.unspoken import UnspokenHandshake

DESTINATION = Address("192.0.2.80", 80)


def test_the_request_is_there_from_the_start() -> None:
    handshake = UnspokenHandshake(Version.TUNNEL, DESTINATION)
    assert handshake.state is State.REPLY
    assert handshake.request == Request(Version.TUNNEL, Command.CONNECT, DESTINATION)
    assert handshake.data_to_send() == b""


def test_all_that_arrives_is_data() -> None:
    handshake = UnspokenHandshake(Version.TUNNEL, DESTINATION)
    handshake.receive_data(b"\x05\x01")
    handshake.receive_data(b"\x00")
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
    assert handshake.done
    assert handshake.data_to_send() == b""
    assert handshake.trailing_data == b"\x05\x01\x00"


def test_a_refusal_is_no_bytes() -> None:
    handshake = UnspokenHandshake(Version.TUNNEL, DESTINATION)
    handshake.send_reply(Reply(ReplyCode.CONNECTION_REFUSED, problem="no"))
    assert handshake.state is State.FAILED
    assert handshake.data_to_send() == b""
