"""The handshake of a connection whose destination is known beforehand: there is none.

The client speaks to its destination from the first byte, and knows of no proxy. The kernel has accepted its connection
already, so there is no answer either: where its way does not open, the connection is reset.
"""

from __future__ import annotations

from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.messages import Command, Reply, Request, Version

__all__ = ["UnspokenHandshake"]


class UnspokenHandshake(ServerHandshake):
    """Has the request for `destination` from the start. All that arrives is `trailing_data`.

    With UDP_ASSOCIATE the request is for the datagrams of one client.
    """

    __slots__ = ()

    def __init__(self, version: Version, destination: Address, command: Command = Command.CONNECT) -> None:
        super().__init__(State.REPLY)
        self._request = Request(version, command, destination)

    def _advance(self) -> bool:
        return False

    def _encode_reply(self, reply: Reply) -> bytes:
        return b""
