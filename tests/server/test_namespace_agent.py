"""Requests to an agent, one after the other."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from chainsocks.namespace.agent import Agent, Order
from chainsocks.server.namespace_agent import NamespaceAgent


@pytest.fixture
def ends() -> Iterator[tuple[NamespaceAgent, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(0)
    with ours, theirs:
        yield NamespaceAgent(Agent(ours)), theirs


async def test_each_request_has_its_turn(nursery: trio.Nursery, ends: tuple[NamespaceAgent, socket.socket]) -> None:
    asking, agent = ends
    made: list[socket.socket] = []

    async def ask(host: str) -> None:
        made.append(await asking.datagrams_from(socket.AF_INET, host, 443))

    async with trio.open_nursery() as both:
        for host in ("192.0.2.1", "192.0.2.2"):
            both.start_soon(ask, host)
        for _ in range(2):
            await trio.lowlevel.wait_readable(agent)
            order, family, port, host = agent.recv(100).decode().split(" ")
            assert (int(order), int(family), port) == (Order.DATAGRAMS_FROM, socket.AF_INET, "443")
            assert host in ("192.0.2.1", "192.0.2.2")
            with pytest.raises(BlockingIOError):
                agent.recv(100)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                socket.send_fds(agent, [b"1"], [sock.fileno()])
    assert [each.type for each in made] == [socket.SOCK_DGRAM] * 2
    for each in made:
        assert each.gettimeout() == 0
        each.close()


@pytest.mark.parametrize(("answer", "problem"), [(b"0no room", "no room"), (b"1", "no socket was made")])
async def test_what_cannot_be_done_is_an_error(
    ends: tuple[NamespaceAgent, socket.socket], answer: bytes, problem: str
) -> None:
    asking, agent = ends
    agent.send(answer)
    with pytest.raises(OSError, match=problem):
        await asking.stream(socket.AF_INET)


async def test_the_answer_to_a_cancelled_request_is_passed_over(
    nursery: trio.Nursery, ends: tuple[NamespaceAgent, socket.socket]
) -> None:
    asking, agent = ends
    for _ in range(2):
        with trio.CancelScope() as scope:
            scope.cancel()
            await asking.stream(socket.AF_INET)
        with trio.CancelScope() as scope:
            nursery.start_soon(trio.testing.wait_all_tasks_blocked)
            scope.deadline = trio.current_time()
            await asking.stream(socket.AF_INET)
    with socket.socket() as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        agent.settimeout(None)
        for _ in range(2):
            agent.recv(100)
        socket.send_fds(agent, [b"1"], [sock.fileno()])
        agent.send(b"0no room")
        socket.send_fds(agent, [b"1"], [last.fileno()])
        found = await asking.datagrams_from(socket.AF_INET, "192.0.2.1", 1)
    assert found.type == socket.SOCK_DGRAM
    found.close()


async def test_what_is_done_without_a_socket(ends: tuple[NamespaceAgent, socket.socket]) -> None:
    asking, agent = ends
    for ask in (asking.take_datagrams, asking.refuse_datagrams):
        agent.send(b"1")
        await ask()


async def test_an_agent_that_is_gone_is_an_error(ends: tuple[NamespaceAgent, socket.socket]) -> None:
    asking, agent = ends
    agent.close()
    with pytest.raises(OSError):  # noqa: PT011
        await asking.stream(socket.AF_INET)
