"""What every test of the library has."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator

import anyio
import pytest

from tests.background import Background, running_background


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    with running_background() as background:
        yield background


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A socket that nobody closed warns when it is collected, and a warning is an error."""
    yield
    gc.collect()
    gc.freeze()  # the next test has nothing to do with what is left


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """This machine knows one name. Returns the names that were looked up."""
    names: list[bytes] = []

    async def getaddrinfo(host: bytes, port: int, *, type: socket.SocketKind) -> list[tuple[object, ...]]:  # noqa: A002
        await anyio.lowlevel.checkpoint()
        names.append(host)
        if host != b"near.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, type, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return names
