"""Urgent data (RFC 6093) through our servers: every byte arrives, in its place."""

from __future__ import annotations

import ftplib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import servers
from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import connected, read_to_end

SIZES = [0, 1, 65_535, 65_536, 65_537, 1_000_000]


def say(sock: socket.socket, size: int) -> bytes:
    """Send `size` bytes, with urgent ones before, between and behind them, and the end; return them all."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    parts = [(b"?!", True), (b"1", True), (b"2", True), (data, False), (b"3", True), (b"ten bytes.", False)]
    parts += [(data, False), (b"4", True), (b"5", True)]
    for part, urgent in parts:
        if urgent:
            sock.send(part, socket.MSG_OOB)
        else:
            sock.sendall(part)
    sock.shutdown(socket.SHUT_WR)
    return b"".join(part for part, _ in parts)


@contextmanager
def answering(size: int, heard: list[bytes]) -> Iterator[SocketAddress]:
    """Read one connection to its end, and answer with urgent data."""

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(PATIENCE)
            heard.append(read_to_end(peer))
            say(peer, size)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


@pytest.mark.parametrize("size", SIZES)
def test_every_byte_arrives(front: Chainsocks, size: int) -> None:
    heard: list[bytes] = []
    with answering(size, heard) as target, connected(front.address, target) as sock:
        said = say(sock, size)
        assert read_to_end(sock) == said
    assert heard == [said]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lane", [True, False], ids=["lane", "task"])
def test_from_a_client_at_a_unix_socket(tmp_path: Path, size: int, *, lane: bool) -> None:
    heard: list[bytes] = []
    with chainsocks(listen=[f"unix:{tmp_path}/socket"], lane=lane) as front, answering(size, heard) as target:
        assert front.listeners
        with connected(f"{tmp_path}/socket", target) as sock:
            sock.send(b"a")
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(bytes(size))
            sock.send(b"!", socket.MSG_OOB)
            sock.send(b"z")
            sock.shutdown(socket.SHUT_WR)
            assert len(read_to_end(sock)) == 2 * size + 17
    assert heard == [b"a!" + bytes(size) + b"!z"]


def test_ftp_abort(front: Chainsocks, tmp_path: Path) -> None:
    with (
        servers.ftp_server(tmp_path) as server,
        connected(front.address, server) as sock,
        ftplib.FTP() as control,
    ):
        control.sock, control.af = sock, sock.family
        control.file = sock.makefile("r", encoding=control.encoding)
        control.getresp()
        control.login()
        assert control.abort().startswith(("225", "226"))
