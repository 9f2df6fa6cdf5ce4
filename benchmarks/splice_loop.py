"""``python splice_loop.py LISTEN_HOST LISTEN_PORT TO_HOST TO_PORT``: ``splice_loop.c`` in Python, step by step.

The difference between chainsocks and this is the price of SOCKS, tasks and deadlines; the difference between this and
the C program is the price of Python. It needs the standard library only, and has no error handling either.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import sys

__all__ = ["Direction", "forward", "main"]

PIPE_SIZE = 1 << 20
MOVE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Direction:
    """The bytes under way from one socket to another."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        # The same socket is the other direction's sink: with descriptors of its own, each can wait for its own event.
        self.source, self.sink = source, sink.dup()
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self.held = 0
        self.ended = False

    def waits_for(self) -> tuple[int, int]:
        """Return the descriptor that must be ready before bytes can be moved, and the event."""
        return (self.sink.fileno(), select.POLLOUT) if self.held else (self.source.fileno(), select.POLLIN)

    def move(self) -> None:
        """Read once if the pipe is empty, and write once what is in it."""
        try:
            if not self.held:
                self.held = os.splice(self.source.fileno(), self.writer, PIPE_SIZE, flags=MOVE)
            if self.held:
                self.held -= os.splice(self.reader, self.sink.fileno(), self.held, flags=MOVE)
            else:
                self._end()
        except BlockingIOError:
            pass
        except OSError:
            self._end()

    def _end(self) -> None:
        """Pass the end on, and close the descriptors of this direction."""
        self.ended = True
        for sock, how in ((self.sink, socket.SHUT_WR), (self.source, socket.SHUT_RD)):
            try:
                sock.shutdown(how)
            except OSError:
                pass  # it is gone already
            sock.close()
        os.close(self.reader)
        os.close(self.writer)


def forward(listener: socket.socket, destination: tuple[str, int]) -> None:
    """Forward every connection, for ever."""
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    directions: dict[int, Direction] = {}

    def add(source: socket.socket, sink: socket.socket) -> None:
        direction = Direction(source, sink)
        source.settimeout(0)
        watch(direction)

    def watch(direction: Direction) -> None:
        descriptor, event = direction.waits_for()
        poller.register(descriptor, event)
        directions[descriptor] = direction

    while True:
        for descriptor, _ in poller.poll():
            if descriptor == listener.fileno():
                client, upstream = listener.accept()[0], socket.create_connection(destination)
                add(client, upstream)
                add(upstream, client)
                continue
            direction = directions[descriptor]
            before = direction.held
            direction.move()
            if direction.ended or bool(direction.held) != bool(before):
                poller.unregister(descriptor)
                del directions[descriptor]
                if not direction.ended:
                    watch(direction)


def main() -> None:
    """Listen and forward."""
    here_host, here_port, there_host, there_port = sys.argv[1:]
    with socket.create_server((here_host, int(here_port))) as listener:
        forward(listener, (there_host, int(there_port)))


if __name__ == "__main__":
    main()
