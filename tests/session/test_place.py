"""A session and its place: when it keeps it, for which client, and what becomes of it otherwise."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from anyio import EndOfStream
from trio.testing import MockClock

from chainsocks.config.models import Config, Ident, Server, User
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.place import Kept
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.memory import Host, MemoryNetwork, MemoryStream, memory_stream_pair
from tests.session.serving import CAROL, CONNECT5, DESTINATION, LOGIN, echo


@dataclass
class PlaceOf:
    """A place that notes for whom it was kept."""

    may_keep: bool = True
    turn_after: float = 1
    began: float = 0
    ended: bool = False
    kept: list[str] = field(default_factory=list)

    def keep(self, client: str) -> bool:
        self.kept.append(client)
        return self.may_keep

    def settle(self) -> Kept:
        raise AssertionError

    def leave(self) -> None:
        raise AssertionError

    async def wait(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await trio.sleep(self.turn_after)
            return True
        return False


@asynccontextmanager
async def session(place: PlaceOf, config: Config, host: str = "192.0.2.1") -> AsyncIterator[MemoryStream]:
    """Serve one client, from `host`, in a place."""
    near, far = memory_stream_pair()
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, {DESTINATION: Host(echo)})
        service = Service(config, Logins(config.users), network)
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await serve_session(Connection(far, "the client", host), service, place=place)

            nursery.start_soon(serve)
            yield near
            await near.aclose()
        handlers.cancel_scope.cancel()


async def hear(stream: MemoryStream) -> str:
    """What the server says until it is silent or ends."""
    heard = b""
    with trio.move_on_after(20):
        try:
            while True:
                heard += await stream.receive()
        except EndOfStream:
            pass
    return heard.hex()


@pytest.mark.parametrize(
    ("users", "words", "host", "client"),
    [
        ((), bytes.fromhex("05 01 00" + CONNECT5), "192.0.2.1", "192.0.2.1"),
        ((), bytes.fromhex("05 01 00" + CONNECT5), "2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ((), bytes.fromhex("05 01 00" + CONNECT5), "", ""),
        ((), bytes.fromhex("05 01 02") + LOGIN + bytes.fromhex(CONNECT5), "192.0.2.1", "192.0.2.1"),
        ((CAROL,), bytes.fromhex("05 01 02") + LOGIN + bytes.fromhex(CONNECT5), "192.0.2.1", "user carol"),
        ((), bytes.fromhex("04 01 0050 c0000250") + b"carol\0", "192.0.2.1", "192.0.2.1"),
    ],
    ids=["address", "network", "unix socket", "a login that nothing requires", "user", "SOCKS4"],
)
async def test_a_complete_request_keeps_the_place_for_its_client(
    users: tuple[User, ...], words: bytes, host: str, client: str, autojump_clock: MockClock
) -> None:
    place = PlaceOf()
    async with session(place, Config(users=users), host) as stream:
        await stream.send(words[:-1])
        await trio.sleep(1)
        assert place.kept == []
        await stream.send(words[-1:])
        await trio.sleep(1)
        assert place.kept == [client]


async def test_a_request_that_waits_for_identd_is_complete(autojump_clock: MockClock) -> None:
    place = PlaceOf()
    async with session(place, Config(Server(ident=Ident.CHECK))) as stream:
        await stream.send(bytes.fromhex("04 01 0050 c0000250") + b"carol\0")
        await trio.sleep(10)
        assert set(place.kept) == {"192.0.2.1"}


async def test_a_client_that_has_to_wait_has_its_turn(autojump_clock: MockClock) -> None:
    async with session(PlaceOf(may_keep=False, turn_after=9), Config()) as stream:
        await stream.send(bytes.fromhex("05 01 00" + CONNECT5))
        assert (await stream.receive()).hex() == "0500"
        assert (await stream.receive()).hex().startswith("0500")
        assert trio.current_time() == 9


async def test_a_client_that_has_no_turn_is_refused(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    async with session(PlaceOf(may_keep=False, turn_after=100), Config()) as stream:
        await stream.send(bytes.fromhex("05 01 00" + CONNECT5))
        assert await hear(stream) == "0500" + "05010001000000000000"
        assert trio.current_time() >= 10
    assert "its user has as many sessions as max_sessions allows one user now (waited up to 10 s)" in caplog.text


async def test_a_connection_that_made_room_as_its_request_came_is_not_served(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    async with session(PlaceOf(may_keep=False, ended=True), Config()) as stream:
        await stream.send(bytes.fromhex("05 01 00" + CONNECT5))
        assert await hear(stream) == "0500"
    assert "ended to make room for others, before its request was complete" in caplog.text
