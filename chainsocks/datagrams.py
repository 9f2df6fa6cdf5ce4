"""What the server's and the library's UDP have in common: which datagrams to accept, and how to pass all relays.

It does no I/O but for `wait_for_end`. The server's side is `chainsocks.relay`, the library's `chainsocks.client`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Generic, TypeVar

from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteReceiveStream
from anyio.lowlevel import checkpoint

from chainsocks.protocol.address import Address, canonical, interleave
from chainsocks.protocol.datagram import Nesting, clear_reserved, header_size
from chainsocks.protocol.errors import ProtocolError

__all__ = ["Candidates", "Drop", "DropDatagram", "Recent", "Tunnel", "split", "wait_for_end"]

PATIENCE = 0.25
"""Seconds that an address of a name has to reply, before the next one is used (as long as an attempt of RFC 8305)."""

MAX_PATIENCE = 16
"""Seconds that this grows to while no address replies."""

MAX_CANDIDATES = 20
"""Addresses of one name that are used at most."""

K = TypeVar("K")
V = TypeVar("V")


class Drop(StrEnum):
    """Why a datagram is dropped, in words for the log."""

    STRANGER = "from strangers"
    FRAGMENT = "in fragments"
    MALFORMED = "malformed"
    NO_ADDRESS = "to names without an address"
    OVERFLOW = "too many at once"
    UNSENT = "not taken by the network"
    FORBIDDEN = "not allowed to go there"
    LIMITED = "over the bandwidth"


class DropDatagram(Exception):
    """Tells the caller to drop a datagram, for a `reason`."""

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason)
        self.reason = reason


def split(datagram: bytes) -> int:
    """Return the size of the header of a datagram that is not a fragment (RFC 1928 section 7).

    Raises:
        DropDatagram: it is a fragment, or malformed.
    """
    try:
        size = header_size(datagram)
    except ProtocolError:
        raise DropDatagram(Drop.MALFORMED) from None
    if datagram[2]:
        raise DropDatagram(Drop.FRAGMENT)
    return size


class Tunnel:
    """The way through the relays of a chain's associations, the first hop's first.

    Datagrams go to the first relay, with one header for each relay behind it. Replies have to come from the first relay
    and to have passed all others: anybody can send to a relay, and that a relay has passed something on proves nothing.
    """

    __slots__ = ("_nesting", "entry", "to")

    def __init__(self, relays: Sequence[Address]) -> None:
        first, *others = relays
        entry = canonical(first)
        self.to = entry.sockaddr
        """Where to send datagrams: the address of the first relay."""
        self.entry = (entry.host, entry.port)
        """The host and port of the first relay."""
        self._nesting = Nesting(others)

    def wrap(self, datagram: bytes) -> bytes:
        """Return what to send to `to`, for a datagram with the header of its destination."""
        return self._nesting.wrap(datagram)

    def unwrap(self, datagram: bytes, source: tuple[str, int]) -> tuple[bytes, int]:
        """Return a reply with the header of its origin, and the size of that header.

        Raises:
            DropDatagram: it has not come through all relays, is a fragment, or malformed.
        """
        if source != self.entry:
            raise DropDatagram(Drop.STRANGER)
        try:
            inner = self._nesting.unwrap(datagram)
        except ProtocolError:
            raise DropDatagram(Drop.MALFORMED) from None
        if inner is None:
            raise DropDatagram(Drop.STRANGER)
        return clear_reserved(inner), split(inner)


class Candidates:
    """The addresses of a name, of which datagrams use one.

    It is the first one that replies. Until then each is used in turn for `PATIENCE` seconds, and twice as long in the
    next round, because some destinations never reply.
    """

    __slots__ = ("_index", "_patience", "_replied", "_until", "addresses")

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = interleave(list(map(canonical, addresses)))[:MAX_CANDIDATES]
        """At least one."""
        self._index = 0
        self._patience = PATIENCE
        self._replied = False
        self._until: float | None = None

    def in_turn(self, now: float) -> Iterator[Address]:
        """Yield the address for a datagram; if the caller goes on, because it was not sent, the next one to try."""
        if self._until is None:
            self._until = now + self._patience
        elif not self._replied and now >= self._until:
            self._advance(now)
        for _ in self.addresses:
            yield self.addresses[self._index]
            if self._replied:  # there may be no room at the moment; only if replies cease as well is it the address
                self._replied, self._until = False, now + self._patience
                return
            self._advance(now)

    def note_reply(self, address: Address) -> None:
        """Stay with `address`, which has replied."""
        if not self._replied:
            self._index, self._patience, self._replied = self.addresses.index(address), PATIENCE, True

    def _advance(self, now: float) -> None:
        self._index = (self._index + 1) % len(self.addresses)
        if self._index == 0:
            self._patience = min(2 * self._patience, MAX_PATIENCE)
        self._until = now + self._patience


class Recent(Generic[K, V]):
    """A mapping with a bound: it keeps the `size` keys that were used last, and at most twice as many.

    It forgets whole generations, so that a hit costs no more than with a dict, and needs no order. None is no value.
    """

    __slots__ = ("_new", "_old", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __setitem__(self, key: K, value: V) -> None:
        if key not in self._new and len(self._new) >= self._size:
            self._old, self._new = self._new, {}
        self._new[key] = value

    def get(self, key: K) -> V | None:
        """Return a value, or None; this counts as a use of the key."""
        value = self._new.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self[key] = value
        return value

    def peek(self, key: K) -> V | None:
        """Return a value, or None, without using the key."""
        value = self._new.get(key)
        return self._old.get(key) if value is None else value


async def wait_for_end(stream: ByteReceiveStream) -> bool:
    """Discard what comes over a connection that an association lives by, to its end; False if it was broken."""
    try:
        while True:
            await stream.receive()
            await checkpoint()  # our own streams make none while there is something to receive
    except EndOfStream:
        return True
    except BrokenResourceError:
        return False
