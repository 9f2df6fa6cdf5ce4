"""What is inside, handed to another process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chainsocks.namespace.doorman import Door
from chainsocks.namespace.enter import Inside
from chainsocks.namespace.handover import hand_over, take_over


@pytest.mark.parametrize("with_door", [True, False])
def test_it_is_the_same_at_the_other_end(*, with_door: bool) -> None:
    ours, theirs = socket.socketpair()
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
    names = [each.getsockname() for each in sockets]
    one, other = socket.socketpair()
    door = Door(one) if with_door else None
    with ours, theirs, one, other:
        hand_over(ours, Inside.of(sockets), door, 7 if door else 0)
        assert all(each.fileno() == -1 for each in sockets)
        found = take_over(theirs)
    assert found
    assert found.namespace == Path("/proc/self/ns/net").stat().st_ino
    assert (found.door is not None, found.doorman) == (with_door, 7 if with_door else 0)
    assert [each.getsockname() for each in found.inside.sockets] == names
    for each in (*found.inside.sockets, *([found.door.socket] if found.door else [])):
        each.close()


def test_a_process_that_gives_up_hands_nothing_over() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert take_over(theirs) is None
