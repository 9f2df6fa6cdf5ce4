"""The Identification Protocol (RFC 1413): ask a machine which of its users has opened a connection to us."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from chainsocks.protocol.address import printable
from chainsocks.protocol.errors import Cause, ProtocolError, unexpected_opening

__all__ = ["MAX_ANSWER", "Answer", "decode_answer", "encode_query"]

MAX_ANSWER = 1000
"""The most bytes in an answer, without the end of its line (RFC 1413 section 6)."""

_PORTS = re.compile(rb"[ \t]*(\d{1,5})[ \t]*,[ \t]*(\d{1,5})[ \t]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """An identd's answer: a user, or (`user` is None) the reason for naming none. ``repr`` does not show the user."""

    user: bytes | None = field(repr=False)
    error: str = ""


def encode_query(theirs: int, ours: int) -> bytes:
    """Encode the query for the user of the connection from their port to ours (RFC 1413 section 4)."""
    return b"%d, %d\r\n" % (theirs, ours)


def decode_answer(data: bytes, theirs: int, ours: int) -> Answer | None:
    """Decode the answer to `encode_query`; None while it is incomplete. Bytes after it are ignored.

    Blanks around the user are removed: most servers put one before it, although section 5 makes it a part of the name.

    Raises:
        ProtocolError: it is no answer, it is too long, or it belongs to another connection.
    """
    line, end, _ = data.partition(b"\n")
    if len(line) > MAX_ANSWER + 1:
        raise ProtocolError(f"the answer is longer than {MAX_ANSWER} bytes", Cause.TOO_LONG)
    if not end:
        return None
    ports, _, rest = line.removesuffix(b"\r").partition(b":")
    kind, colon, rest = rest.partition(b":")
    match = _PORTS.fullmatch(ports)
    if match is None or not colon:
        raise unexpected_opening("this is not an identd's answer", line)
    if (int(match[1]), int(match[2])) != (theirs, ours):
        raise ProtocolError("the answer belongs to another connection", Cause.MISMATCH)
    match kind.strip(b" \t").upper():
        case b"USERID" if b":" in rest:
            return Answer(rest.partition(b":")[2].strip(b" \t"))
        case b"ERROR":
            return Answer(None, printable(rest.strip(b" \t").decode("latin-1")))
        case _:
            raise unexpected_opening("this is not an identd's answer", line)
