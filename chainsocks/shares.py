"""What a client is, and what is fair between clients: sessions, threads and ports are shared out by it.

1. A *client* is a user who has logged in, and otherwise an IPv4 address or an IPv6 /64 (`client_of`). Many people can
   be behind one address, as behind NAT, on loopback or on a unix socket.
2. So a share is no fixed limit. A lone client may have all of a resource but a reserve. Of the reserve, a client gets
   one more while it holds fewer than are free, so that it is there for clients that hold few (`Shares`).
3. Of the clients that wait, the one that holds the fewest is next, and among equals the one that has waited longest
   since its last turn (`FairQueue`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container, Hashable, Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Generic, Protocol, TypeVar

from chainsocks.protocol.address import unmapped

__all__ = ["FairQueue", "Shares", "client_of", "reserve_of"]

ItemT = TypeVar("ItemT")

RESERVE_PART, LARGEST_RESERVE = 16, 64


def client_of(host: str, user: str | None = None) -> str:
    """Return the client of a connection from an IP address, "" for a unix socket, or of a `user` who has logged in."""
    if user is not None:
        return "user " + user
    if ":" not in host:
        return host
    packed = inet_pton(AF_INET6, host.partition("%")[0])
    ipv4 = unmapped(packed)
    return inet_ntop(AF_INET6, packed[:8] + bytes(8)) if ipv4 is packed else inet_ntop(AF_INET, ipv4)


def reserve_of(total: int) -> int:
    """Return how many of `total` are the reserve; none of a few."""
    return min(total // RESERVE_PART, LARGEST_RESERVE)


class Shares:
    """How many of `total` each client holds, and which clients may have one more. `total` may be changed."""

    __slots__ = ("held", "reserve", "taken", "total")

    def __init__(self, total: int, reserve: int) -> None:
        self.total = total
        self.reserve = reserve
        self.taken = 0
        """How many are held; more than `total` for a while after that was lowered."""
        self.held: dict[str, int] = {}
        """How many each client holds; clients that hold none have no entry."""

    def allows(self, client: str) -> bool:
        """Whether a client may have one more now."""
        free = self.total - self.taken
        return free > self.reserve or self.held.get(client, 0) < free

    def take(self, client: str) -> None:
        """Count one that `client` has now."""
        self.taken += 1
        self.held[client] = self.held.get(client, 0) + 1

    def give_back(self, client: str) -> None:
        """Count one that `client` has no longer."""
        self.taken -= 1
        left = self.held[client] - 1
        if left:
            self.held[client] = left
        else:
            del self.held[client]


class Allows(Protocol):
    """Which clients may have one more of something; `Shares` are such."""

    @property
    def held(self) -> Mapping[str, int]:
        """How many each client holds."""

    def allows(self, client: str) -> bool:
        """Whether a client may have one more now."""


class FairQueue(Generic[ItemT]):
    """What clients wait for, until `shares` has one for them. Within a client, the kinds of items take turns."""

    def __init__(self, shares: Allows) -> None:
        self._shares = shares
        self._waiting: dict[str, dict[Hashable, deque[ItemT]]] = {}
        self._lengths = Counter[str]()
        self._length = 0

    def __len__(self) -> int:
        """Return how many items wait."""
        return self._length

    def __bool__(self) -> bool:
        """Whether an item waits."""
        return bool(self._waiting)

    def put(self, client: str, item: ItemT, kind: Hashable = None) -> None:
        """Have an item wait behind those of the same client and kind."""
        self._waiting.setdefault(client, {}).setdefault(kind, deque()).append(item)
        self._lengths[client] += 1
        self._length += 1

    def take(self, *, beyond: bool = False, newest: Container[str] = ()) -> tuple[str, ItemT] | None:
        """Return the next client and its item; None if none waits, or if there is none for it.

        `beyond` disregards the latter. It is the item that has waited longest, or the newest one of a client that is
        among `newest`. The caller counts it in the shares.
        """
        if not self._waiting:
            return None
        held = self._shares.held
        client = min(self._waiting, key=lambda client: held.get(client, 0))
        if not (beyond or self._shares.allows(client)):
            return None  # nor for the others, which hold as many or more
        return client, self._pop(client, newest=client in newest)

    def drop(self) -> tuple[str, ItemT]:
        """Return the client with the most items, and an item that has waited longest there; it waits no more."""
        client = max(self._lengths, key=self._lengths.__getitem__)
        return client, self._pop(client)

    def _pop(self, client: str, *, newest: bool = False) -> ItemT:
        lines = self._waiting.pop(client)
        kind = next(iter(lines))
        line = lines.pop(kind)
        item = line.pop() if newest else line.popleft()
        if line:
            lines[kind] = line  # behind the other kinds
        if lines:
            self._waiting[client] = lines  # behind the other clients
        self._length -= 1
        self._lengths[client] -= 1
        if not lines:
            del self._lengths[client]
        return item
