"""A process that stays inside, and makes sockets there for the process outside, which cannot enter.

A socket belongs to the network that it was made in, whichever process connects it. The doorman makes one for each byte
that it gets, and ends when the process outside has.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from chainsocks.namespace.calls import hide

__all__ = ["Door", "open_door"]

_FAMILIES = {b"4": socket.AF_INET, b"6": socket.AF_INET6}


class Door:
    """The other end of a doorman, of which one request at a time may be made."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        """Readable when an answer is there."""

    def ask(self, family: socket.AddressFamily) -> None:
        """Ask for a TCP socket of a family.

        Raises:
            OSError: the doorman has ended.
        """
        self.socket.send(next(word for word, each in _FAMILIES.items() if each == family))

    def take(self) -> socket.socket:
        """Return the socket that was asked for.

        Raises:
            OSError: the doorman has ended, or could not make one.
        """
        _, descriptors, _, _ = socket.recv_fds(self.socket, 1, 1)
        if not descriptors:
            raise ConnectionRefusedError("no socket can be made inside")
        return socket.socket(fileno=descriptors[0])


def open_door() -> tuple[Door, int]:
    """Start a doorman inside, where this process is, and return the door and the doorman's process id.

    It is no child of this process, and has a session of its own. *Closing*: the caller closes the door's socket.
    """
    ours, theirs = socket.socketpair()
    middle = os.fork()
    if middle == 0:
        if os.fork():
            os._exit(0)
        ours.close()
        _keep_door(theirs)
    os.waitpid(middle, 0)
    theirs.close()
    return Door(ours), int(ours.recv(32))


def _keep_door(door: socket.socket) -> None:
    """Be the doorman; never return."""
    try:
        os.setsid()
        hide()
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        descriptor = os.dup2(door.fileno(), 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        with socket.socket(fileno=descriptor) as kept:
            kept.send(b"%d" % os.getpid())
            while word := kept.recv(1):
                try:
                    with socket.socket(_FAMILIES[word]) as made:
                        socket.send_fds(kept, [b"1"], [made.fileno()])
                except OSError:
                    with suppress(OSError):
                        kept.send(b"0")
    finally:
        os._exit(0)
