"""A chain of three whose second hop is spoken to in TLS, with a server at its end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio

from chainsocks.protocol.address import Address
from tests.background import Script
from tests.three_hops import ThreeHops, three_hops, write_ca


@dataclass(frozen=True)
class World(ThreeHops):
    """Three hops, and a server behind them."""

    echo: Address
    """Says everything back in capitals, and at the end of what it heard its own end."""
    mute: Address
    """Accepts connections, and says nothing."""


async def echo(stream: trio.SocketStream) -> None:
    await stream.send_all(b"220 hello\r\n")
    while data := await stream.receive_some():
        await stream.send_all(data.upper())
    await stream.send_eof()


@pytest.fixture(scope="package")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="package")
def world(ca: str) -> Iterator[World]:
    with three_hops(ca) as hops:
        yield World(
            hops.background,
            hops.plain,
            hops.secured,
            hops.front,
            hops.background.listen(echo),
            hops.background.listen(Script()),
        )


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """A socket that was not closed warns when it is collected, and a warning is an error."""
    yield
    gc.collect()
