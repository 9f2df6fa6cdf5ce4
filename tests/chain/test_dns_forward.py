"""Questions passed on to a resolver, and its answers without addresses."""

from __future__ import annotations

import dns.edns
import dns.message
import pytest

from chainsocks.chain.dns_forward import answer_from, question_for
from chainsocks.errors import ProtocolError

ANSWER = """id 7
opcode QUERY
rcode NOERROR
flags QR RD RA
;QUESTION
a.test. IN HTTPS
;ANSWER
a.test. 60 IN HTTPS 1 b.test. alpn="h2" ipv4hint="192.0.2.1" ipv6hint="2001:db8::1"
a.test. 60 IN HTTPS 2 c.test. mandatory="ipv4hint" ipv4hint="192.0.2.1"
;AUTHORITY
test. 60 IN NS ns.test.
;ADDITIONAL
b.test. 60 IN A 192.0.2.1
b.test. 60 IN AAAA 2001:db8::1
mail.test. 60 IN MX 5 b.test.
"""


def ask(name: str = "A.test", kind: str = "HTTPS") -> bytes:
    query = dns.message.make_query(name, kind, options=[dns.edns.ECSOption("198.51.100.0", 24)])
    query.id = 7
    return query.to_wire()


def test_a_question_keeps_its_name_and_its_type_only() -> None:
    question = dns.message.from_wire(question_for(ask()))
    assert (question.id, str(question.question[0]), question.options) == (7, "A.test. IN HTTPS", ())
    with pytest.raises(ValueError, match="too short"):
        question_for(b"")


def test_an_answer_has_no_addresses() -> None:
    answer = dns.message.from_wire(answer_from(dns.message.from_text(ANSWER).to_wire(), question_for(ask())))
    assert [str(record) for each in answer.answer for record in each] == ['1 b.test. alpn="h2"']
    assert [str(each) for each in (*answer.authority, *answer.additional)] == [
        "test. 60 IN NS ns.test.",
        "mail.test. 60 IN MX 5 b.test.",
    ]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"", "its answer is no DNS message"),
        (dns.message.from_text(ANSWER.replace("id 7", "id 8")).to_wire(), "to another question"),
        (question_for(ask()), "to another question"),
    ],
    ids=["garbage", "another id", "no answer"],
)
def test_what_is_no_answer_is_an_error(message: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        answer_from(message, question_for(ask()))
