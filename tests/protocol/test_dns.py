"""Questions of DNS and their answers, held against dnspython."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.dns import Kind, Query, Rcode, parse_query


def ask(name: str, kind: str = "A", **options: bool) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()  # type: ignore[arg-type]


def read(message: bytes) -> Query:
    query = parse_query(message)
    assert isinstance(query, Query)
    return query


@pytest.mark.parametrize("edns", [True, False])
def test_a_question_and_its_answer(*, edns: bool) -> None:
    asked = dns.message.make_query("WWW.Example.org", "A", use_edns=edns)
    query = read(asked.to_wire())
    assert (query.name, query.kind) == ("www.example.org", Kind.A)
    answer = dns.message.from_wire(query.answer([bytes([198, 18, 1, 0])], 60))
    assert asked.is_response(answer)
    assert answer.flags & (dns.flags.RA | dns.flags.RD) == dns.flags.RA | dns.flags.RD
    [found] = answer.answer
    assert str(found) == "WWW.Example.org. 60 IN A 198.18.1.0"


@pytest.mark.parametrize(("code", "rcode"), [(Rcode.NAME_ERROR, "NXDOMAIN"), (Rcode.SERVER_FAILURE, "SERVFAIL")])
def test_a_failure(code: Rcode, rcode: str) -> None:
    asked = dns.message.make_query("x.test", "AAAA")
    answer = dns.message.from_wire(read(asked.to_wire()).failure(code))
    assert asked.is_response(answer)
    assert dns.rcode.to_text(answer.rcode()) == rcode


def test_nothing_of_that_type_is_no_error() -> None:
    answer = dns.message.from_wire(read(ask("x.test", "MX")).answer([], 60))
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


HEADER = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        pytest.param(HEADER[:5] + b"\x02" + HEADER[6:] + b"\0\0\1\0\1" * 2, Rcode.FORMAT_ERROR, id="two questions"),
        pytest.param(HEADER, Rcode.FORMAT_ERROR, id="no question"),
        pytest.param(HEADER + b"\3abc", Rcode.FORMAT_ERROR, id="cut in its name"),
        pytest.param(HEADER + b"\3abc\0\0\1\0", Rcode.FORMAT_ERROR, id="cut in its class"),
        pytest.param(HEADER + b"\xc0\x0c\0\1\0\1", Rcode.FORMAT_ERROR, id="a pointer"),
        pytest.param(HEADER + b"\3a.c\0\0\1\0\1", Rcode.NAME_ERROR, id="a dot in a label"),
        pytest.param(HEADER + b"\3a c\0\0\1\0\1", Rcode.NAME_ERROR, id="a space in a label"),
        pytest.param(HEADER + b"\3\xe4bc\0\0\1\0\1", Rcode.NAME_ERROR, id="not ASCII"),
        pytest.param(HEADER + b"\x3f" + b"a" * 63, Rcode.FORMAT_ERROR, id="no end"),
        pytest.param(HEADER + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", Rcode.NAME_ERROR, id="too long"),
        pytest.param(HEADER + b"\1a\0\0\1\0\3", Rcode.REFUSED, id="another class"),
        pytest.param(b"\x12\x34\x28\x00" + HEADER[4:] + b"\1a\0\0\1\0\1", Rcode.NOT_IMPLEMENTED, id="an update"),
    ],
)
def test_what_is_no_proper_question_is_refused(message: bytes, rcode: Rcode) -> None:
    refusal = parse_query(message)
    assert isinstance(refusal, bytes)
    assert refusal[:2] == b"\x12\x34"
    assert refusal[2] & 0x80
    assert refusal[3] & 0xF == rcode


@pytest.mark.parametrize(
    "message", [b"", HEADER[:11], b"\x12\x34\x81\x80" + HEADER[4:]], ids=["empty", "short", "answer"]
)
def test_what_is_no_question_gets_no_answer(message: bytes) -> None:
    assert parse_query(message) is None


@given(st.binary(max_size=80))
def test_any_bytes_get_an_answer_or_none(tail: bytes) -> None:
    found = parse_query(HEADER + tail)
    assert found is not None
    answer = found.answer([], 1) if isinstance(found, Query) else found
    dns.message.from_wire(answer)
