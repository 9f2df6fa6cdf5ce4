"""The web server's process is watched, and replaced when it dies; its port stays open."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import trio

for package in ("hypercorn", "starlette", "prometheus_client"):
    pytest.importorskip(package, reason="the extra `web` is not installed")

from chainsocks.config.models import Config  # noqa: E402  (behind the skip)
from chainsocks.config.web import Web  # noqa: E402
from chainsocks.errors import WebListenError  # noqa: E402
from chainsocks.protocol.address import Address  # noqa: E402
from chainsocks.server.web import (  # noqa: E402
    FIRST_PAUSE,
    LONGEST_PAUSE,
    SETTLED,
    WebServer,
    next_pause,
    open_web_server,
)
from tests.control.fleets import FakeFleet  # noqa: E402
from tests.net.sockets import LOOPBACK, free_port  # noqa: E402
from tests.web.asking import counted  # noqa: E402
from tests.web.browsing import get, running_web  # noqa: E402


def processes() -> set[int]:
    """The processes of web servers that this process has started, in any of its threads."""
    mine = {
        int(pid)
        for thread in Path("/proc/self/task").iterdir()
        for pid in (thread / "children").read_text("ascii").split()
    }
    return {pid for pid in mine if b"chainsocks.web" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
async def test_a_process_that_dies_is_replaced_and_none_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks.web")
    async with running_web(FakeFleet(counted=[counted()])) as address:
        assert (await get(address, "/healthz")).status == 200
        [pid] = processes()
        os.kill(pid, signal.SIGKILL)
        await until_well(address)
        [other] = processes()
        assert other != pid
    assert processes() == set()
    lines = [record.getMessage() for record in caplog.records if record.name == "chainsocks.web"]
    assert re.fullmatch(r"web server on http://127\.0\.0\.1:\d+", lines[0])
    assert lines[1:] == [f"the web server was killed by SIGKILL; it is started again in {FIRST_PAUSE:g} s"]


def test_pauses_grow_while_it_keeps_dying() -> None:
    pauses = [0.0]
    for _ in range(10):
        pauses.append(next_pause(pauses[-1], lived=0.5))
    assert pauses[1] == FIRST_PAUSE
    assert pauses[2] == 2 * FIRST_PAUSE
    assert pauses[-1] == LONGEST_PAUSE
    assert next_pause(LONGEST_PAUSE, SETTLED) == FIRST_PAUSE


def test_without_an_address_there_is_no_socket() -> None:
    with open_web_server(Config()) as server:
        assert server.opened == []


def test_an_address_in_use_is_named() -> None:
    with open_web_server(config_of(Address(LOOPBACK, 0))) as server:
        address = Address(*server.opened[0].sock.getsockname())
        with pytest.raises(WebListenError, match="in use") as caught, open_web_server(config_of(address)):
            pass
    assert (caught.value.address, caught.value.number) == (str(address), errno.EADDRINUSE)


def config_of(listen: Address | None, **web: Any) -> Config:
    return Config(web=Web(listen, **web))


async def until_well(address: Address, **headers: str) -> None:
    """Wait until the web server answers; a process that is about to end may take a connection."""
    with suppress(ConnectionResetError, IncompleteRead):
        while (await get(address, "/healthz", **headers)).status != 200:
            pass
        return
    await until_well(address, **headers)


async def change(server: WebServer, config: Config) -> None:
    with server.prepare(config) as opened:
        server.change(config, opened)


async def test_a_change_takes_effect_and_the_port_stays_open() -> None:
    address = Address(LOOPBACK, free_port())
    with open_web_server(config_of(address)) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run, FakeFleet(counted=[counted()]))
            assert (await get(address, "/healthz", Host="proxy.example")).status == 403
            [before] = processes()
            await change(server, config_of(address))
            await trio.sleep(0.1)
            assert processes() == {before}  # nothing has changed
            await change(server, config_of(address, hosts=("proxy.example",)))
            await until_well(address, Host="proxy.example")
            moved = Address(LOOPBACK, free_port())
            await change(server, config_of(moved))
            await until_well(moved)
            with pytest.raises(ConnectionRefusedError):
                await get(address, "/healthz")
            await change(server, Config())
            nursery.cancel_scope.cancel()
        assert processes() == set()
