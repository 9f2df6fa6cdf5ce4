"""A peer for datagrams."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chainsocks import Address

__all__ = ["answering"]


@contextmanager
def answering(host: str = "127.0.0.1", *, from_elsewhere: bool = False) -> Iterator[Address]:
    """A thread that says everything back in capitals; before that, a stranger may say something."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock, socket.socket(family, socket.SOCK_DGRAM) as stranger:
        sock.bind((host, 0))

        def answer() -> None:
            while True:
                data, source = sock.recvfrom(65536)
                if data == b"stop":
                    return
                if from_elsewhere:
                    stranger.sendto(b"STRANGER", source)
                sock.sendto(data.upper(), source)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield Address(host, sock.getsockname()[1])
        finally:
            stranger.sendto(b"stop", sock.getsockname())
            thread.join()
