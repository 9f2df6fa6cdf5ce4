"""What is inside, handed to another process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chainsocks.namespace.agent import Agent
from chainsocks.namespace.enter import Inside
from chainsocks.namespace.handover import hand_over, take_over


@pytest.mark.parametrize("with_agent", [True, False])
def test_it_is_the_same_at_the_other_end(*, with_agent: bool) -> None:
    ours, theirs = socket.socketpair()
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
    names = [each.getsockname() for each in sockets]
    one, other = socket.socketpair()
    agent = Agent(one) if with_agent else None
    with ours, theirs, one, other:
        hand_over(ours, Inside.of(sockets), agent, 7 if agent else 0)
        assert all(each.fileno() == -1 for each in sockets)
        found = take_over(theirs)
    assert found
    assert found.namespace == Path("/proc/self/ns/net").stat().st_ino
    assert (found.agent is not None, found.agent_pid) == (with_agent, 7 if with_agent else 0)
    assert [each.getsockname() for each in found.inside.sockets] == names
    for each in (*found.inside.sockets, *([found.agent.socket] if found.agent else [])):
        each.close()


def test_a_process_that_gives_up_hands_nothing_over() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert take_over(theirs) is None
