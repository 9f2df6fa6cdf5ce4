"""A process that stays inside, and does there what the process outside cannot: make sockets, and change the rules.

A socket belongs to the network that it was made in, whichever process uses it. The agent serves one request at a
time, and ends when the process outside has. It has capabilities in the namespace, which the program has not: that
cannot look into it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from enum import IntEnum

from chainsocks.namespace.calls import hide
from chainsocks.namespace.enter import Inside, ports_of
from chainsocks.namespace.firewall import DATAGRAMS_REFUSED, datagram_rules_for, load_rules

__all__ = ["Agent", "Order", "start_agent"]

_FREEBIND = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}
"""Bind to addresses of others, which are local ones here."""

_MOST = 256


class Order(IntEnum):
    """What an agent is asked for."""

    STREAM = 1
    """A TCP socket of a family."""
    DATAGRAMS_FROM = 2
    """A UDP socket that sends from an address, whosever that is."""
    TAKE_DATAGRAMS = 3
    """That datagrams are handed to their listeners."""
    REFUSE_DATAGRAMS = 4
    """That they are refused again."""


class Agent:
    """The agent as the process outside has it: one request at a time may be made."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        """Readable when an answer is there."""

    def ask(self, order: Order, family: socket.AddressFamily = socket.AF_INET, host: str = "", port: int = 0) -> None:
        """Ask for something.

        Raises:
            OSError: the agent has ended.
        """
        self.socket.send(f"{order:d} {family:d} {port} {host}".encode())

    def take(self) -> socket.socket | None:
        """Return the socket that was asked for, or None for what is done without one.

        Raises:
            ConnectionRefusedError: the agent could not do it.
            ConnectionResetError: it has ended.
        """
        said, descriptors, _, _ = socket.recv_fds(self.socket, _MOST, 1)
        if not said:
            raise ConnectionResetError("the process inside has ended")
        if said != b"1":
            raise ConnectionRefusedError(said[1:].decode())
        return socket.socket(fileno=descriptors[0]) if descriptors else None


def start_agent(inside: Inside) -> tuple[Agent, int]:
    """Start one inside, where this process is, and return it with its process id.

    It is no child of this process, and has a session of its own. *Closing*: the caller closes the agent's socket.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rules = datagram_rules_for(ports_of(inside))
    middle = os.fork()
    if middle == 0:
        if os.fork():
            os._exit(0)
        ours.close()
        _serve(theirs, rules)
    os.waitpid(middle, 0)
    theirs.close()
    return Agent(ours), int(ours.recv(_MOST))


def _serve(requests: socket.socket, rules: str) -> None:
    """Do what the other end of `requests` asks for, until it is closed; never return."""
    try:
        os.setsid()
        os.chdir("/")
        hide()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        descriptor = os.dup2(requests.fileno(), 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        with socket.socket(fileno=descriptor) as kept:
            kept.send(b"%d" % os.getpid())
            while request := kept.recv(_MOST):
                try:
                    _carry_out(kept, request.decode(), rules)
                except OSError as error:
                    with suppress(OSError):
                        kept.send(f"0{error.strerror or error}".encode()[:_MOST])
    finally:
        os._exit(0)


def _carry_out(requests: socket.socket, request: str, rules: str) -> None:
    """Do what is asked for, and answer.

    Raises:
        OSError: it cannot be done.
    """
    order, number, port, host = request.split(" ")
    family = socket.AddressFamily(int(number))
    match Order(int(order)):
        case Order.STREAM:
            with socket.socket(family) as made:
                socket.send_fds(requests, [b"1"], [made.fileno()])
        case Order.DATAGRAMS_FROM:
            with socket.socket(family, socket.SOCK_DGRAM) as made:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.setsockopt(*_FREEBIND[family], 1)
                made.bind((host, int(port)))
                socket.send_fds(requests, [b"1"], [made.fileno()])
        case Order.TAKE_DATAGRAMS:
            load_rules(rules)
            requests.send(b"1")
        case Order.REFUSE_DATAGRAMS:
            load_rules(DATAGRAMS_REFUSED)
            requests.send(b"1")
