"""The handshake of a question of DNS, which is a request of its own: it is there from the start, and has one answer."""

from __future__ import annotations

from chainsocks.protocol.address import Address
from chainsocks.protocol.dns import Query, Rcode
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.messages import Command, Reply, ReplyCode, Request, Version

__all__ = ["QuestionHandshake"]

ROOT = "."


class QuestionHandshake(ServerHandshake):
    """Has the request that `query` is: RESOLVE for a name, RESOLVE_PTR for an IP address.

    `answer` is to be set before a reply that has succeeded; another reply is answered by its RCODE.
    """

    __slots__ = ("answer", "query")

    def __init__(self, query: Query) -> None:
        super().__init__(State.REPLY)
        self.query = query
        self.answer = b""
        command = Command.RESOLVE_PTR if query.address else Command.RESOLVE
        name = query.name.encode("latin-1").decode("utf-8", "surrogateescape")
        self._request = Request(Version.DNS, command, Address(query.address or name or ROOT, 0))

    def _advance(self) -> bool:
        return False

    def _encode_reply(self, reply: Reply) -> bytes:
        if reply.succeeded:
            return self.answer
        return self.query.failure(Rcode.REFUSED if reply.code in _REFUSED else Rcode.SERVER_FAILURE)


_REFUSED = {ReplyCode.NOT_ALLOWED_BY_RULESET, ReplyCode.COMMAND_NOT_SUPPORTED}
"""The configuration forbids it, or its chain has no resolver: asking again would not help."""
