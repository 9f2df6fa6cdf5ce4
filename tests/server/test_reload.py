"""Reloading a server of one process, over real sockets, and on the real clock: a thread takes part."""

from __future__ import annotations

import errno
import gc
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.choices import NamesOnly
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.models import Config, Server, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.config.rules import Rule
from chainsocks.errors import ConfigError, Problem
from chainsocks.net.listeners import OpenListener
from chainsocks.protocol.address import Address
from chainsocks.server import server as running
from chainsocks.server.reload import Outcome, Reading, Reloader
from chainsocks.server.server import open_server
from chainsocks.session.service import Service
from tests.net.sockets import descriptors, read_exactly
from tests.server.serving import ANY_PORT, GREETING, config_of, connect, echoing, greet, open_session, said

pytestmark = pytest.mark.usefixtures("each_session_way")

Log = pytest.LogCaptureFixture


def test_an_outcome_shows_each_problem_with_its_file() -> None:
    outcome = Outcome("/etc/c.toml", (Problem("server.listen", "is missing"), Problem("", "is odd")))
    assert not outcome.is_applied
    assert str(outcome) == "/etc/c.toml: server.listen: is missing\n/etc/c.toml: is odd"
    assert Outcome("/etc/c.toml").is_applied
    assert str(Outcome("/etc/c.toml")) == ""


class File:
    """A configuration file of paper: what the next reading finds."""

    def __init__(self, found: Config | ConfigError) -> None:
        self.found = found

    def read(self) -> Reading:
        if isinstance(self.found, ConfigError):
            raise self.found
        return Reading(self.found, "c.toml", ("beware",))


@asynccontextmanager
async def reloadable(config: Config) -> AsyncIterator[tuple[running.Server, File, Reloader]]:
    file = File(config)
    async with open_server(config) as server:
        yield server, file, Reloader(server, file.read)


NO_ENTRY = (Rule(1, None),)


async def test_new_sessions_have_the_new_configuration_and_running_ones_go_on(log: Log) -> None:
    other = Listener(Address("127.0.0.2", 0))
    async with echoing() as destination, reloadable(config_of()) as (server, file, reloader):
        [before] = server.listeners
        async with connect(str(before)) as session, connect(str(before)) as greeted:
            await open_session(session, destination)
            await greet(greeted)
            users = (User("carol", PlainPassword(b"geheim")),)
            file.found = replace(config_of(ANY_PORT, other), users=users)
            assert await reloader.reload() == Outcome("c.toml", warnings=("beware",))
            assert [each.listener for each in server.listeners] == [ANY_PORT, other]
            assert server.listeners[0].sock is before.sock
            for each in server.listeners:
                async with connect(str(each)) as client:
                    await client.send(GREETING)
                    assert await read_exactly(client, 2) == bytes.fromhex("05 FF")
            for client in (session, greeted):
                if client is greeted:
                    request = bytes.fromhex("05 01 00 01") + destination.packed + destination.port.to_bytes(2, "big")
                    await client.send(request)
                    assert (await read_exactly(client, 10))[1] == 0
                await client.send(b"still here")
                assert await read_exactly(client, 10) == b"still here"
            listening = f"listening on {', '.join(map(str, server.listeners))}"
    assert [line for line in said(log, logging.INFO) if "id=" not in line] == [
        "reading the configuration again",
        listening,
        "reloaded: new sessions use c.toml",
    ]
    assert said(log, logging.WARNING) == ["beware"]


def refused_files(taken: Address) -> Iterator[tuple[Config | ConfigError, list[str]]]:
    problems = [Problem("server.foo", "unknown key"), Problem("rules[1].to", "is odd")]
    yield ConfigError(problems, "c.toml"), ["c.toml: server.foo: unknown key", "c.toml: rules[1].to: is odd"]
    yield (
        Config(Server(listen=(ANY_PORT,), workers=3), rules=NO_ENTRY),
        ["c.toml: server.workers: it cannot become 3, as the server was started with one process: restart the server"],
    )
    yield (
        replace(config_of(Listener(Address("127.0.0.2", 0)), Listener(taken)), rules=NO_ENTRY),
        [f"server.listen: {taken}: Address already in use"],
    )


@pytest.mark.parametrize("index", range(3), ids=["wrong-file", "workers", "address-in-use"])
async def test_what_is_wrong_changes_nothing_and_is_listed(log: Log, index: int) -> None:
    async with echoing() as destination, reloadable(config_of()) as (server, file, reloader):
        file.found, lines = [*refused_files(destination)][index]
        before, sockets, service = descriptors(), server.listeners, server.service
        for _ in range(2):
            outcome = await reloader.reload()
            assert str(outcome).splitlines() == lines
        assert (descriptors(), server.listeners, server.service) == (before, sockets, service)
        async with connect(str(server.listeners[0])) as client:
            await open_session(client, destination)
    failed = "not reloaded: the server goes on with the configuration that it had"
    assert said(log, logging.ERROR) == [*lines, failed] * 2


async def test_the_same_file_is_a_reload_too(log: Log) -> None:
    async with reloadable(config_of()) as (server, _, reloader):
        service = server.service
        assert (await reloader.reload()).is_applied
        assert server.service is not service
        assert server.service.config == service.config


async def test_a_worker_for_each_core_is_one_process_where_there_is_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reloadable(config_of()) as (_, file, reloader):
        file.found = Config(Server(listen=(ANY_PORT,), workers=0))
        for cores, is_applied in ((1, True), (2, False)):
            monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
            assert (await reloader.reload()).is_applied is is_applied


async def test_several_at_a_time_are_done_one_after_the_other(log: Log) -> None:
    async with reloadable(config_of()) as (_, _, reloader):
        before = descriptors()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(reloader.reload)
        assert descriptors() == before
    assert said(log, logging.INFO).count("reloaded: new sessions use c.toml") == 10


async def test_a_unix_socket_that_is_not_wanted_any_more_is_removed(tmp_path: Path) -> None:
    unix = Listener(UnixPath(str(tmp_path / "s")))
    async with reloadable(config_of(ANY_PORT, unix)) as (_, file, reloader):
        for found, exists in ((config_of(), False), (config_of(unix), True), (config_of(unix, ANY_PORT), True)):
            file.found = found
            assert (await reloader.reload()).is_applied
            await trio.sleep(0.05)
            assert (tmp_path / "s").exists() is exists


async def test_fifty_reloads_leave_no_task_no_socket_and_no_service() -> None:
    """One session runs all the time, and holds the service that it has; all others are gone."""
    strict = replace(ANY_PORT, names_only=NamesOnly.REFUSE)
    hop = Hop("a", HopProtocol.SOCKS5, Address("127.0.0.1", 1))
    chains = {"c": Chain(Group(hop, check=1000, name="g"), name="c", warm=2)}
    turns = [config_of(ANY_PORT), config_of(strict, Listener(Address("127.0.0.2", 0)))]
    turns.append(replace(turns[0], chains=chains, hops={"a": hop}, rules=NO_ENTRY))
    async with echoing() as destination, reloadable(turns[0]) as (server, file, reloader):
        session = connect(str(server.listeners[0]))
        await open_session(session, destination)
        counts = []
        for number in range(50):
            file.found = turns[number % len(turns)]
            assert (await reloader.reload()).is_applied
            if number in (4, 49):  # the same configuration
                await trio.sleep(0.05)
                gc.collect()
                services = sum(isinstance(each, Service) for each in gc.get_objects())
                counts.append((trio.lowlevel.current_statistics().tasks_living, descriptors(), services))
        assert counts[0] == counts[1]
        assert counts[0][2] == 2
        await session.send(b"still here")
        assert await read_exactly(session, 10) == b"still here"
        await session.aclose()


async def test_a_new_listener_that_cannot_listen_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address was free when it was bound, and another program was faster."""

    def fail(opened: OpenListener, _: float) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use", str(opened.listener))

    async with reloadable(config_of()) as (server, file, reloader):
        before, service = descriptors(), server.service
        file.found = replace(config_of(ANY_PORT, Listener(Address("127.0.0.2", 0))), rules=NO_ENTRY)
        with monkeypatch.context() as patch:
            patch.setattr(OpenListener, "listen", fail)
            assert str(await reloader.reload()) == "server.listen: 127.0.0.2:0: Address already in use"
        assert (descriptors(), server.service) == (before, service)
        assert (await reloader.reload()).is_applied
