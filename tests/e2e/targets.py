"""What the tests reach through the proxies: servers in threads, and the bulk that is sent through.

A server fails the test when one of its connections met something that a network does not do.
"""

from __future__ import annotations

import functools
import hashlib
import random
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.wire import read

MIB = 2**20
CHUNK = 2**16
PAGE = b"Hello from the target.\n"

MORE_THAN_ALL_BUFFERS = 512 * MIB
"""Bytes; the kernel holds some 10 MiB at most in each direction of a connection."""

STUCK = 0.2
"""Seconds in which nothing can be sent."""

Handler = Callable[[socket.socket], None]


@contextmanager
def serving(handler: Handler, host: str = "127.0.0.1", port: int = 0) -> Iterator[SocketAddress]:
    """Run `handler` in a thread for each connection, and yield the address; at the end all connections are cut."""
    errors: list[Exception] = []
    threads: list[threading.Thread] = []
    connections: set[socket.socket] = set()
    lock = threading.Lock()

    def serve_one(sock: socket.socket) -> None:
        try:
            with sock:
                handler(sock)
        except (OSError, EOFError):
            pass  # a client that went away, as some tests want it; what it misses, the tests miss as well
        except Exception as error:  # noqa: BLE001  (reported below)
            errors.append(error)
        finally:
            with lock:
                connections.discard(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # the end, see below
            sock.settimeout(PATIENCE)
            with lock:
                connections.add(sock)
            thread = threading.Thread(target=serve_one, args=(sock,), daemon=True)
            threads.append(thread)
            thread.start()

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=256) as listener:
        listener.settimeout(None)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[:2]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            accepting.join(PATIENCE)
            with lock:
                for sock in connections:
                    try:
                        sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass  # its other side has gone already
            for thread in threads:
                thread.join(PATIENCE)
            assert not any(thread.is_alive() for thread in (accepting, *threads))
    if errors:
        raise errors[0]


def page(sock: socket.socket) -> None:
    """Answer an HTTP request."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += read(sock, 1) or b"\r\n\r\n"
    head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(PAGE)}\r\n\r\n"
    sock.sendall(head.encode() + PAGE)


def echo(sock: socket.socket) -> None:
    """Send everything back."""
    while data := sock.recv(CHUNK):
        sock.sendall(data)


def bulk(seed: int, size: int) -> Iterator[bytes]:
    """Make `size` bytes in chunks. Each chunk has its number in it: none can be missing, doubled or misplaced."""
    pool = _pool(seed)
    for number, offset in enumerate(range(0, size, CHUNK)):
        start = number * 4099 % MIB
        chunk = number.to_bytes(8, "big") + pool[start : start + CHUNK - 8]
        yield chunk[: size - offset]


@functools.cache
def _pool(seed: int) -> bytes:
    return random.Random(seed).randbytes(MIB + CHUNK)


def send_bulk(sock: socket.socket, seed: int, size: int) -> bytes:
    """Send `size` bytes, and return the digest of them."""
    digest = hashlib.sha256()
    for chunk in bulk(seed, size):
        digest.update(chunk)
        sock.sendall(chunk)
    return digest.digest()


def send_until_stuck(sock: socket.socket, seed: int) -> tuple[int, bytes]:
    """Send until nobody takes any more; return how much that was, and the digest of it.

    Do this in one direction of a connection only. With both full, Linux 6.18 drops the very segments that would get
    the connection going again, and tries anew much later.
    """
    digest = hashlib.sha256()
    size = 0
    sock.settimeout(0)
    try:
        for chunk in bulk(seed, MORE_THAN_ALL_BUFFERS):
            rest = memoryview(chunk)
            while rest:
                if not select.select([], [sock], [], STUCK)[1]:
                    return size, digest.digest()
                sent = sock.send(rest)
                digest.update(rest[:sent])
                size += sent
                rest = rest[sent:]
    finally:
        sock.settimeout(PATIENCE)
    raise AssertionError(f"somebody buffers {size} bytes")


def receive_bulk(sock: socket.socket, size: int) -> bytes:
    """Receive `size` bytes, and return the digest of them.

    Raises:
        EOFError: it ended before.
    """
    digest = hashlib.sha256()
    buffer = bytearray(4 * CHUNK)
    left = size
    while left:
        got = sock.recv_into(buffer, min(left, len(buffer)))
        if not got:
            raise EOFError(f"{left} of {size} bytes are missing")
        digest.update(memoryview(buffer)[:got])
        left -= got
    return digest.digest()


def source_and_sink(sock: socket.socket) -> None:
    """Serve `exchange`: read a size, then send and receive as much at once, then send the digests of both."""
    size = int.from_bytes(read(sock, 8), "big")
    received, sent = _both_ways(sock, 2, size)
    sock.sendall(received + sent)


def exchange(sock: socket.socket, size: int) -> None:
    """Send and receive `size` bytes at once, and see that either side got what the other has sent.

    Neither side finishes before the other has everything, so that this works without half-close.
    """
    sock.sendall(size.to_bytes(8, "big"))
    received, sent = _both_ways(sock, 1, size)
    answer = read(sock, 64)
    assert (answer[:32], answer[32:]) == (sent, received)


def _both_ways(sock: socket.socket, seed: int, size: int) -> tuple[bytes, bytes]:
    with ThreadPoolExecutor(1) as sender:
        sent = sender.submit(send_bulk, sock, seed, size)
        received = receive_bulk(sock, size)
        return received, sent.result()
