"""The name of an address, as this machine's resolver has it."""

from __future__ import annotations

import socket

import pytest
import trio

from chainsocks.net.reverse import name_of
from chainsocks.protocol.address import Address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_name_and_nothing_less(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getnameinfo(sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        assert (sockaddr, flags) == ((host, 0), socket.NI_NAMEREQD)
        return "near.example", "0"

    monkeypatch.setattr(trio.socket, "getnameinfo", getnameinfo)
    assert await name_of(Address(host, 80)) == "near.example"


async def test_this_machine_has_a_name() -> None:
    assert await name_of(Address("127.0.0.1", 0)) == socket.getnameinfo(("127.0.0.1", 0), socket.NI_NAMEREQD)[0]


async def test_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getnameinfo(sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getnameinfo", getnameinfo)
    with pytest.raises(OSError, match="not known"):
        await name_of(Address("192.0.2.1", 0))
