"""A DNS server for tests: a few names and addresses, and answers that no good server gives."""

from __future__ import annotations

from collections.abc import Callable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename
import dns.rrset

ZONE: dict[str, dict[str, str]] = {
    "four.example.": {"A": "192.0.2.4"},
    "six.example.": {"AAAA": "2001:db8::6"},
    "both.example.": {"A": "192.0.2.64", "AAAA": "2001:db8::64"},
    "alias.example.": {"CNAME": "four.example."},
    "lost.example.": {"CNAME": "elsewhere.example."},
    "loop.example.": {"CNAME": "loop.example."},
    "mail.example.": {"TXT": '"no address"'},
    "4.2.0.192.in-addr.arpa.": {"PTR": "four.example."},
    "5.2.0.192.in-addr.arpa.": {"PTR": "10.0.0.5."},
    dns.reversename.from_address("2001:db8::6").to_text(): {"PTR": "six.example."},
}
"""One record of a kind at most."""

FAILS = "fails.example."


def framed(message: bytes) -> bytes:
    """A message as it goes over TCP."""
    return len(message).to_bytes(2, "big") + message


def respond(message: bytes) -> bytes:
    """Answer one question as a recursive resolver does, as far as `ZONE` goes."""
    query = dns.message.from_wire(message)
    assert query.flags & dns.flags.RD, "somebody has to go and ask for us"
    [question] = query.question
    response = dns.message.make_response(query, recursion_available=True)
    name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
    if name == FAILS:
        response.set_rcode(dns.rcode.SERVFAIL)
        return response.to_wire()
    if name not in ZONE:
        response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()
    seen: set[str] = set()
    while name in ZONE and name not in seen:
        seen.add(name)
        if target := ZONE[name].get("CNAME"):
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", target))
            name = target
        elif data := ZONE[name].get(kind):
            response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, data))
    return response.to_wire()


def _changed(change: Callable[[dns.message.Message], object]) -> Callable[[bytes], bytes]:
    def respond_otherwise(message: bytes) -> bytes:
        response = dns.message.from_wire(respond(message))
        change(response)
        return response.to_wire()

    return respond_otherwise


def _truncate(response: dns.message.Message) -> None:
    response.flags |= dns.flags.TC


def _forget_the_id(response: dns.message.Message) -> None:
    response.id ^= 1


def _rename(response: dns.message.Message) -> None:
    response.question[0].name = dns.name.from_text("other.example.")


MISBEHAVIOUR: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (_changed(_truncate), "its answer is cut short"),
    "another id": (_changed(_forget_the_id), "its answer is to another question"),
    "another name": (_changed(_rename), "its answer is to another question"),
    "an echo": (lambda message: message, "its answer is to another question"),
    "nothing": (lambda message: b"", "its answer is no DNS message"),
    "half of it": (lambda message: respond(message)[:-5], "its answer is no DNS message"),
    "too much": (lambda message: respond(message) + b"\0", "its answer is no DNS message"),
    "garbage": (lambda message: b"HTTP/1.1 400 Bad Request\r\n\r\n", "its answer is"),
}
"""What is said in place of an answer, and what has to be said of that."""
