"""A name server, in a process of its own: it knows every name of one zone, and never answers for any other."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chainsocks.tools.bench.child import open_child, say_ready

__all__ = ["ALIVE", "DEAD", "answer", "open_name_server"]

ALIVE, DEAD = "alive.test", "dead.test"
"""The zones of names that have an address, and of names for which no answer comes."""

PORT = 53

HEADER = 12
NAME_OF_QUESTION = b"\xc0\x0c"
A, IN = 1, 1
TTL = 60


def answer(query: bytes, address: str) -> bytes | None:
    """Answer a question about a name: `address` for IPv4, and nothing for other kinds; None if it is not `ALIVE`."""
    labels, place = [], HEADER
    while size := query[place]:
        labels.append(query[place + 1 : place + 1 + size].decode("ascii", "replace"))
        place += 1 + size
    kind, question = int.from_bytes(query[place + 1 : place + 3], "big"), query[HEADER : place + 5]
    if ".".join(labels[-2:]).lower() != ALIVE:
        return None
    record = (
        b"\xc0\x0c" + b"".join(number.to_bytes(2, "big") for number in (A, IN, 0, TTL, 4)) + socket.inet_aton(address)
    )
    records = [record] if kind == A else []
    counts = b"\0\1" + len(records).to_bytes(2, "big") + bytes(4)
    return query[:2] + b"\x81\x80" + counts + question + b"".join(records)


@contextmanager
def open_name_server(host: str, address: str) -> Iterator[None]:
    """Run the name server on `host`; it has `address` for each name that is alive."""
    with open_child("benchmarks.names", host, address):
        yield


def main(host: str, address: str) -> None:
    """Answer until standard input ends."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind((host, PORT))

    def serve() -> None:
        while True:
            query, asker = sock.recvfrom(512)
            if data := answer(query, address):
                sock.sendto(data, asker)

    threading.Thread(target=serve, daemon=True).start()
    say_ready()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
