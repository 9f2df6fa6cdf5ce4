"""Questions to a resolver as DNS messages, and what its answers say (RFC 1035). This module needs dnspython.

It is loaded by `chainsocks.chain.dns_stream.dialect` only, for those who have configured a resolver.

1. An answer has to be to the very question: its id, its kind and its name.
2. Aliases are followed as far as the answer itself goes.
3. A name goes out byte for byte, label by label.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.PTR
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.reversename

from chainsocks.errors import Cause, NotFoundError, ProtocolError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Command

__all__ = ["Question", "questions"]


class Question:
    """A `chainsocks.chain.dns_stream.Question`."""

    def __init__(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
        self._query = dns.message.make_query(name, kind)

    @property
    def message(self) -> bytes:
        """The question, without the length that goes before it over TCP."""
        return self._query.to_wire()

    def read(self, message: bytes) -> Sequence[str]:
        """Return what an answer found: IP addresses or names; nothing where the name has other records only.

        Raises:
            NotFoundError: there is no such name, or the resolver failed.
            ProtocolError: it is no answer, or not one to this question.
        """
        try:
            answer = dns.message.from_wire(message)
        except (dns.exception.DNSException, ValueError) as error:
            raise ProtocolError(f"its answer is no DNS message: {error}", Cause.MALFORMED) from None
        if not isinstance(answer, dns.message.QueryMessage) or not self._query.is_response(answer):
            raise ProtocolError("its answer is to another question", Cause.MISMATCH)
        if answer.flags & dns.flags.TC:
            raise ProtocolError("its answer is cut short", Cause.UNUSABLE)
        rcode = answer.rcode()
        if rcode == dns.rcode.NXDOMAIN:
            raise NotFoundError("there is no such name (NXDOMAIN)", Cause.NAME_NOT_FOUND)
        if rcode != dns.rcode.NOERROR:
            raise NotFoundError(f"it says {dns.rcode.to_text(rcode)}", Cause.RESOLVER_FAILED)
        try:
            found = answer.resolve_chaining().answer
        except dns.exception.DNSException as error:
            raise ProtocolError(f"its answer leads nowhere: {error}", Cause.UNUSABLE) from None
        return [_text(record) for record in found or ()]


def questions(command: Command, subject: Address) -> Sequence[Question]:
    """Return what to ask, until something is found: for a name's addresses, or for an address's name.

    Raises:
        ValueError: it is no name that DNS could have.
    """
    if command is Command.RESOLVE_PTR:
        return (Question(dns.reversename.from_address(subject.host), dns.rdatatype.PTR),)
    labels = subject.packed.removesuffix(b".").split(b".")
    if labels[-1].lower() == b"onion":
        raise ValueError("onion services are not in DNS, and a query would reveal them (RFC 7686)")
    try:
        name = dns.name.Name([*labels, b""])
    except dns.exception.DNSException as error:
        raise ValueError(str(error)) from None
    return (Question(name, dns.rdatatype.A), Question(name, dns.rdatatype.AAAA))


def _text(record: object) -> str:
    match record:
        case dns.rdtypes.IN.A.A() | dns.rdtypes.IN.AAAA.AAAA():
            return str(record.address)
        case dns.rdtypes.ANY.PTR.PTR():
            return str(record.target.to_text(omit_final_dot=True))
        case _:
            raise ProtocolError("its answer has a record of another kind than it says", Cause.MALFORMED)
