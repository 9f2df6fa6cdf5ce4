"""A row of links with latency. What they add up to is for `benchmarks.pipelining` to say: no test asserts a time."""

from __future__ import annotations

import socket

from benchmarks.links import open_links
from chainsocks.protocol.address import Address


def test_bytes_and_ends_go_both_ways() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Address(*listener.getsockname())
        with (
            open_links(0.001, [target], ["127.0.0.1"]) as [entrance],
            socket.create_connection((entrance.host, entrance.port)) as client,
        ):
            client.sendall(b"there")
            server, _ = listener.accept()
            with server:
                assert server.recv(100) == b"there"
                client.shutdown(socket.SHUT_WR)
                assert server.recv(100) == b""
                server.sendall(b"and back")
                server.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b"and back"
                assert client.recv(100) == b""


def test_what_is_said_in_order_arrives_in_order() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Address(*listener.getsockname())
        with (
            open_links(0.001, [target, None], ["127.0.0.1", "127.0.0.1"]) as [entrance, destination],
            socket.create_connection((entrance.host, entrance.port)) as client,
        ):
            server, _ = listener.accept()
            with server, socket.create_connection((destination.host, destination.port)):
                for number in range(50):
                    server.sendall(bytes((number,)))
                server.shutdown(socket.SHUT_WR)
                heard = b""
                while data := client.recv(100):
                    heard += data
    assert heard == bytes(range(50))


def test_the_destination_takes_everything_and_says_nothing() -> None:
    with (
        open_links(0.001, [None], ["127.0.0.1"]) as [destination],
        socket.create_connection((destination.host, destination.port)) as client,
    ):
        client.sendall(bytes(100_000))
        client.settimeout(0.05)
        try:
            assert client.recv(1) != b""
        except TimeoutError:
            pass
