"""`chainsocks.resolve` and `chainsocks.resolve_ptr`, under both backends, and the logins of hops with `isolate`."""

from __future__ import annotations

import anyio
import pytest

import chainsocks
from chainsocks import Chain, Hop, HopProtocol, Isolate, Timeouts
from chainsocks.errors import Place, Step
from tests.background import Background, Script
from tests.client.running import run


def script(reply: bytes) -> Script:
    return Script(b"\x05\x02", b"\x01\x00", reply)


def tor(background: Background, script: Script) -> Chain:
    return Chain(Hop("tor", HopProtocol.SOCKS5, background.listen(script), tor=True, isolate=Isolate.DESTINATION))


def test_a_name_is_looked_up_here_when_direct(backend: str) -> None:
    async def go() -> None:
        assert await chainsocks.resolve("near.example") == "127.0.0.1"
        assert await chainsocks.resolve("192.0.2.80") == "192.0.2.80"
        with pytest.raises(chainsocks.ResolverError) as caught:
            await chainsocks.resolve("far.example")
        assert caught.value.place == Place(None, chainsocks.Address("far.example", 0), Step.RESOLVE)

    run(backend, go)


def test_an_address_is_looked_up_here_when_direct(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def getnameinfo(sockaddr: tuple[str, int], flags: int) -> tuple[str, str]:
        await anyio.lowlevel.checkpoint()
        assert sockaddr == ("127.0.0.1", 0)
        return "near.example", "0"

    monkeypatch.setattr(anyio, "getnameinfo", getnameinfo)

    async def go() -> None:
        assert await chainsocks.resolve_ptr("127.0.0.1") == "near.example"

    run(backend, go)


def test_tor_is_asked_and_told_whom_to_separate(backend: str, background: Background) -> None:
    name = script(b"\x05\x00\x00\x01\xc0\x00\x02\x50\x00\x00")
    address = script(b"\x05\x00\x00\x03\x0bfar.example\x00\x00")

    by_name, by_address = tor(background, name), tor(background, address)

    async def go() -> None:
        assert await chainsocks.resolve("far.example", chain=by_name) == "192.0.2.80"
        assert await chainsocks.resolve_ptr("192.0.2.80", chain=by_address) == "far.example"

    run(backend, go)
    assert name.heard[0] == address.heard[0] == b"\x05\x01\x02"
    assert name.heard[1][:2] == address.heard[1][:2] == b"\x01\x20"
    assert name.heard[2] == b"\x05\xf0\x00\x03\x0bfar.example\x00\x00"
    assert address.heard[2] == b"\x05\xf1\x00\x01\xc0\x00\x02\x50\x00\x00"


def test_a_chain_with_nobody_to_ask(backend: str) -> None:
    async def go() -> None:
        with pytest.raises(chainsocks.RequestRefused, match="chain default has no resolver"):
            await chainsocks.resolve("far.example", chain=Chain("socks5://127.0.0.1:1"))

    run(backend, go)


def test_a_hop_that_does_not_answer(backend: str, background: Background) -> None:
    chain = tor(background, Script(b"\x05\x02", b"\x01\x00"))

    async def go() -> None:
        with pytest.raises(chainsocks.DialTimeout, match="request: no complete answer"):
            await chainsocks.resolve("far.example", chain=chain, timeouts=Timeouts(hop=0.05))

    run(backend, go)
