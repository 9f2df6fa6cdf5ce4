"""Serve a program, with listeners that are in no namespace; tests/e2e/test_exec.py has the real ones."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest
import trio

from chainsocks.config.models import Config
from chainsocks.namespace.enter import Inside
from chainsocks.namespace.handover import Handover
from chainsocks.tools.exec.serve import Program, serve_program
from chainsocks.tools.exec.way import config_inside

QUESTION = dns.message.make_query("a.test", "A").to_wire()


@pytest.fixture
def caller() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The end of the process that stands in for the program, and the other one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        yield ours, theirs


def program_of(caller: socket.socket, namespace: int = 1) -> Program:
    kinds = (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM)
    sockets = [socket.socket(socket.AF_INET, kind) for kind in kinds]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    return Program(caller, Handover(Inside.of(sockets), namespace))


def config_of(program: Program) -> Config:
    return config_inside(Config(), None, ("socks5://127.0.0.1:1",), program.addresses)


async def test_it_serves_until_the_program_has_ended(
    nursery: trio.Nursery, caller: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "chainsocks")
    program, ready, ended = program_of(caller[1]), trio.Event(), trio.Event()
    stream, names, questions, _ = (sock.getsockname() for sock in program.handover.inside.sockets)

    async def serve() -> None:
        await serve_program(config_of(program), program, ready.set)
        ended.set()

    nursery.start_soon(serve)
    await ready.wait()
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        await client.connect(questions)
        await client.send(QUESTION)
        answer = dns.message.from_wire(await client.recv(1000))
    assert str(answer.answer[0][0]) == "198.18.1.0"
    async with await trio.open_tcp_stream(*names) as client_stream:
        await client_stream.send_all(len(QUESTION).to_bytes(2, "big") + QUESTION)
        assert dns.message.from_wire((await client_stream.receive_some())[2:]).answer
    async with await trio.open_tcp_stream(*stream) as client_stream:  # it was not redirected
        with pytest.raises(trio.BrokenResourceError):
            await client_stream.receive_some()
    assert "it would lead back to it" in caplog.text
    assert not ended.is_set()
    caller[0].send(b"1")
    await ended.wait()
    assert caller[0].recv(10) == b"1"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends when its input does."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process


@pytest.mark.parametrize("ends_first", ["what is left", "the caller"])
async def test_it_waits_for_what_is_left_as_long_as_its_caller(
    nursery: trio.Nursery,
    caller: tuple[socket.socket, socket.socket],
    child: subprocess.Popen[bytes],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    ends_first: str,
) -> None:
    program, ready, ended = program_of(caller[1]), trio.Event(), trio.Event()
    left = [[child.pid], []]
    monkeypatch.setattr("chainsocks.tools.exec.serve.processes_in", lambda namespace: left.pop(0))

    async def serve() -> None:
        await serve_program(config_of(program), program, ready.set)
        ended.set()

    nursery.start_soon(serve)
    await ready.wait()
    caller[0].send(b"1")
    while not caplog.text:
        await trio.lowlevel.checkpoint()
    name = Path(f"/proc/{child.pid}/comm").read_text().strip()  # noqa: ASYNC240
    assert f"exec waits for what it has left running (Ctrl-C ends its network): {name} ({child.pid})" in caplog.text
    assert not ended.is_set()
    if ends_first == "what is left":
        assert child.stdin
        child.stdin.close()
        await ended.wait()
        assert caller[0].recv(10) == b"1"
    else:
        caller[0].close()
        await ended.wait()
        assert child.poll() is None


async def test_it_ends_with_its_caller(nursery: trio.Nursery, caller: tuple[socket.socket, socket.socket]) -> None:
    program, ready, ended = program_of(caller[1]), trio.Event(), trio.Event()

    async def serve() -> None:
        await serve_program(config_of(program), program, ready.set)
        ended.set()

    nursery.start_soon(serve)
    await ready.wait()
    async with await trio.open_tcp_stream(*program.handover.inside.names[0].getsockname()):
        caller[0].close()
        await ended.wait()
