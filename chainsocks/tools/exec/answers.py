"""What the name server inside answers: addresses from the pool of `chainsocks.tools.exec.names`.

1. A and AAAA: the addresses of the name. Whether there is such a name is not known here: the last hop resolves it, and
   a connection to a name that is none fails.
2. PTR: the name of an address of the pool.
3. All other types, such as MX, SRV, TXT and HTTPS, and other pointers: what `onward` says. Without that the name has
   none (NODATA).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from chainsocks.protocol.dns import Kind, Query, Rcode, encode_name, parse_query
from chainsocks.server.name_server import Later
from chainsocks.tools.exec.names import Names

__all__ = ["TTL", "Onward", "answer"]

TTL = 60
"""Seconds for which the program may remember an address; far less than the name keeps it."""

_LOCALHOST = {Kind.A: ipaddress.IPv4Address("127.0.0.1").packed, Kind.AAAA: ipaddress.IPv6Address("::1").packed}


Onward = Callable[[Query, bytes], Later | None]
"""Returns what asks for the records of a question, whose message it gets too; None where there is nothing to ask."""


def answer(message: bytes, names: Names, onward: Onward) -> bytes | Later | None:
    """Return the answer to a message, or what waits for it; None for none."""
    query = parse_query(message)
    if query is None or isinstance(query, bytes):
        return query
    if query.kind == Kind.PTR:
        name = names.name_of(query.address) if query.address else None
        return query.answer([encode_name(name)], TTL) if name else _ask(onward, query, message)
    if query.kind not in (Kind.A, Kind.AAAA):
        return _ask(onward, query, message)
    if not query.name:
        return query.answer([], TTL)
    if query.name.split(".")[-1] == "localhost":  # RFC 6761 section 6.3
        return query.answer([_LOCALHOST[Kind(query.kind)]], TTL)
    addresses = names.addresses_of(query.name)
    if addresses is None:
        return query.failure(Rcode.SERVER_FAILURE)
    return query.answer([addresses[query.kind == Kind.AAAA].packed], TTL)


def _ask(onward: Onward, query: Query, message: bytes) -> bytes | Later:
    return (query.name and onward(query, message)) or query.answer([], TTL)
