"""DNS messages: what is asked, what is made of answers, and of what is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dns.message
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainsocks.chain.dns_messages import Question, questions
from chainsocks.errors import Cause, NotFoundError, ProtocolError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command
from tests.resolvers import FAILS, MISBEHAVIOUR, respond

ASK, ASK_BACK = Command.RESOLVE, Command.RESOLVE_PTR


def asked(command: Command, host: str) -> Sequence[Question]:
    return questions(command, Address(host, 0))


def wire(question: Question) -> list[tuple[bytes, str]]:
    [what] = dns.message.from_wire(question.message).question
    return [(b".".join(what.name.labels), dns.rdatatype.to_text(what.rdtype))]


@pytest.mark.parametrize(
    ("command", "host", "name", "kinds"),
    [
        (ASK, "four.example", b"four.example.", ["A", "AAAA"]),
        (ASK, "four.example.", b"four.example.", ["A", "AAAA"]),
        (ASK, "FOUR.example", b"FOUR.example.", ["A", "AAAA"]),
        (ASK, "_x\\.b c@", b"_x\\.b c@.", ["A", "AAAA"]),
        (ASK, "caf\u00e9.example", "caf\u00e9.example.".encode(), ["A", "AAAA"]),
        (ASK, "\udcff.example", b"\xff.example.", ["A", "AAAA"]),
        (ASK, "n" * 63 + ".example", b"n" * 63 + b".example.", ["A", "AAAA"]),
        (ASK_BACK, "192.0.2.4", b"4.2.0.192.in-addr.arpa.", ["PTR"]),
        (ASK_BACK, "2001:db8::6", b"6" + b".0" * 23 + b".8.b.d.0.1.0.0.2.ip6.arpa.", ["PTR"]),
    ],
)
def test_questions(command: Command, host: str, name: bytes, kinds: list[str]) -> None:
    assert [wire(question) for question in asked(command, host)] == [[(name, kind)] for kind in kinds]


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("n" * 64 + ".example", "label is > 63 octets"),
        (".".join(["n" * 60] * 4 + ["n" * 11]), "name is > 255 octets"),
        ("four..example", "label is empty"),
        (".four.example", "label is empty"),
        ("..", "label is empty"),
        ("x.onion", "RFC 7686"),
        ("x.ONION.", "RFC 7686"),
    ],
)
def test_names_that_are_in_no_dns(host: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        asked(ASK, host)


@pytest.mark.parametrize(
    ("command", "host", "found"),
    [
        (ASK, "four.example", [["192.0.2.4"], []]),
        (ASK, "six.example", [[], ["2001:db8::6"]]),
        (ASK, "both.example", [["192.0.2.64"], ["2001:db8::64"]]),
        (ASK, "BOTH.Example", [["192.0.2.64"], ["2001:db8::64"]]),
        (ASK, "alias.example", [["192.0.2.4"], []]),
        (ASK, "lost.example", [[], []]),
        (ASK, "mail.example", [[], []]),
        (ASK_BACK, "192.0.2.4", [["four.example"]]),
        (ASK_BACK, "2001:db8::6", [["six.example"]]),
    ],
)
def test_answers(command: Command, host: str, found: list[list[str]]) -> None:
    assert [list(question.read(respond(question.message))) for question in asked(command, host)] == found


@pytest.mark.parametrize(
    ("host", "cause", "why"),
    [("none.example", Cause.NAME_NOT_FOUND, "no such name"), (FAILS, Cause.RESOLVER_FAILED, "SERVFAIL")],
)
def test_no_answer(host: str, cause: Cause, why: str) -> None:
    for question in asked(ASK, host):
        with pytest.raises(NotFoundError, match=why) as caught:
            question.read(respond(question.message))
        assert caught.value.cause is cause


@pytest.mark.parametrize(("misbehave", "why"), MISBEHAVIOUR.values(), ids=list(MISBEHAVIOUR))
def test_what_is_no_answer(misbehave: Callable[[bytes], bytes], why: str) -> None:
    question = asked(ASK, "four.example")[0]
    with pytest.raises(ProtocolError, match=why):
        question.read(misbehave(question.message))


def test_an_alias_of_itself() -> None:
    question = asked(ASK, "loop.example")[0]
    with pytest.raises(ProtocolError, match="its answer leads nowhere"):
        question.read(respond(question.message))


@given(st.data())
@settings(max_examples=150)
def test_whatever_comes_is_an_answer_or_a_protocol_error(data: st.DataObject) -> None:
    command, host = data.draw(st.sampled_from([(ASK, "both.example"), (ASK, "alias.example"), (ASK_BACK, "192.0.2.4")]))
    question = asked(command, host)[0]
    message = bytearray(respond(question.message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place] = data.draw(st.integers(0, 255))
    answer = bytes(message) if data.draw(st.booleans()) else bytes(message[: data.draw(st.integers(0, len(message)))])
    try:
        found = question.read(answer)
    except (ProtocolError, NotFoundError):
        return
    assert all(isinstance(one, str) for one in found)


@given(st.binary(max_size=100))
def test_garbage_is_a_protocol_error(said: bytes) -> None:
    question = asked(ASK, "both.example")[0]
    with pytest.raises(ProtocolError):
        question.read(question.message[:2] + said)
