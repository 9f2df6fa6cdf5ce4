"""Questions of DNS and their answers, held against dnspython."""

from __future__ import annotations

from collections.abc import Callable

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol.dns import Kind, Query, Rcode, encode_name, name_of_kind, parse_query
from chainsocks.protocol.errors import ProtocolError


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


# --- the same question for a resolver ---------------------------------------------------------------------------------


@pytest.mark.parametrize("edns", [True, False])
def test_a_question_for_a_resolver_has_nothing_of_the_client(*, edns: bool) -> None:
    asked = dns.message.make_query("WWW.Example.org", "MX", use_edns=edns, want_dnssec=edns)
    asked.flags |= dns.flags.CD
    if edns:
        asked.use_edns(0, asked.ednsflags, 4096, options=[dns.edns.ECSOption("192.0.2.0", 24)])
    question = dns.message.from_wire(read(asked.to_wire()).for_resolver(7))
    assert (question.id, question.question, question.edns) == (7, asked.question, asked.edns)
    assert question.flags == asked.flags
    assert (question.options, question.ednsflags) == ((), asked.ednsflags)


def test_the_answer_of_a_resolver_is_passed_on() -> None:
    asked = dns.message.make_query("WWW.Example.org", "A", id=1)
    query = read(asked.to_wire())
    response = dns.message.make_response(dns.message.from_wire(query.for_resolver(7)), recursion_available=True)
    response.answer.append(dns.rrset.from_text("www.example.org.", 7, "IN", "A", "192.0.2.4"))
    answer = query.from_resolver(7, response.to_wire().replace(b"WWW", b"www"))
    assert dns.message.from_wire(answer).answer == response.answer
    assert (answer[:2], query.question in answer) == (b"\0\1", True)
    assert query.describe(answer) == "A: 1 record"


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: b"\0\6" + answer[2:],
        lambda answer: answer[:2] + b"\1" + answer[3:],
        lambda answer: answer.replace(b"www", b"wwv"),
        lambda answer: answer[:5] + b"\2" + answer[6:],
        lambda answer: answer[:20],
        lambda _: b"",
    ],
    ids=["another id", "a question", "another name", "two questions", "cut", "nothing"],
)
def test_what_is_no_answer_to_the_question(change: Callable[[bytes], bytes]) -> None:
    query = read(ask("www.example.org"))
    answer = dns.message.make_response(dns.message.from_wire(query.for_resolver(7))).to_wire()
    assert query.from_resolver(7, answer)
    with pytest.raises(ProtocolError, match="its answer is"):
        query.from_resolver(7, change(answer))


@pytest.mark.parametrize(("size", "fits"), [(None, 512), (0, 512), (600, 600), (1232, 1232), (65535, 1232)])
def test_the_largest_datagram(size: int | None, fits: int) -> None:
    asked = dns.message.make_query("www.example.org", "TXT")
    if size is not None:
        asked.use_edns(0, payload=size)
    query = read(asked.to_wire())
    whole = query.answer([], 1)
    assert query.in_datagram(whole + bytes(fits - len(whole))) == whole + bytes(fits - len(whole))
    cut = dns.message.from_wire(query.in_datagram(whole + bytes(fits - len(whole) + 1)))
    assert asked.is_response(cut)
    assert cut.flags & dns.flags.TC
    assert cut.edns == (-1 if size is None else 0)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.2.0.192.in-addr.arpa", "192.0.2.4"),
        (dns.reversename.from_address("2001:db8::6").to_text(), "2001:db8::6"),
        ("2.0.192.in-addr.arpa", None),
        ("4.2.0.300.in-addr.arpa", None),
        ("6.ip6.arpa", None),
        ("www.example.org", None),
    ],
)
def test_the_address_whose_name_is_asked_for(name: str, address: str | None) -> None:
    assert read(ask(name, "PTR")).address == address
    assert read(ask(name, "A")).address is None


def test_names_in_records() -> None:
    assert encode_name("www.example.org.") == b"\3www\7example\3org\0"
    for name in ("", "a..b", "a" * 64, "\u4e00"):
        with pytest.raises(ValueError, match=r"name|codec"):
            encode_name(name)


def test_the_names_of_types() -> None:
    for kind in (*range(1, 100), 255):
        named = name_of_kind(kind)
        assert named in (f"TYPE{kind}", dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind)))
    assert (name_of_kind(1), name_of_kind(65), name_of_kind(65535)) == ("A", "HTTPS", "TYPE65535")
