"""Admission: which connections have a session, which ones wait, and which are ended to make room.

1. There are at most `total` sessions, which are shared out fairly (`chainsocks.shares`), with a reserve. A client that
   logs in is its address at first, and its user once its request is complete.
2. A connection that may have no session yet is accepted all the same, to see which client it is, and waits. At most
   `most_waiting` wait; for a further one, the oldest of the client with the most is closed.
3. While connections wait, sessions without a complete request are ended for them (`chainsocks.server.crowds`). Of a
   client that had one ended, the newest connection is next: the older ones may well be as slow.
4. A user who may not have one more session, with its request complete, waits with the place that its address was
   given. Any other connection may have that place.

5. Where `sessions_per_client` is limited, a client that has that many has a part of the reserve for its further
   connections: each is refused as soon as its request is complete, instead of waiting.

6. Where `handshakes` is limited, only so many sessions may be without a complete request, which are shared out as the
   sessions are. Further connections wait, and 3. holds for them.

So connections that send nothing, or a part of a request, keep others waiting for a second at most, and those that
come from another address, for as long as there is a reserve, not at all. In an ordinary session, this costs some
dictionary operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

import trio

from chainsocks.config.limits import Limit, Limits
from chainsocks.limits.limiter import Limiter
from chainsocks.server.crowds import PATIENCE, TICK, Crowds
from chainsocks.server.pressure import Pressure
from chainsocks.session.place import Kept
from chainsocks.shares import FairQueue, Shares, reserve_of

__all__ = ["ENDING", "ENDS_AT_ONCE", "Admission", "Place"]

ENDING = 128
"""Sessions that were ended to make room and still run, at most: their files are in use until they have ended."""

ENDS_PER_SECOND, ENDS_AT_ONCE = 400, 16
"""How fast sessions are ended to make room. Thousands of slow connections would be turned over in one go otherwise, for
hundreds of milliseconds in which no other session moves."""

SERVE_INTERVAL = 0.01
"""Seconds between looks for sessions that may be ended by now, while connections wait."""

WaitingT = TypeVar("WaitingT")


class Client(Protocol):
    """What a place is for: the stream of a client, of which nothing is used but this."""

    def break_off(self) -> None:
        """End the connection as if the client had left, or raise ``OSError`` where it has ended already."""


class Place(Generic[WaitingT]):
    """See `chainsocks.session.place`; made by `Admission`."""

    __slots__ = ("_admission", "_turn", "began", "client", "ended", "is_incomplete", "stream")

    def __init__(self, admission: Admission[WaitingT], client: str, stream: Client) -> None:
        self._admission = admission
        self._turn: trio.Event | None = None
        self.client = client
        self.stream = stream
        self.began = admission.now()
        self.ended = False
        self.is_incomplete = True

    def keep(self, client: str) -> bool:
        """Keep the place for a complete request of `client`; return False if the client has to wait for that."""
        return self._admission.keep(self, client)

    async def wait(self, seconds: float) -> bool:
        """Wait until the client may keep the place; return False if the time is over or another one needs it."""
        self._turn = trio.Event()
        with trio.move_on_after(seconds):
            await self._turn.wait()
        self._turn = None
        return not (self.ended or self.is_incomplete)

    def have_turn(self) -> None:
        """Let `wait` return."""
        if self._turn is not None:
            self._turn.set()

    def end(self) -> None:
        """Have the session end."""
        self.ended = True
        if self._turn is not None:
            self._turn.set()  # its client has sent a request, and gets an answer
        else:
            with suppress(OSError):
                self.stream.break_off()

    def settle(self) -> Kept:
        """Return what to leave instead of this place, which `keep` has kept. It may be that of other sessions, too."""
        return self._admission.settle(self)

    def leave(self) -> None:
        """Give the place back; the session has ended."""
        self._admission.leave(self)


class _Kept(Generic[WaitingT]):
    """A place like all those that the same client may keep: there is nothing left to tell them apart."""

    __slots__ = ("_admission", "_client")

    def __init__(self, admission: Admission[WaitingT], client: str) -> None:
        self._admission = admission
        self._client = client

    def leave(self) -> None:
        """Give one of the places back; its session has ended."""
        self._admission.leave_kept(self._client)


class Admission(Generic[WaitingT]):
    """See the module. What waits can be anything: `start` gives it a session in a place, and `close` closes it."""

    def __init__(
        self,
        total: int,
        limited_by: str,
        start: Callable[[Place[WaitingT], WaitingT], None],
        close: Callable[[WaitingT], None],
        most_waiting: int,
        limiter: Limiter | None = None,
    ) -> None:
        self.limited_by = limited_by
        """What limits them, for the log."""
        self.now = trio.lowlevel.current_clock().current_time
        self._shares = Shares(total, reserve_of(total))
        self._handshakes: Shares | None = None
        """Those without a complete request, where their number is limited."""
        self._limiter = limiter or Limiter(trio.current_time, Limits())
        self._counted = self._limiter.sessions.counted
        self._to_refuse = set[Place[WaitingT]]()
        self._start = start
        self._close = close
        self._most_waiting = most_waiting
        self._incomplete: dict[Place[WaitingT], None] = {}  # the oldest first
        self._crowds = Crowds[Place[WaitingT]]()
        self._slow = set[str]()
        self._waiting = FairQueue[tuple[Client, WaitingT]](self)
        self._turns: dict[Place[WaitingT], None] = {}
        self._kept: dict[str, _Kept[WaitingT]] = {}
        self._ending = 0
        self._may_end = float(ENDS_AT_ONCE)
        self._may_end_at = trio.current_time()
        """How many may be ended, and when that was so."""
        self._is_waited = trio.Event()
        self._has_room = trio.lowlevel.ParkingLot()
        self._is_over = False
        """Whether nothing can wait any more."""
        self._is_pressed = False
        """Whether anything waits for a session to end."""
        self._pressure = Pressure()

    @property
    def taken(self) -> int:
        """The sessions that run; more than `total` for a while after that was lowered."""
        return self._shares.taken + self._ending

    @property
    def waiting(self) -> int:
        """Connections that wait for a place."""
        return len(self._waiting)

    @property
    def total(self) -> int:
        """The sessions that there may be at a time.

        A higher total has waiting connections start at once. A lower one ends no session.
        """
        return self._shares.total

    @total.setter
    def total(self, total: int) -> None:
        self._shares.total = total
        self._shares.reserve = reserve_of(total)
        self._serve_waiting()

    @property
    def handshakes(self) -> int | None:
        """The sessions that may be without a complete request at a time; None for all of them.

        A lower number ends no session at once.
        """
        return self._handshakes.total if self._handshakes else None

    @handshakes.setter
    def handshakes(self, most: int | None) -> None:
        self._handshakes = None
        if most is not None:
            self._handshakes = Shares(most, reserve_of(most))
            for place in self._incomplete:
                if place not in self._turns:
                    self._handshakes.take(place.client)
        self._serve_waiting()

    @property
    def held(self) -> Mapping[str, int]:
        """How many sessions each client has."""
        return self._shares.held

    def allows(self, client: str) -> bool:
        """Whether a connection of `client` may have a session now."""
        return self._shares.allows(client) and (self._handshakes is None or self._handshakes.allows(client))

    def enter(self, client: str, stream: Client) -> Place[WaitingT] | None:
        """Return a place for a new connection; None if it has to wait."""
        if self._shares.allows(client) and (self._handshakes is None or self._handshakes.allows(client)):
            return self._place(client, stream)
        return self._place_to_refuse(client, stream) if self._counted else None

    def wait(self, client: str, stream: Client, waiting: WaitingT) -> None:
        """Have a connection wait for its place, as far as it cannot have that of another."""
        if self._is_over:
            self._close(waiting)
            return
        self._say_full(client)
        if len(self._waiting) >= self._most_waiting:
            crowd, (_, oldest) = self._waiting.drop()
            self._pressure.count_ended(crowd)
            self._close(oldest)
        self._waiting.put(client, (stream, waiting))
        self._serve_waiting()
        if self._waiting:
            self._is_pressed = True
            self._is_waited.set()

    async def wait_for_room(self, client: str) -> None:
        """Wait until a connection of `client` would have a place at once.

        For a listener whose backlog is that of other processes too: they may have a place for it before.
        """
        while not self.allows(client):
            self._say_full(client)
            oldest = next(iter(self._incomplete), None)
            if oldest and oldest.began + PATIENCE <= trio.current_time():
                return
            self._is_pressed = True
            with trio.move_on_after(TICK if oldest else math.inf):
                await self._has_room.park()

    def make_room(self) -> bool:
        """Have a session end that has no complete request, for its files; return False if there is none to end."""
        return bool(self._ending) or self._end_one()

    def keep(self, place: Place[WaitingT], client: str) -> bool:
        """See `Place.keep`."""
        if place.ended or place in self._turns:
            return False
        if place.is_incomplete:
            self._note_complete(place)
        if client == place.client:
            return True
        shares = self._shares
        shares.give_back(place.client)
        may_keep = shares.allows(client)
        place.client = client
        shares.take(client)
        if not may_keep:
            place.is_incomplete = True
            self._incomplete[place] = None
            self._slow.add(client)
            self._turns[place] = None
            self._is_pressed = True
        return may_keep

    def leave(self, place: Place[WaitingT]) -> None:
        """See `Place.leave`."""
        if self._counted:
            self._limiter.sessions.leave(place)
        if place.ended:
            self._ending -= 1
        else:
            self._give_back(place)
        if self._is_pressed:
            self._serve_waiting()

    def settle(self, place: Place[WaitingT]) -> Kept:
        """See `Place.settle`."""
        if place in self._counted:
            return place
        client = place.client
        kept = self._kept.get(client)
        if kept is None:
            kept = self._kept[client] = _Kept(self, client)
        return kept

    def leave_kept(self, client: str) -> None:
        """Give back one place that `client` has kept."""
        self._give_back_one(client)
        if self._is_pressed:
            self._serve_waiting()

    async def run(self) -> None:
        """Serve those that wait as time goes by, and report, until cancelled; then close what waits."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pressure.report)
                while True:
                    await self._is_waited.wait()
                    await trio.sleep(SERVE_INTERVAL)
                    self._serve_waiting()
                    if not self._waiting:
                        self._is_waited = trio.Event()
        finally:
            self._is_over = True
            while entry := self._waiting.take(beyond=True):
                self._close(entry[1][1])

    # Places.

    def _place(self, client: str, stream: Client) -> Place[WaitingT]:
        self._shares.take(client)
        place = Place(self, client, stream)
        self._incomplete[place] = None
        if self._handshakes:
            self._handshakes.take(client)
        return place

    def _note_complete(self, place: Place[WaitingT]) -> None:
        """Note that a session has its request, its turn, or its end."""
        place.is_incomplete = False
        del self._incomplete[place]
        if place in self._turns:
            del self._turns[place]
        elif self._handshakes:
            self._handshakes.give_back(place.client)
        if self._to_refuse:
            self._to_refuse.discard(place)

    def _place_to_refuse(self, client: str, stream: Client) -> Place[WaitingT] | None:
        """Return a place in a part of the reserve, for a connection whose request will be refused; None otherwise."""
        shares = self._shares
        may_be = len(self._to_refuse) < shares.reserve // 2 and shares.taken < shares.total
        if not (may_be and self._limiter.sessions.is_full(client)):
            return None
        place = self._place(client, stream)
        self._to_refuse.add(place)
        return place

    def _give_back(self, place: Place[WaitingT]) -> None:
        if place.is_incomplete:
            self._note_complete(place)
        self._give_back_one(place.client)

    def _give_back_one(self, client: str) -> None:
        self._shares.give_back(client)
        if client not in self._shares.held:
            self._slow.discard(client)
            self._kept.pop(client, None)

    # Those that wait.

    def _serve_waiting(self) -> None:
        """Start connections that wait, as far as there are places for them or one can be had."""
        self._serve_turns()
        while entry := self._waiting.take(newest=self._slow):
            self._start_in_place(*entry)
        while self._waiting and self._end_one():
            if self._shares.taken < self.total and (entry := self._waiting.take(beyond=True, newest=self._slow)):
                self._start_in_place(*entry)  # one for one, whatever the shares are
        self._has_room.unpark_all()
        self._is_pressed = bool(self._waiting or self._turns)

    def _serve_turns(self) -> None:
        """Let users have their turns, as far as they may have sessions beside those that do not wait."""
        shares = self._shares
        for place in self._turns:
            shares.give_back(place.client)
        for place in [*self._turns]:
            may_keep = shares.allows(place.client)
            shares.take(place.client)
            if may_keep:
                self._note_complete(place)
                place.have_turn()

    def _start_in_place(self, client: str, entry: tuple[Client, WaitingT]) -> None:
        stream, waiting = entry
        self._start(self._place(client, stream), waiting)

    def _end_one(self) -> bool:
        """End the session whose place another one is to have; return False if there is none."""
        if self._ending >= ENDING or not self._incomplete:
            return False
        now = trio.current_time()
        self._may_end = min(self._may_end + (now - self._may_end_at) * ENDS_PER_SECOND, ENDS_AT_ONCE)
        self._may_end_at = now
        if self._may_end < 1:
            return False
        if self._crowds.is_outdated(now):
            self._crowds = Crowds(self._incomplete, now)
        place = self._crowds.oldest(self._slow, now)
        if place is None:
            return False
        client = place.client
        if self._handshakes and self._shares.taken < self.total:
            self._limiter.count(Limit.HANDSHAKES)
        self._slow.add(client)
        self._give_back(place)
        self._ending += 1
        self._may_end -= 1
        self._pressure.count_ended(client)
        place.end()
        return True

    def _say_full(self, client: str) -> None:
        if self._handshakes and self._shares.allows(client):
            self._pressure.handshakes_are_taken(self._handshakes.total)
        elif self._shares.taken >= self.total:
            self._pressure.sessions_are_taken(self.limited_by)
        else:
            self._pressure.one_client_has_most(self.limited_by)
