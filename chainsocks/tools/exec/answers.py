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

from chainsocks.protocol.dns import Kind, Query, Rcode, parse_query
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
        name = _name_of(query.name, names)
        return query.answer([_encoded(name)], TTL) if name else _ask(onward, query, message)
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


def _name_of(pointer: str, names: Names) -> str | None:
    """Return the name of an address that is written as one of ``in-addr.arpa`` or ``ip6.arpa``."""
    labels = pointer.split(".")
    digits = labels[-3::-1]
    try:
        match labels[-2:]:
            case ["in-addr", "arpa"]:
                host = str(ipaddress.IPv4Address(".".join(digits)))
            case ["ip6", "arpa"]:
                groups = ["".join(digits[place : place + 4]) for place in range(0, 32, 4)]
                host = str(ipaddress.IPv6Address(":".join(groups)))
            case _:
                return None
    except ValueError:
        return None
    return names.name_of(host)


def _encoded(name: str) -> bytes:
    labels = name.encode("latin-1").split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
