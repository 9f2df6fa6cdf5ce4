"""Questions of programs, passed on to a resolver behind a chain, and its answers without addresses. Needs dnspython.

1. What a question carries beside its name and its type stays here: an option could tell of the program or its network.
2. No address of the answer reaches the program: it would connect to it, and its name would not go down the chain. So
   A and AAAA records are left out, and the hints in those of HTTPS and SVCB (RFC 9460 section 7.3).
"""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.svcbbase
import dns.rrset

from chainsocks.errors import Cause, ProtocolError

__all__ = ["answer_from", "question_for"]

_HINTS = {dns.rdtypes.svcbbase.ParamKey.IPV4HINT, dns.rdtypes.svcbbase.ParamKey.IPV6HINT}
_ADDRESSES = {dns.rdatatype.A, dns.rdatatype.AAAA}


def question_for(message: bytes) -> bytes:
    """Return the message to a resolver that asks for the same.

    Raises:
        ValueError: it is no question.
    """
    try:
        [asked] = dns.message.from_wire(message, ignore_trailing=True).question
    except dns.exception.DNSException as error:
        raise ValueError(str(error)) from None
    question = dns.message.make_query(asked.name, asked.rdtype, asked.rdclass)
    question.id = int.from_bytes(message[:2], "big")
    return question.to_wire()


def answer_from(message: bytes, question: bytes) -> bytes:
    """Return the answer of a resolver, without addresses.

    Raises:
        ProtocolError: it is none to this question.
    """
    try:
        answer = dns.message.from_wire(message)
    except (dns.exception.DNSException, ValueError) as error:
        raise ProtocolError(f"its answer is no DNS message: {error}", Cause.MALFORMED) from None
    if not dns.message.from_wire(question).is_response(answer):
        raise ProtocolError("its answer is to another question", Cause.MISMATCH)
    answer.use_edns(False)  # noqa: FBT003
    for section in (answer.answer, answer.authority, answer.additional):
        section[:] = [_without_hints(each) for each in section if each.rdtype not in _ADDRESSES]
    return answer.to_wire(max_size=65535)


def _without_hints(records: dns.rrset.RRset) -> dns.rrset.RRset:
    if records.rdtype not in (dns.rdatatype.HTTPS, dns.rdatatype.SVCB):
        return records
    kept = dns.rrset.RRset(records.name, records.rdclass, records.rdtype)
    kept.ttl = records.ttl
    for record in records:
        if isinstance(record, dns.rdtypes.svcbbase.SVCBBase):
            params = {key: value for key, value in record.params.items() if key not in _HINTS}
            mandatory = params.get(dns.rdtypes.svcbbase.ParamKey.MANDATORY)
            if isinstance(mandatory, dns.rdtypes.svcbbase.MandatoryParam) and _HINTS & set(mandatory.keys):
                continue  # it is of no use without them
            kept.add(record.replace(params=params), records.ttl)
    return kept
