"""A chain of three whose second hop is spoken to in TLS, with a server at its end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from chainsocks import Chain, Hop, Tls
from chainsocks.protocol.address import Address
from tests.background import Background, running_background
from tests.certificates import authority
from tests.tls_front import TlsFront

HOP = "paris.example"


@dataclass(frozen=True)
class World:
    """Servers, and the ways to them."""

    background: Background
    plain: Chain
    """Three hops in the clear."""
    secured: Chain
    """The same with TLS to the second one."""
    front: TlsFront
    """The second hop's TLS."""
    echo: Address
    """Says everything back in capitals, and at the end of what it heard its own end."""


async def echo(stream: trio.SocketStream) -> None:
    await stream.send_all(b"220 hello\r\n")
    while data := await stream.receive_some():
        await stream.send_all(data.upper())
    await stream.send_eof()


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority().ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="package")
def world(ca: str) -> Iterator[World]:
    with running_background() as background:
        first, second, third = (background.proxy() for _ in range(3))
        front = TlsFront(authority().server(HOP), second)
        secured = Hop("osaka", "socks5", background.listen(front), tls=Tls(HOP, ca))
        yield World(
            background,
            Chain(f"socks5://{first}", f"socks4a://{second}", f"socks5://{third}"),
            Chain(f"socks5://{first}", secured, f"socks5://{third}"),
            front,
            background.listen(echo),
        )


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """A socket that was not closed warns when it is collected, and a warning is an error."""
    yield
    gc.collect()
