"""A question of DNS as a request, and the answers that replies are."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest

from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.dns import Query, parse_query
from chainsocks.protocol.dns_handshake import QuestionHandshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, Version


def question(name: str, kind: str = "A") -> QuestionHandshake:
    query = parse_query(dns.message.make_query(name, kind).to_wire())
    assert isinstance(query, Query)
    return QuestionHandshake(query)


@pytest.mark.parametrize(
    ("name", "kind", "command", "subject"),
    [
        ("WWW.example.org", "A", Command.RESOLVE, "www.example.org"),
        ("example.org", "MX", Command.RESOLVE, "example.org"),
        ("4.2.0.192.in-addr.arpa", "PTR", Command.RESOLVE_PTR, "192.0.2.4"),
        ("_dns._udp.example.org", "PTR", Command.RESOLVE, "_dns._udp.example.org"),
        (".", "NS", Command.RESOLVE, "."),
    ],
)
def test_the_request(name: str, kind: str, command: Command, subject: str) -> None:
    handshake = question(name, kind)
    assert handshake.state is State.REPLY
    assert handshake.request == Request(Version.DNS, command, Address(subject, 0))


def test_an_answer_is_what_was_set() -> None:
    handshake = question("example.org")
    handshake.answer = b"found"
    handshake.send_reply(Reply(ReplyCode.SUCCEEDED, UNSPECIFIED))
    assert (handshake.data_to_send(), handshake.done) == (b"found", True)


@pytest.mark.parametrize(
    ("code", "rcode"),
    [
        (ReplyCode.NOT_ALLOWED_BY_RULESET, "REFUSED"),
        (ReplyCode.COMMAND_NOT_SUPPORTED, "REFUSED"),
        (ReplyCode.HOST_UNREACHABLE, "SERVFAIL"),
        (ReplyCode.TTL_EXPIRED, "SERVFAIL"),
        (ReplyCode.GENERAL_FAILURE, "SERVFAIL"),
        (0xF0, "SERVFAIL"),
    ],
)
def test_a_refusal_is_an_rcode(code: int, rcode: str) -> None:
    handshake = question("example.org")
    handshake.send_reply(Reply(code))
    assert dns.rcode.to_text(dns.message.from_wire(handshake.data_to_send()).rcode()) == rcode
