"""The page "if it fails": every line that it shows is what the program says of such trouble."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from trio.testing import MockClock

from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener, parse_sender
from chainsocks.config.load import parse_config
from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, PlainPassword
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.handshake import State
from chainsocks.session.login import Logins
from tests.commands import run_main
from tests.e2e.programs import Program, clean_environment, free_address
from tests.e2e.spawner import OWN
from tests.hops import Fault, Trouble, add_hop
from tests.manual.pages import MANUAL, blocks, sections, shows
from tests.memory import Host, MemoryStream, WatchedNetwork
from tests.net.sockets import read_exactly
from tests.server.serving import config_of, connect, echoing, open_session, serving
from tests.session.serving import session

EXAMPLES = sections(MANUAL / "if-it-fails.md")
[CONFIG] = [block.text for block in blocks(MANUAL / "if-it-fails.md", "toml")]

DESTINATION = Address("example.org", 443)
NAME = b"\x03\x0bexample.org\x01\xbb"
GREETING = b"\x05\x01\x00"
CONNECT, ASSOCIATE, RESOLVE = (GREETING + bytes((5, command, 0)) + NAME for command in (1, 3, 0xF0))
CONNECT_IP = GREETING + b"\x05\x01\x00\x01\xc0\x00\x02\x50\x01\xbb"
LOGIN = b"\x05\x01\x02\x01\x05carol\x05wrong"
PLAIN = b"GET http://192.0.2.80:443/ HTTP/1.1\r\nHost: x\r\n\r\n"
SOCKS4 = b"\x04\x01\x01\xbb\xc0\x00\x02\x50\x00"
CAROL = (User("carol", PlainPassword(b"right")),)

ONE_HOP = '[hops]\nparis = "socks5://{}:1080"\n[chains]\ndefault = {{ hops = ["paris"]{} }}\n'
RULES = "[[rules]]\nports = 1\ndeny = true\n[[rules]]\nports = 2\ndeny = true\n[[rules]]\nports = 443\ndeny = true\n"

ALL: Mapping[str, Trouble | None] = {"paris": None, "osaka": None, "lima": None}


@dataclass(frozen=True)
class Case:
    """A client's session, and what is wrong on its way."""

    hops: Mapping[str, Trouble | None]
    """The hops that are there, each with its fault."""
    words: bytes = CONNECT
    config: str = CONFIG
    hosts: Callable[[dict[Address, Host]], None] = lambda hosts: None
    """What else is wrong in the network."""
    users: tuple[User, ...] = ()

    async def line(self, caplog: pytest.LogCaptureFixture) -> str:
        """Let the client have its session, and return the line in the log."""
        config = replace(parse_config(self.config), users=self.users)
        async with session(caplog, config) as client:
            network = client.network
            world = WatchedNetwork(network, "10.0.0.99")
            for name, trouble in self.hops.items():
                add_hop(world, config.hops[name], trouble)
            self.hosts(network.hosts)
            await client.send(self.words)
            with suppress(EndOfStream, BrokenResourceError):
                while True:
                    await client.stream.receive()
        return client.line


def at(hop: str, step: str, fault: Fault) -> Mapping[str, Trouble | None]:
    """All hops are there, and this one has a fault."""
    return {**ALL, hop: Trouble(step, fault)}


def paris_is_off(hosts: dict[Address, Host]) -> None:
    hosts[Address("10.0.0.1", 1080)] = Host()


def paris_is_slow(hosts: dict[Address, Host]) -> None:
    hosts[Address("10.0.0.1", 1080)].delay = 8


async def reset(stream: MemoryStream) -> None:
    stream.reset()


def destination(handler: Callable[[MemoryStream], object]) -> Callable[[dict[Address, Host]], None]:
    def add(hosts: dict[Address, Host]) -> None:
        hosts[Address("192.0.2.80", 443)] = Host(handler)  # type: ignore[arg-type]

    return add


async def hang_up(stream: MemoryStream) -> None:
    await stream.receive()


async def stay_silent(stream: MemoryStream) -> None:
    await trio.sleep_forever()


SESSIONS = {
    "Connection refused": Case({}),
    "No answer": Case({}, hosts=paris_is_off),
    "The name of the hop is not found": Case({}, config=ONE_HOP.format("paris.example", "")),
    "It is silent": Case(at("paris", State.METHOD_NEGOTIATION, Fault.MUTE)),
    "It is not a SOCKS server": Case(at("paris", State.METHOD_NEGOTIATION, Fault.GARBAGE)),
    "It refuses the login": Case(at("paris", State.SUB_NEGOTIATION, Fault.REFUSAL)),
    "It requires a login": Case(at("osaka", State.METHOD_NEGOTIATION, Fault.REFUSAL)),
    "It cannot reach the next hop": Case({"paris": None}),
    "It does not answer a request": Case(at("osaka", State.REQUEST, Fault.MUTE)),
    "It hangs up": Case(at("lima", State.REQUEST, Fault.FIN)),
    "The last hop refuses": Case(ALL),
    "Direct connections": Case({}, config=""),
    "The whole chain takes too long": Case(
        at("lima", State.REQUEST, Fault.MUTE), config=CONFIG + "[timeouts]\ndial = 12\n", hosts=paris_is_slow
    ),
    "A plain HTTP request has no response": Case({}, PLAIN, "", destination(hang_up)),
    "An address that a hop cannot carry": Case(
        {}, config='[hops]\nrome = "socks4://10.0.0.4"\n[chains]\ndefault = ["rome"]\n'
    ),
    "A rule denies them": Case({}, config=RULES),
    "No chain is left for them": Case({}, config=CONFIG.replace("default", "other") + RULES.replace("443", "3")),
    "They are for IP addresses": Case({}, CONNECT_IP, ONE_HOP.format("10.0.0.1", ', names_only = "refuse"')),
    "RESOLVE has no answer": Case({}, RESOLVE),
    "UDP is refused": Case({}, ASSOCIATE, ONE_HOP.format("10.0.0.1", ', udp = "refuse"')),
    "SOCKS4 where a login is required": Case({}, SOCKS4, users=CAROL),
    "The login is wrong": Case({}, LOGIN, users=CAROL),
    "The client does not speak SOCKS": Case({}, b"SSH-2.0-OpenSSH_9.2\r\n"),
    "A web page, or a client without a proxy": Case({}, b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
    "The client says nothing": Case({}, b""),
    "Nothing was sent for a long time": Case({}, CONNECT_IP, "", destination(stay_silent)),
    "Something on the way broke the connection": Case({}, CONNECT_IP, "", destination(reset)),
}

OTHERS = {
    "Another program has the address",
    "The configuration has mistakes",
    "Strangers could use the server",
    "An environment variable is missing",
    "The login was not checked",
    "The client made room",
    "The client has reached a limit",
    "The load balancer sends no header",
    "The load balancer is not expected",
    "Groups change their hop",
    "Datagrams are missing",
    "File descriptors",
    "A worker dies",
    "A bug",
}
"""The examples that have tests of their own below."""


def test_every_example_is_held_by_a_test() -> None:
    assert set(EXAMPLES) == SESSIONS.keys() | OTHERS


@pytest.mark.parametrize("heading", SESSIONS)
async def test_the_line_of_a_session(heading: str, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock) -> None:
    line = await SESSIONS[heading].line(caplog)
    assert shows(EXAMPLES[heading], line), line


async def test_a_login_that_has_no_turn(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.session.serving.Logins", partial(Logins, start_thread=lambda *_: None))
    hashed = HashedPassword(2, 8, 1, b"salt", bytes(32))
    line = await Case({}, LOGIN, users=(User("carol", hashed),)).line(caplog)
    assert shows(EXAMPLES["The login was not checked"], line), line


async def test_a_client_that_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    async with serving(config_of(max_sessions=1)) as server, connect(server.address) as slow:
        await slow.send(GREETING)
        await read_exactly(slow, 2)
        async with connect(server.address) as other:
            await other.send(GREETING)
            await read_exactly(other, 2)
    assert any(shows(EXAMPLES["The client made room"], line) for line in caplog.messages), caplog.messages


async def test_a_client_that_has_reached_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    config = replace(config_of(), limits=Limits(sessions_per_client=1))
    async with echoing() as target, serving(config) as server, connect(server.address) as first:
        await open_session(first, target)
        async with connect(server.address) as second:
            await second.send(GREETING + b"\x05\x01" + encode_header(target)[2:])
            await read_exactly(second, 12)
    assert any(shows(EXAMPLES["The client has reached a limit"], line) for line in caplog.messages), caplog.messages


@pytest.mark.parametrize(
    ("heading", "senders"),
    [("The load balancer sends no header", "127.0.0.1"), ("The load balancer is not expected", "192.0.2.1")],
)
async def test_connections_without_a_load_balancer(
    heading: str, senders: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    listener = Listener(Address("127.0.0.1", 0), proxy_protocol=parse_sender(senders))
    async with serving(config_of(listener)) as server, connect(server.address) as client:
        await client.send(GREETING)
        with suppress(EndOfStream, BrokenResourceError):
            await client.receive()
    assert any(shows(EXAMPLES[heading], line) for line in caplog.messages), caplog.messages


async def test_datagrams_that_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    client, stranger, far = (trio.socket.socket(type=socket.SOCK_DGRAM) for _ in range(3))
    with client, stranger, far:
        for sock in (client, stranger, far):
            await sock.bind(("127.0.0.1", 0))
        async with serving(config_of()) as server, connect(server.address) as control:
            declared, target = Address(*client.getsockname()), Address(*far.getsockname())
            await control.send(GREETING + b"\x05\x03" + encode_header(declared)[2:])
            answer = await read_exactly(control, 12)
            relay = decode_header(bytes(3) + answer[5:]).address
            for sock in (stranger, stranger, client):
                await sock.sendto(encode_header(target) + b"question", (relay.host, relay.port))
            assert await far.recv(100) == b"question"  # the third one: those of the stranger came before
    assert any(shows(EXAMPLES["Datagrams are missing"], line) for line in caplog.messages), caplog.messages


async def test_hops_that_fail_and_come_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    osaka, lima = (Address(*free_address()) for _ in range(2))
    front = parse_config(
        f'[health]\nrest = 0.1\n[hops]\nosaka = "socks5://{osaka}"\nlima = "socks5://{lima}"\n'
        '[groups]\nexits = ["osaka", "lima"]\n[chains]\ndefault = ["exits"]\n[server]\nlisten = ["127.0.0.1:0"]\n'
    )

    async def ask(address: str, target: Address) -> None:
        async with connect(address) as client:
            await open_session(client, target)

    async with echoing() as target, serving(front) as server, serving(config_of(Listener(lima))):
        await ask(server.address, target)
        await trio.sleep(0.2)
        async with serving(config_of(Listener(osaka))):
            await ask(server.address, target)
    failed, back = EXAMPLES["Groups change their hop"].splitlines()
    [is_down] = [line for line in caplog.messages if "hop osaka" in line and str(osaka) in line]
    assert shows(failed.replace("2.0", "0.1"), is_down), is_down
    assert back in caplog.messages


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder for a configuration file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_address_that_is_in_use(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = str(sock.getsockname()[1])
        _, _, said = run_main(capsys, "serve", "-q", "--hop", "socks5://a", "--listen", f"127.0.0.1:{port}")
    said = said.replace(port, "1080")
    assert shows(EXAMPLES["Another program has the address"], said), said


def test_a_name_that_is_misspelt(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "chainsocks.toml").write_text(CONFIG.replace('"paris", "osaka"', '"paris", "osaca"'))
    status, _, said = run_main(capsys, "check")
    assert status == 2
    assert shows(EXAMPLES["The configuration has mistakes"], said), said


def test_an_open_proxy(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    status, _, said = run_main(capsys, "serve", "--listen", "0.0.0.0:1080")
    assert status == 2
    assert shows(EXAMPLES["Strangers could use the server"], said), said


def test_a_password_that_is_not_there(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    hop = 'lima = { protocol = "socks5", address = "10.0.0.3", username = "bob", password_env = "LIMA_PASSWORD" }'
    (folder / "chainsocks.toml").write_text(f'[hops]\n{hop}\n[chains]\ndefault = ["lima"]\n')
    status, _, said = run_main(capsys, "serve")
    assert status == 2
    assert shows(EXAMPLES["An environment variable is missing"], said), said


def test_a_bug(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, *, lint: bool) -> None:
        raise RuntimeError("something else was expected")

    monkeypatch.setattr("chainsocks.commands.check.read_file", fail)
    status, _, said = run_main(capsys, "check", "chainsocks.toml")
    assert status == 1
    assert shows(EXAMPLES["A bug"], said), said


async def test_no_file_descriptors(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    accept, failing = socket.socket.accept, [True]

    def fail_once(sock: socket.socket) -> object:
        if failing:
            failing.clear()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", fail_once)
    async with echoing() as target, serving(config_of()) as server, connect(server.address) as client:
        await open_session(client, target)
    assert any(shows(EXAMPLES["File descriptors"], line) for line in caplog.messages), caplog.messages


def test_a_worker_that_dies(tmp_path: Path) -> None:
    command = [OWN, "serve", "--listen", "127.0.0.1:0", "--workers", "2"]
    server = Program(command, clean_environment(tmp_path))
    try:
        pid = server.wait_for(r"worker 2 \(pid (\d+)\) has started")[1]
        os.kill(int(pid), signal.SIGKILL)
        line = server.wait_for(r"worker 2 \(pid \d+\) was .*")[0].replace(pid, "4711")
    finally:
        server.stop()
    assert shows(EXAMPLES["A worker dies"], line), line
