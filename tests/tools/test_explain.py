"""`chainsocks check --explain`: it says what the server then does, whatever the rules and the request."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from anyio import EndOfStream
from hypothesis import given, settings
from hypothesis import strategies as st

from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.protocol import socks4, socks5_messages
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.datagram import encode_header
from chainsocks.protocol.http_connect import HttpConnectHandshake
from chainsocks.protocol.messages import Command, Request, UsernamePassword, Version
from chainsocks.routing.rules import Caller
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from chainsocks.tools.explain import Explanation, explain
from tests.commands import run_main
from tests.memory import MemoryNetwork, MemorySocket, MemoryStream, memory_stream_pair
from tests.routing.reference import HOSTS, PORTS, Table, rule_tables, toml_of
from tests.session.serving import add_own_hop

FRONT, CLIENT = "192.0.2.100", "192.168.7.7"

HEAD = """
[chains]
default = ["tor"]
onion = { hops = ["tor"], names_only = "refuse" }
slow = ["tor", "paris"]
[hops]
tor = "socks5://127.0.0.1:9050"
paris = "socks5://10.0.0.1:1080"
[timeouts]
resolve = 1
handshake = "off"
"""
USERS = """
[[users]]
name = "carol"
password_env = "PASSWORD"
[[users]]
name = "dave"
password_env = "PASSWORD"
"""


@dataclass
class Done:
    """What the server has done, as its line in the log says."""

    chain: str
    rule: str
    allowed: bool


async def serve(
    config: Config, request: Request, caller: Caller, names: dict[str, list[str]]
) -> tuple[Done, Explanation]:
    """Send a request to a server, for a datagram to its destination if that is what it is about; and explain it."""
    near, far = memory_stream_pair()
    far.ends = (FRONT, 1080), (caller.host, 5555)
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, names=names)
        for hop in config.hops.values():
            add_own_hop(network, hop)
        explanation = await explain(config, request, caller, network)
        with lines_of("chainsocks.session") as lines:
            async with trio.open_nursery() as nursery:
                service = Service(config, Logins(config.users), network)
                nursery.start_soon(serve_session, Connection(far, "front", caller.host), service)
                await near.send(words(request, caller))
                granted = await answer(near, 2 + 2 * (caller.user is not None) + 10)
                if granted and request.command is Command.UDP_ASSOCIATE:
                    relay = next(socket for socket in network.sockets.values() if socket.address.host == FRONT)
                    socket = MemorySocket(network, caller.host, 5353)
                    socket.send(encode_header(request.destination) + b"question", relay.place)
                    await trio.sleep(1)
                await near.aclose()
        handlers.cancel_scope.cancel()
    line = next(line for line in lines if " client=front " in line)
    fields = dict(part.partition("=")[::2] for part in line.partition(" outcome=")[0].split(" "))
    refused = fields["reply"] == "02" or "not allowed to go there" in line or "which the rules asked for" in line
    return Done(fields["chain"], fields.get("rule", "-"), not refused), explanation


@contextmanager
def lines_of(name: str) -> Iterator[list[str]]:
    """Collect what is logged, from INFO on."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger(name)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


async def answer(stream: MemoryStream, size: int) -> bool:
    """Wait for the whole answer of a SOCKS5 server, or for its end; tell whether it granted the request."""
    said = b""
    try:
        while len(said) < size:
            said += await stream.receive()
    except EndOfStream:
        return False
    return said[size - 9] == 0


def words(request: Request, caller: Caller) -> bytes:
    """All that a client says, at once."""
    if request.version is Version.HTTP:
        login = None if caller.user is None else UsernamePassword(caller.user, b"secret")
        return HttpConnectHandshake(request.destination, login).data_to_send()
    if request.version is Version.SOCKS4:
        return socks4.ClientHandshake(request).data_to_send()
    asked = Address("0.0.0.0", 0) if request.command is Command.UDP_ASSOCIATE else request.destination
    front = b"\x05\x01\x00"
    if caller.user is not None:
        front = b"\x05\x01\x02\x01" + bytes((len(caller.user),)) + caller.user + b"\x06secret"
    return front + bytes((5, request.command, 0)) + socks5_messages.encode_address(asked)


def may_be(request: Request) -> bool:
    """Whether its protocol has such a request."""
    match request.version:
        case Version.SOCKS4:
            has_address = request.destination.type is not AddressType.IPV6
            return has_address and request.command is not Command.UDP_ASSOCIATE
        case Version.HTTP:
            return request.command is Command.CONNECT
        case _:
            return True


requests = st.builds(
    Request,
    st.sampled_from([Version.SOCKS4, Version.SOCKS5, Version.HTTP]),
    st.sampled_from([Command.CONNECT, Command.CONNECT, Command.BIND, Command.UDP_ASSOCIATE]),
    st.builds(Address, st.sampled_from(HOSTS), st.sampled_from(PORTS)),
    st.none(),
).filter(may_be)


@settings(max_examples=60)
@given(
    rule_tables,
    requests,
    st.sampled_from([None, b"carol", b"dave"]),
    st.sampled_from(["10.0.0.1", CLIENT, "2001:db8::1"]),
    st.sampled_from([{}, {"example.org": ["10.0.0.1", "203.0.113.1"]}, {"example.org": ["203.0.113.1"]}]),
    st.booleans(),
)
def test_it_agrees_with_what_the_server_does(
    tables: list[Table],
    request: Request,
    user: bytes | None,
    host: str,
    names: dict[str, list[str]],
    resolve: bool,  # noqa: FBT001
) -> None:
    for table in tables:
        if user is None:
            table.pop("users", None)
        elif named := table.get("users"):  # here they log in by password
            listed = named if isinstance(named, list) else [named]
            table["users"] = [str(each).removeprefix("ident:") for each in listed]
        if resolve and isinstance(table.get("to"), list):
            table["to"], table["resolve"] = ["10.0.0.0/8"], True
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PASSWORD", "secret")
        config = parse_config(toml_of(tables) + HEAD + (USERS if user else ""))
    caller = Caller(host, user and user.removeprefix(b"ident:"))
    clock = trio.testing.MockClock(autojump_threshold=0)
    done, explanation = trio.run(serve, config, request, caller, names, clock=clock)
    assert explanation.allowed == done.allowed
    if explanation.allowed:
        assert explanation.chain
        assert done.chain == explanation.chain.name
    if request.command is not Command.UDP_ASSOCIATE:  # there, each datagram has a rule of its own
        assert done.rule == (str(explanation.rule.number) if explanation.rule else "-")


# --- the command


FILE = (
    HEAD
    + """
[[rules]]
to = "*.onion"
chain = "onion"

[[rules]]
from = "192.168.7.0/24"
ports = [25, "6000-6100"]
deny = true
"""
)

GROUPS = """
[[rules]]
commands = "resolve"
chain = "slow"

[groups]
exits = { hops = ["paris", "tor"], pick = "random" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "chainsocks.toml"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "lines"),
    [
        (
            ["x.onion:80"],
            0,
            [
                "x.onion:80 is allowed",
                'rule 1: to = ["*.onion"], chain = "onion"',
                "chain onion: tor (socks5 127.0.0.1:9050) -> x.onion:80",
            ],
        ),
        (
            ["example.org:25", "--from", "192.168.7.9"],
            1,
            [
                "example.org:25 is refused: rule 2 says no",
                'rule 2: from = ["192.168.7.0/24"], ports = [25, "6000-6100"], deny = true',
            ],
        ),
        (
            ["127.1:25"],
            0,
            [
                "127.0.0.1:25 is allowed",
                "no rule matches",
                "chain default: tor (socks5 127.0.0.1:9050) -> 127.0.0.1:25",
            ],
        ),
        (
            ["x.onion:53", "--command", "udp"],
            1,
            [
                "x.onion:53 is refused: the association goes through chain default, and this datagram is dropped: "
                "it would have to go through chain onion",
                'rule 1: to = ["*.onion"], chain = "onion"',
            ],
        ),
        (["10.0.0.1:80", "--socks", "4"], 0, None),
        (["example.org:80", "--command", "bind", "--socks", "4a"], 0, None),
    ],
)
def test_the_explanation(
    capsys: pytest.CaptureFixture[str], path: Path, arguments: list[str], status: int, lines: list[str] | None
) -> None:
    for place in ([path], ["-c", path]):
        code, out, err = run_main(capsys, "check", *place, "--explain", *arguments)
        assert (code, err) == (status, "")
        assert lines is None or out.splitlines()[: len(lines)] == lines


def test_json(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    code, out, _ = run_main(capsys, "check", path, "--json", "--explain", "x.onion:80")
    assert code == 0
    assert json.loads(out) == {
        "destination": "x.onion:80",
        "let_in": True,
        "refusal": None,
        "rule": 1,
        "text": 'to = ["*.onion"], chain = "onion"',
        "addresses": None,
        "chain": "onion",
        "refused_at": [],
        "elsewhere": [],
        "hops": [{"name": "tor", "protocol": "socks5", "address": "127.0.0.1:9050"}],
        "send_proxy": False,
    }


def test_a_header_that_tells_of_the_client(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    path.write_text('[chains]\ndefault = { hops = "direct", send_proxy = true }\n')
    code, out, _ = run_main(capsys, "check", path, "--explain", "x.onion:80")
    assert code == 0
    assert out.splitlines()[3] == "the connection begins with a PROXY protocol header that tells of the client"
    assert json.loads(run_main(capsys, "check", path, "--json", "--explain", "x.onion:80")[1])["send_proxy"] is True


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--explain", "x.onion"], "--explain: 'x.onion': a port is missing, as in example.org:1080"),
        (["--explain", "x:1", "--from", "paris"], "--from: found 'paris', expected an IP address"),
        (["--explain", "x:1", "--socks", "4"], "--socks: SOCKS4 has no names; 4a has"),
        (["--explain", "[::1]:1", "--socks", "4a"], "--socks: SOCKS4 has no IPv6 addresses"),
        (["--explain", "x:1", "--command", "udp", "--socks", "4a"], "--socks: SOCKS4 has no UDP"),
        (["--explain", "x:1", "--user", "carol"], "--user: no client logs in: declare [[users]]"),
        (["--user", "carol"], "--from and --user need --explain HOST:PORT"),
        (["--from", "::1", "--json"], "--from and --user need --explain HOST:PORT"),
        (["--explain", "x:1", "--command", "conect"], "Invalid value for '--command'"),
    ],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], path: Path, arguments: list[str], complaint: str) -> None:
    code, out, err = run_main(capsys, "check", path, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"chainsocks: {complaint}")


def test_a_group_is_shown_with_its_members(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    path.write_text(FILE.replace('slow = ["tor", "paris"]', 'slow = ["tor", "exits"]') + GROUPS)
    question: list[str | Path] = ["check", path, "--explain", "example.org:80", "--command", "resolve"]
    assert run_main(capsys, *question)[1].splitlines()[-1] == (
        "chain slow: tor (socks5 127.0.0.1:9050) -> exits (random: paris (socks5 10.0.0.1:1080), "
        "tor (socks5 127.0.0.1:9050)) -> example.org:80"
    )
    hops = json.loads(run_main(capsys, *question, "--json")[1])["hops"]
    assert [hop["name"] for hop in hops] == ["tor", "exits"]
    assert [hop["name"] for hop in hops[1]["hops"]] == ["paris", "tor"]


def test_listeners_that_require_names_are_named(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    listeners = "['127.0.0.1:1080', { address = '[::1]:1080', names_only = 'refuse' }]"
    path.write_text(FILE + f"[server]\nlisten = {listeners}\n")
    code, out, _ = run_main(capsys, "check", path, "--explain", "127.1:80")
    assert (code, out.splitlines()[-1]) == (0, "but refused at [::1]:1080 (names_only)")
    assert "but refused" not in run_main(capsys, "check", path, "--explain", "example.org:80")[1]


def test_listeners_with_a_chain_of_their_own_are_named(capsys: pytest.CaptureFixture[str], path: Path) -> None:
    path.write_text(FILE + "[server]\nlisten = ['127.0.0.1:1080', { address = '[::1]:1080', chain = 'slow' }]\n")
    question: list[str | Path] = ["check", path, "--explain", "example.org:80"]
    code, out, _ = run_main(capsys, *question)
    assert (code, out.splitlines()[-1]) == (0, "but through chain slow at [::1]:1080")
    [one] = json.loads(run_main(capsys, *question, "--json")[1])["elsewhere"]
    assert one == {"listener": "[::1]:1080", "chain": "slow"}


def test_which_users_are_known(capsys: pytest.CaptureFixture[str], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "secret")
    path.write_text(FILE + USERS)
    question: list[str | Path] = ["check", path, "--explain", "x.onion:80"]
    assert run_main(capsys, *question, "--user", "carol")[0] == 0
    assert "refused: a login is required" in run_main(capsys, *question)[1]
    assert "refused: SOCKS4 cannot log in" in run_main(capsys, *question, "--socks", "4a", "--user", "carol")[1]
    assert run_main(capsys, *question, "--user", "carl") == (
        2,
        "",
        "chainsocks: --user: no user is called 'carl'; did you mean 'carol'?\n",
    )


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (["far.example:53", "--command", "udp"], "chain default carries no UDP"),
        (["far.example:53", "--command", "resolve"], "chain default has no resolver; set its resolver"),
        (["far.example:53"], "plain socks4 cannot carry the name in far.example:53"),
        (["[2001:db8::1]:53"], "socks4 cannot carry the IPv6 address of [2001:db8::1]:53"),
    ],
)
def test_what_the_chain_cannot_carry_is_not_allowed(
    capsys: pytest.CaptureFixture[str], path: Path, question: list[str], why: str
) -> None:
    path.write_text("[hops]\na = 'socks5://10.0.0.1'\nb = 'socks4://10.0.0.2'\n[chains]\ndefault = ['a', 'b']\n")
    status, out, _ = run_main(capsys, "check", path, "--explain", *question)
    assert (status, f"is refused: {why}" in out) == (1, True), out
