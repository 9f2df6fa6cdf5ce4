"""What the process that enters hands to the process outside: sockets, and how to find what is inside."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from chainsocks.namespace.agent import Agent
from chainsocks.namespace.enter import Inside

__all__ = ["Handover", "hand_over", "take_over"]

_MOST = 16


@dataclass(frozen=True, slots=True)
class Handover:
    """The sockets of a program's network; the process outside closes them."""

    inside: Inside
    namespace: int | None = None
    """The inode of the network namespace; None where the program has none of its own."""
    agent: Agent | None = None
    """To make sockets inside; None where that is not needed."""
    agent_pid: int = 0
    """The process that makes them."""


def hand_over(ours: socket.socket, inside: Inside, agent: Agent | None = None, agent_pid: int = 0) -> None:
    """Hand what is inside to the process at the other end of `ours`, and close it here."""
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    sockets = [*([agent.socket] if agent else []), *inside.sockets]
    socket.send_fds(ours, [b"%d" % agent_pid], [namespace, *(each.fileno() for each in sockets)])
    os.close(namespace)
    for each in sockets:
        each.close()


def take_over(theirs: socket.socket) -> Handover | None:
    """Wait for what is handed over, and return it; None if the other process has given up."""
    said, descriptors, _, _ = socket.recv_fds(theirs, 32, _MOST)
    if not descriptors:
        return None
    namespace, *rest = descriptors
    inode = os.fstat(namespace).st_ino
    os.close(namespace)
    sockets = [socket.socket(fileno=each) for each in rest]
    agent_pid = int(said)
    agent = Agent(sockets.pop(0)) if agent_pid else None
    return Handover(Inside.of(sockets), inode, agent, agent_pid)
