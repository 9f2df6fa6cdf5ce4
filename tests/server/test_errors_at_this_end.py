"""Errors of this machine while a server is at work: the client gets 01 or a reset, and other sessions go on."""

from __future__ import annotations

import errno
import logging
import os
import socket

import pytest
from anyio import BrokenResourceError

from chainsocks.protocol.address import Address
from chainsocks.server.resolver import Resolver
from tests.net.sockets import read_exactly
from tests.server.serving import config_of, connect, echoing, greet, open_session, serving

pytestmark = pytest.mark.usefixtures("each_session_way")


def request(destination: Address) -> bytes:
    if destination.port == 0:
        return bytes.fromhex("05 01 00 03 07") + b"name.no" + bytes.fromhex("00 50")
    return bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2, "big")


async def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("chainsocks.server.network.Resolver", lambda: Resolver(no_thread))
    with caplog.at_level(logging.INFO):
        async with serving(config_of()) as server, connect(server.address) as client:
            await greet(client)
            await client.send(request(Address("name.no", 0)))
            assert (await read_exactly(client, 10))[:2] == b"\x05\x01"
    assert "no thread for the lookup" in caplog.text
    assert "bug" not in caplog.text


async def test_no_buffers_for_getsockname(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    monkeypatch.setattr("chainsocks.net.stream.SocketStream.note_connected", fail)
    with caplog.at_level(logging.INFO):
        async with echoing() as destination, serving(config_of()) as server, connect(server.address) as client:
            await greet(client)
            await client.send(request(destination))
            assert (await read_exactly(client, 10))[:2] == b"\x05\x01"
    assert os.strerror(errno.ENOBUFS).lower() in caplog.text
    assert "bug" not in caplog.text


async def test_no_memory_for_a_greeting(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    receive = socket.socket.recv
    with caplog.at_level(logging.INFO):
        async with serving(config_of()) as server, connect(server.address) as client, connect(server.address) as other:
            name = client.socket.getsockname()

            def recv(sock: socket.socket, *arguments: int) -> bytes:
                if sock is not client.socket and sock.fileno() >= 0 and peer_of(sock) == name:
                    raise MemoryError
                return receive(sock, *arguments)

            monkeypatch.setattr(socket.socket, "recv", recv)
            await client.send(b"\x05\x01\x00")
            with pytest.raises(BrokenResourceError):
                await client.receive()
            await greet(other)
    assert "out of memory" in caplog.text
    assert "bug" not in caplog.text


async def test_no_memory_in_a_relay(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    receive = socket.socket.recv
    with caplog.at_level(logging.INFO):
        async with (
            echoing() as destination,
            serving(config_of()) as server,
            connect(server.address) as client,
            connect(server.address) as other,
        ):
            await open_session(client, destination)
            await open_session(other, destination)
            name = client.socket.getsockname()

            def recv(sock: socket.socket, *arguments: int) -> bytes:
                if sock is not client.socket and sock.fileno() >= 0 and peer_of(sock) == name:
                    raise MemoryError
                return receive(sock, *arguments)

            monkeypatch.setattr(socket.socket, "recv", recv)
            await client.send(b"lost")
            with pytest.raises(BrokenResourceError):
                await client.receive()
            await other.send(b"fine")
            assert await read_exactly(other, 4) == b"fine"
    assert "out of memory" in caplog.text
    assert "bug" not in caplog.text


def peer_of(sock: socket.socket) -> object:
    try:
        return sock.getpeername()
    except OSError:
        return None
