"""The load in C: it counts sessions that are complete, and says which answer was wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from benchmarks.programs import CannotStart, find_program
from benchmarks.session_load import COMPILER, Load, measure_session_load
from chainsocks.protocol.address import Address
from tests.background import Handler, running_background
from tests.e2e.programs import missing

GRANTED = b"\x05\x00\x00\x01" + bytes(6)

pytestmark = pytest.mark.measure


@pytest.fixture(autouse=True)
def _compiler() -> None:
    if not find_program(COMPILER):
        missing(f"there is no {COMPILER} here")


def measure(proxy: Address, folder: Path) -> Load:
    return measure_session_load(proxy, "127.3.2.1", folder, seconds=0.2, pids=(), clients=3)


def test_sessions_are_counted(tmp_path: Path) -> None:
    with running_background() as background:
        load = measure(background.proxy(), tmp_path)
    assert load.count > 0
    assert load.seconds >= 0.2
    assert 0 < load.load < load.seconds
    assert load.relay == 0, "no process was watched"


async def refuse_methods(stream: trio.SocketStream) -> None:
    await stream.receive_some(3)
    await stream.send_all(b"\x05\xff")
    await stream.receive_some(3)


async def refuse_request(stream: trio.SocketStream) -> None:
    await stream.receive_some(3)
    await stream.send_all(b"\x05")
    await stream.send_all(b"\x00")
    await stream.receive_some(10)
    await stream.send_all(b"\x05\x05" + GRANTED[2:])
    await stream.receive_some(3)


async def leave(stream: trio.SocketStream) -> None:
    await stream.receive_some(3)
    await stream.send_all(b"\x05\x00")
    await stream.receive_some(10)
    await stream.send_all(GRANTED)


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (refuse_methods, "the proxy refused step 0 with 255"),
        (refuse_request, "the proxy refused step 1 with 5"),
        (leave, "the proxy closed a session after step 2|recv: Connection reset"),
    ],
)
def test_a_session_that_does_not_work_ends_the_load(tmp_path: Path, handler: Handler, problem: str) -> None:
    with running_background() as background, pytest.raises(CannotStart, match=f"the load ended: ({problem})"):
        measure(background.listen(handler), tmp_path)
