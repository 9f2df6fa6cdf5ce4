"""The far end: it echoes, discards and sends, and its counters are true."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from chainsocks.protocol.address import Address
from chainsocks.tools.bench.accounting import exists
from chainsocks.tools.bench.child import open_child
from chainsocks.tools.bench.target import LOOPBACK, Counters, Kind, Target, What, open_target
from tests.background import PATIENCE
from tests.tools.bench.rude import Growth

MUCH = 8 << 20
"""More than all buffers on the way hold."""


def connect(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port), PATIENCE)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, "it closed the connection"
        data += more
    return data


def test_the_echo(target: Target) -> None:
    growth = Growth(target, Kind.ECHO)
    with connect(target.echo) as sock:
        for word in (b"x", b"some more words", bytes(1000)):
            sock.sendall(word)
            assert read(sock, len(word)) == word
        assert target.open_connections == 1
    assert target.wait_until_quiet(PATIENCE)
    assert growth.all == [1, 1, 1016, 1016]


def test_an_echo_that_is_not_read_waits(target: Target) -> None:
    growth = Growth(target, Kind.ECHO)
    with connect(target.echo) as sock:
        data = bytes(range(256)) * (MUCH // 256)
        sender = threading.Thread(target=sock.sendall, args=(data,))
        sender.start()
        with connect(target.echo) as other:
            other.sendall(b"x")
            assert read(other, 1) == b"x", "it echoes to others meanwhile"
        assert read(sock, MUCH) == data
        sender.join(PATIENCE)
    growth.wait_for(What.SENT, MUCH + 1)


def test_the_sink_counts_every_byte(target: Target) -> None:
    growth = Growth(target, Kind.SINK)
    with connect(target.sink) as one, connect(target.sink) as other:
        one.sendall(bytes(MUCH + 1))
        other.sendall(bytes(10))
    assert target.wait_until_quiet(PATIENCE)
    assert growth.all == [2, 2, MUCH + 11, 0]


def test_the_sink_counts_a_trickle_while_it_is_open(target: Target) -> None:
    growth = Growth(target, Kind.SINK)
    with connect(target.sink) as sock:
        sock.sendall(b"x" * 100)
        growth.wait_for(What.RECEIVED, 100)
        assert target.open_connections == 1


def test_the_source_sends_until_the_connection_ends(target: Target) -> None:
    growth = Growth(target, Kind.SOURCE)
    with connect(target.source) as sock:
        assert any(read(sock, MUCH))
    assert target.wait_until_quiet(PATIENCE)
    assert growth.of(What.SENT) >= MUCH


def test_the_source_stops_for_a_peer_that_has_finished(target: Target) -> None:
    with connect(target.source) as sock:
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 20):
            pass


def test_both_at_once(target: Target) -> None:
    growth = Growth(target, Kind.BOTH)
    with connect(target.both) as sock:
        sender = threading.Thread(target=sock.sendall, args=(bytes(MUCH),))
        sender.start()
        read(sock, MUCH)
        sender.join(PATIENCE)
        growth.wait_for(What.RECEIVED, MUCH)
    assert target.wait_until_quiet(PATIENCE)
    assert growth.of(What.RECEIVED) == MUCH
    assert growth.of(What.SENT) >= MUCH


def test_a_reset_is_an_end(target: Target) -> None:
    addresses = {Kind.ECHO: target.echo, Kind.SINK: target.sink, Kind.SOURCE: target.source, Kind.BOTH: target.both}
    for kind, address in addresses.items():
        growth = Growth(target, kind)
        with connect(address) as sock:
            sock.sendall(b"x")
            growth.wait_for(What.ACCEPTED, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        growth.wait_for(What.CLOSED, 1)
    test_the_echo(target)


def test_many_at_once(target: Target) -> None:
    sockets = [connect(target.echo) for _ in range(300)]
    for sock in sockets:
        sock.sendall(b"x")
    assert [read(sock, 1) for sock in sockets] == [b"x"] * 300
    assert target.open_connections == 300
    for sock in sockets:
        sock.close()
    assert target.wait_until_quiet(PATIENCE)


def test_it_is_not_quiet_while_a_connection_is_open(target: Target) -> None:
    with connect(target.echo) as sock:
        sock.sendall(b"x")
        read(sock, 1)
        assert not target.wait_until_quiet(0.02)


def test_it_ends_with_its_block() -> None:
    with open_target() as target:
        assert all(map(exists, target.pids))
        assert {address.host for address in (target.echo, target.sink, target.source, target.both)} == {LOOPBACK}
    assert not any(map(exists, target.pids))
    with pytest.raises(ConnectionRefusedError):
        connect(target.echo)


def test_it_ends_with_its_standard_input() -> None:
    counters = Counters.create()
    arguments = ("chainsocks.tools.bench.target", str(counters.fd), LOOPBACK, Kind.SINK.name)
    with open_child(*arguments, descriptors=[counters.fd]) as child, connect(Address(LOOPBACK, int(child.words[0]))):
        pass
    counters.close()
    assert child.process.returncode == 0, "it was not killed"


def test_another_process_reads_the_counters() -> None:
    counters = Counters.create()
    other = Counters(os.dup(counters.fd))
    places = [(kind, what) for kind in Kind for what in What]
    assert {other.read(*place) for place in places} == {0}
    for number, (kind, what) in enumerate(places, 1):
        counters.add(kind, what, number)
        counters.add(kind, what, 2**40)
    assert [other.read(*place) for place in places] == [2**40 + number for number in range(1, 17)]
    counters.close()
    other.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other.fd)
