"""Channels between processes; both ends are in one here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
import trio

from chainsocks.config.models import Config
from chainsocks.server.channel import LONGEST, MOST_SOCKETS, Channel, Received, open_channel
from tests.config.files import read
from tests.net.sockets import descriptors


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    before = descriptors()
    one, other = open_channel()
    yield one, other
    one.close()
    other.close()
    assert descriptors() == before


def test_messages_come_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    assert other.receive() is None
    for message in ("short", b"x" * LONGEST, b"y" * 5_000_000, None):
        one.send(message)
    for message in ("short", b"x" * LONGEST, b"y" * 5_000_000, None):
        received = other.receive()
        assert received
        assert (received.message, [*received.sockets]) == (message, [])
    assert other.receive() is None


@pytest.mark.parametrize("size", [0, 2 * LONGEST], ids=["short", "long"])
def test_sockets_come_with_a_message(ends: tuple[Channel, Channel], size: int) -> None:
    one, other = ends
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        one.send(b"z" * size, [listening] * MOST_SOCKETS)
        received = other.receive()
        assert received
        assert len(received.sockets) == MOST_SOCKETS
        assert {each.getsockname() for each in received.sockets} == {listening.getsockname()}
        assert received.message == b"z" * size
        for each in received.sockets:
            each.close()


def test_a_configuration_arrives_as_it_was(ends: tuple[Channel, Channel]) -> None:
    lines = ["[hops]", "a = 'socks5://carol:geheim@a.example'", "b = 'socks4a://b.example'"]
    lines += ["[groups]", "g = { hops = ['a', 'b'], pick = 'fastest' }", "[chains]", "default = ['g']"]
    lines += ["[[rules]]", "to = ['*.lan', '10.0.0.0/8']", "ports = [1, '5-9']", "chain = 'direct'"]
    lines += ["[[users]]", "name = 'carol'", f"password_hash = '{HASH}'"]
    config = read("\n".join(lines))
    one, other = ends
    one.send(config)
    received = other.receive()
    assert received
    arrived = received.message
    assert isinstance(arrived, Config)
    assert arrived == config
    assert arrived.isolation_key == config.isolation_key
    assert [hop.identity for hop in arrived.hops.values()] == [hop.identity for hop in config.hops.values()]
    assert arrived.rules[0].written == config.rules[0].written
    assert replace(arrived, rules=()) != config


HASH = "scrypt:16384:8:1:YWJjZGVmZ2hpamtsbW5vcA:" + "A" * 43


def test_an_end_that_does_not_read_keeps_no_sender_waiting(ends: tuple[Channel, Channel]) -> None:
    one, _ = ends

    def send_on() -> None:
        while True:
            one.send(b"w" * 1000)

    with pytest.raises(BlockingIOError):
        send_on()


def test_an_end_that_is_gone_is_told_apart_from_silence(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send("last words")
    one.close()
    received = other.receive()
    assert received
    assert received.message == "last words"
    with pytest.raises(EOFError):
        other.receive()
    with pytest.raises(BrokenPipeError):
        other.send("too late")


async def test_a_task_can_wait_for_the_next_message() -> None:
    one, other = open_channel()
    heard = []

    async def hear() -> None:
        heard.append(await other.next())
        heard.append(await other.next())
        with pytest.raises(EOFError):
            await other.next()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear)
        await trio.testing.wait_all_tasks_blocked()
        one.send(1)
        one.send(2)
        one.close()
    assert heard == [Received(1), Received(2)]
    other.close()
