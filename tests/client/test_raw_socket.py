"""`connect_socket`: bare sockets, with every byte, or a clear error."""

from __future__ import annotations

import socket

import anyio
import anyio.to_thread
import pytest

import chainsocks
from chainsocks import Address, Chain, Group, Gssapi, Hop, Tls
from chainsocks.client.raw_socket import why_not_bare
from tests.background import PATIENCE, Background, Script
from tests.client.running import run

GRANTED = b"\x05\x00\x00\x01\x0a\x00\x00\x01\x04\x38"
ANYWHERE = Address("127.0.0.1", 1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_came_behind_the_reply_is_in_the_socket(backend: str, background: Background, count: int) -> None:
    answers = [b"\x05\x00", GRANTED] * count
    answers[-1:] = [answers[-1] + b"220 hello\r\n"] if count else []
    script = Script(*answers, b"221 bye\r\n")
    address = background.listen(script)
    hops = [f"socks5://{address}", "socks5://b.example", "socks5://c.example"][:count]

    async def go() -> socket.socket:
        return await chainsocks.connect_socket(address.host, address.port, chain=Chain(*hops), timeout=5)

    with run(backend, go) as sock:
        assert sock.gettimeout() == 0
        sock.settimeout(PATIENCE)
        if count:
            assert sock.recv(4) == b"220 "
            assert sock.recv(100) == b"hello\r\n"
        sock.sendall(b"QUIT\r\n")
        assert sock.recv(100) == b"221 bye\r\n"
    assert script.left.wait(PATIENCE)


@pytest.mark.parametrize(
    ("hop", "why"),
    [
        (Hop("paris", "socks5", ANYWHERE, tls=Tls()), "hop paris is spoken to in TLS"),
        (Group("socks5://a", "socks5+tls://b"), "hop b:1080 is spoken to in TLS"),
        (Hop("lima", "socks5", ANYWHERE, Gssapi("integrity")), "hop lima protects what is sent by GSSAPI"),
    ],
)
def test_chains_without_a_bare_socket(backend: str, hop: Hop | Group, why: str) -> None:
    async def go() -> None:
        await chainsocks.connect_socket("far.example", 443, chain=Chain("socks5://a", hop))

    with pytest.raises(chainsocks.RequestRefused) as caught:
        run(backend, go)
    assert str(caught.value).startswith(f"the chain has no bare socket: {why}; use connect_tcp, or chainsocks.sync")


def test_gssapi_without_protection_leaves_the_socket_bare() -> None:
    assert why_not_bare(Chain(Hop("lima", "socks5", ANYWHERE, Gssapi("none")))) is None


def test_arguments(backend: str, background: Background) -> None:
    address = background.listen(Script())

    async def go(**options: object) -> None:
        (await chainsocks.connect_socket(address.host, address.port, **options)).close()  # type: ignore[arg-type]

    run(backend, go)
    wrong_ones: list[tuple[dict[str, object], str]] = [
        ({"chain": None}, "the chain is None"),
        ({"local_host": "here"}, "local_host is 'here'"),
        ({"isolation": "a"}, "no hop of the chain isolates"),
        ({"timeout": 0}, "the timeout is 0"),
    ]
    for options, problem in wrong_ones:

        async def wrong(options: dict[str, object] = options) -> None:
            await go(**options)

        with pytest.raises(ValueError, match=problem):
            run(backend, wrong)


def test_cancelling_closes_the_connection(backend: str, background: Background) -> None:
    script = Script(b"\x05\x00")
    chain = Chain(f"socks5://{background.listen(script)}")

    async def go() -> None:
        async with anyio.create_task_group() as group:

            @group.start_soon
            async def connect() -> None:
                await chainsocks.connect_socket("far.example", 443, chain=chain)

            assert await anyio.to_thread.run_sync(script.addressed.wait, PATIENCE)
            group.cancel_scope.cancel()

    run(backend, go)
    assert script.left.wait(PATIENCE)
