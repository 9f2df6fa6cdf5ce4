"""UDP sockets on loopback: batches, with a poller and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.net import udp
from chainsocks.net.poller import Poller, open_poller
from chainsocks.net.udp import UDPSocket, open_udp
from chainsocks.sockets import ANY_PORT
from tests.net.sockets import LOOPBACK, LOOPBACK6, needs_ipv6

loopbacks = pytest.mark.parametrize(
    "host", [pytest.param(LOOPBACK, id="ipv4"), pytest.param(LOOPBACK6, id="ipv6", marks=needs_ipv6)]
)


@pytest.fixture(params=["polled", "alone"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Poller | None]:
    if request.param == "alone":
        yield None
        return
    async with open_poller() as poller:
        yield poller


@contextmanager
def opened(host: str = LOOPBACK, poller: Poller | None = None, ports: range = ANY_PORT) -> Iterator[UDPSocket]:
    sock = open_udp(host, poller, ports)
    try:
        yield sock
    finally:
        sock.close()


def place(sock: UDPSocket) -> tuple[str, int]:
    return sock.address.host, sock.address.port


async def collect(sock: UDPSocket, count: int) -> list[tuple[bytes, tuple[str, int]]]:
    """Run a socket until so many datagrams have come."""
    found: list[tuple[bytes, tuple[str, int]]] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            def received(data: bytes, source: tuple[str, int]) -> None:
                found.append((data, source))
                if len(found) == count:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(sock.run, received)
    return found


@loopbacks
async def test_what_arrives_is_handed_on_with_its_source(host: str, either: Poller | None) -> None:
    with opened(host, either) as one, opened(host) as other:
        for data in (b"early", b"", b"x" * 60_000):
            assert other.send(data, place(one))
        source = place(other)
        assert await collect(one, 3) == [(b"early", source), (b"", source), (b"x" * 60_000, source)]


async def test_more_than_a_batch_arrives_whole_and_in_order(either: Poller | None) -> None:
    count = 3 * udp.BATCH + 1
    with opened(poller=either) as one, opened() as other:
        for number in range(count):
            other.send(b"%d" % number, place(one))
        assert [int(data) for data, _ in await collect(one, count)] == list(range(count))


async def test_a_batch_ends_while_there_is_more(
    either: Poller | None, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have their turn between two batches."""
    monkeypatch.setattr(udp, "BATCH", 2)
    count = 200
    seen: list[int] = []
    turns: list[int] = []

    async def take_turns() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            if len(seen) and (not turns or len(seen) > turns[-1]):
                turns.append(len(seen))

    with opened(poller=either) as one, opened() as other:
        for _ in range(count):
            other.send(b"flood", place(one))
        nursery.start_soon(take_turns)
        async with trio.open_nursery() as running:

            def received(_: bytes, __: tuple[str, int]) -> None:
                seen.append(1)
                if len(seen) == count:
                    running.cancel_scope.cancel()

            running.start_soon(one.run, received)
        assert len(turns) > 3


async def test_later_datagrams_arrive_too(either: Poller | None, nursery: trio.Nursery) -> None:
    sender, receiver = trio.open_memory_channel[bytes](10)
    with opened(poller=either) as one, opened() as other:
        async with trio.open_nursery() as running:
            running.start_soon(one.run, lambda data, _: sender.send_nowait(data))
            for data in (b"one", b"two", b"three"):
                await wait_all_tasks_blocked(0.01)
                other.send(data, place(one))
                assert await receiver.receive() == data
            running.cancel_scope.cancel()


async def test_an_error_about_an_earlier_datagram_hides_none_behind_it(
    either: Poller | None, nursery: trio.Nursery
) -> None:
    sender, receiver = trio.open_memory_channel[bytes](10)
    with opened(poller=either) as one, opened() as other:
        with opened() as nobody:
            pass
        one._socket.connect(place(nobody))  # a socket that is connected learns that nobody listens there
        one._socket.send(b"x")
        one._socket.connect(place(other))  # the error stays
        other.send(b"behind the error", place(one))
        async with trio.open_nursery() as running:
            running.start_soon(one.run, lambda data, _: sender.send_nowait(data))
            assert await receiver.receive() == b"behind the error"
            running.cancel_scope.cancel()


async def test_a_socket_queues_once_however_many_events_come(
    poller: Poller, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood that goes on while a batch is queued does not give its socket more turns than others."""
    monkeypatch.setattr(udp, "BATCH", 1)
    order: list[str] = []
    with opened(poller=poller) as flooded, opened(poller=poller) as quiet, opened() as sender:
        async with trio.open_nursery() as running:

            def received(data: bytes, _: tuple[str, int]) -> None:
                order.append("flooded")
                if len(order) < 20:
                    sender.send(data, place(flooded))  # one more event

            running.start_soon(flooded.run, received)
            running.start_soon(quiet.run, lambda _, __: order.append("quiet"))
            await wait_all_tasks_blocked()
            for _ in range(3):
                sender.send(b"x", place(flooded))
                sender.send(b"x", place(quiet))
            await wait_all_tasks_blocked(0.01)
            running.cancel_scope.cancel()
    # "quiet" has its three turns among the first; with a queue entry for each event they would come far later.
    assert order[:8].count("quiet") == 3


async def test_a_callback_that_raises_ends_its_own_socket_only(either: Poller | None) -> None:
    def received(data: bytes, _: tuple[str, int]) -> None:
        raise LookupError(data)

    with opened(poller=either) as one, opened(poller=either) as other:
        other.send(b"bug", place(one))
        with pytest.raises(LookupError):
            await one.run(received)
        one.send(b"alive", place(other))
        assert await collect(other, 1) == [(b"alive", place(one))]


async def test_what_cannot_leave_is_told() -> None:
    with opened() as sock:
        assert not sock.send(b"x" * 65_508, (LOOPBACK, 9))  # too large
        assert not sock.send(b"x", (LOOPBACK, 0))
        assert not sock.send(b"x", ("255.255.255.255", 9))  # nobody allowed that
