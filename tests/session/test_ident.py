"""A SOCKS4 client and its identd: who is let in, who is told what."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio
from anyio.abc import SocketAttribute

from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Ident, Server, Timeouts
from chainsocks.config.rules import Rule
from chainsocks.egress import Egress
from chainsocks.protocol.address import Address
from chainsocks.protocol.proxy_protocol import Ends
from chainsocks.session import connection as session_connection
from chainsocks.session import ident
from chainsocks.session.connection import Connection
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.memory import Host, MemoryNetwork, MemoryStream, memory_stream_pair
from tests.server.serving import config_of, echoing, serving
from tests.session.serving import CONNECT5, DESTINATION, GRANTED5, echo

IDENTD = Address("192.0.2.1", 113)
FRED = b"\x04\x01\0\x50\xc0\0\x02\x50fred\0"
NOBODY = b"\x04\x01\0\x50\xc0\0\x02\x50\0"
GRANTED, REFUSED, MISSING, DIFFERS = (bytes((0, code)) + bytes(6) for code in (90, 91, 92, 93))


class NamedStream(MemoryStream):
    """The client's connection as its two ends name it."""

    remote: object = ("192.0.2.1", 5555)
    local: object = ("198.51.100.1", 1080)

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.remote_address: lambda: self.remote, SocketAttribute.local_address: lambda: self.local}


def identd(answer: bytes, *, delay: float = 0) -> Host:
    async def serve(stream: MemoryStream) -> None:
        assert await stream.receive() == b"5555, 1080\r\n"
        await trio.sleep(delay)
        await stream.send(answer)

    return Host(serve)


def says(user: bytes) -> Host:
    return identd(b"5555, 1080 : USERID : UNIX : " + user + b"\r\n")


async def ask(
    host: Host,
    policy: Ident,
    request: bytes = FRED,
    *,
    client: type[NamedStream] = NamedStream,
    rules: tuple[Rule, ...] = (),
    told: Ends | None = None,
) -> tuple[bytes, float, MemoryNetwork]:
    """Make a request; return the reply, when it came, and the network."""
    near, far = memory_stream_pair()
    ours = client(far.incoming, far.outgoing)
    began = trio.current_time()
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, {DESTINATION: Host(echo), IDENTD: host})
        config = Config(Server(ident=policy), Timeouts(ident=3, handshake=2), rules=rules)
        async with trio.open_nursery() as nursery:
            connection = Connection(ours, "the client", told=told)
            nursery.start_soon(serve_session, connection, Service(config, Logins(()), network))
            await near.send(request)
            if request[0] == 5:
                assert await near.receive(2) == b"\x05\x00"
            reply = await near.receive()
            seconds = trio.current_time() - began
            await near.aclose()
        assert network.left_open == []
        handlers.cancel_scope.cancel()
    return reply, seconds, network


@pytest.mark.parametrize("request_", [FRED, NOBODY], ids=["fred", "nobody"])
@pytest.mark.parametrize("policy", [Ident.CHECK, Ident.REQUIRE])
@pytest.mark.parametrize("user", [b"fred", b"", b"mary"])
async def test_the_user_has_to_be_the_same(
    user: bytes, policy: Ident, request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "chainsocks")
    reply, _, network = await ask(says(user), policy, request_)
    assert reply == (GRANTED if user == (b"fred" if request_ is FRED else b"") else DIFFERS)
    assert network.egresses[IDENTD] == Egress((Address("198.51.100.1", 0),))
    line = caplog.messages[-1]
    assert ("reply=5D" in line and "names another user than its request" in line) == (reply == DIFFERS)
    assert "mary" not in caplog.text


@pytest.mark.parametrize(
    ("host", "seconds", "why"),
    [
        (Host(error=errno.ECONNREFUSED), 0, "no identd at 192.0.2.1:113: connection refused"),
        (Host(), 3, "no answer of an identd at 192.0.2.1:113 (within 3 s)"),
        (identd(b"5555, 1080 : USERID : UNIX : fred\r\n", delay=4), 3, "(within 3 s)"),
        (identd(b""), 0, "it closed the connection"),
        (identd(b"5555, 1080 : ERROR : HIDDEN-USER\r\n"), 0, "it names no user: HIDDEN-USER"),
        (identd(b"1, 2 : USERID : UNIX : fred\r\n"), 0, "the answer belongs to another connection"),
        (identd(b"HTTP/1.1 400 Bad Request\r\n"), 0, "looks like an HTTP server's answer"),
    ],
    ids=["refused", "mute connect", "late", "closes", "error", "another connection", "garbage"],
)
@pytest.mark.parametrize("policy", [Ident.CHECK, Ident.REQUIRE])
async def test_without_an_answer(
    host: Host,
    seconds: float,
    why: str,
    policy: Ident,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "chainsocks")
    reply, took, network = await ask(host, policy)
    assert reply == (MISSING if policy is Ident.REQUIRE else GRANTED)
    assert took == seconds
    assert f"ident: {why}" in caplog.text or why in caplog.text
    assert ("reply=5C" in caplog.text) == (policy is Ident.REQUIRE)
    assert (DESTINATION in [address for _, address in network.connects]) == (policy is Ident.CHECK)


@pytest.mark.parametrize(
    ("policy", "request_", "reply"),
    [(Ident.OFF, FRED, GRANTED), (Ident.REQUIRE, bytes.fromhex("05 01 00" + CONNECT5), bytes.fromhex(GRANTED5))],
    ids=["off", "SOCKS5"],
)
async def test_nobody_is_asked(policy: Ident, request_: bytes, reply: bytes) -> None:
    answer, _, network = await ask(says(b"mary"), policy, request_)
    assert answer == reply
    assert [address for _, address in network.connects] == [DESTINATION]


class UnixStream(NamedStream):
    remote = ""
    local = "/run/chainsocks.sock"


class GoneStream(NamedStream):
    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        def gone() -> None:
            raise OSError(errno.ENOTCONN, "not connected")

        return {SocketAttribute.remote_address: gone}


@pytest.mark.parametrize("kind", [UnixStream, GoneStream])
async def test_a_client_without_ports(kind: type[NamedStream]) -> None:
    assert (await ask(says(b"fred"), Ident.REQUIRE, client=kind))[0] == MISSING
    assert (await ask(says(b"fred"), Ident.CHECK, client=kind))[0] == GRANTED


# --- on real sockets


@pytest.mark.parametrize(("user", "code"), [("fred", 90), ("mary", 93), (None, 92)])
async def test_a_real_identd(user: str | None, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a few lines. It looks for a connection by its two ends, as real ones do."""
    ends: dict[tuple[str, int, int], str] = {}

    async def serve_ident(stream: trio.SocketStream) -> None:
        ports = (await stream.receive_some()).decode().strip()
        asked = stream.socket.getpeername()[0], *(int(port) for port in ports.split(","))
        known = ends.get((asked[0], asked[1], asked[2]))
        await stream.send_all(f"{ports} : {f'USERID : UNIX : {known}' if known else 'ERROR : NO-USER'}\r\n".encode())

    config = config_of(Listener(Address("127.0.0.2", 0)))
    config = Config(Server(listen=config.server.listen, ident=Ident.REQUIRE), config.timeouts)
    async with trio.open_nursery() as nursery, echoing() as destination:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve_ident, listeners)
        monkeypatch.setattr(ident, "IDENT_PORT", listeners[0].socket.getsockname()[1])
        async with serving(config) as server:
            host, _, port = server.address.rpartition(":")
            client = socket.create_connection((host, int(port)), source_address=("127.0.0.1", 0))
            with client:
                if user:
                    ends[host, client.getsockname()[1], int(port)] = user
                request = b"\x04\x01" + destination.port.to_bytes(2, "big") + destination.packed + b"fred\0"
                await trio.to_thread.run_sync(client.sendall, request)
                reply = await trio.to_thread.run_sync(client.recv, 8)
                assert reply[1] == code
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("host", "policy", "request_", "reply"),
    [
        (says(b"fred"), Ident.CHECK, FRED, GRANTED),
        (says(b"fred"), Ident.REQUIRE, FRED, GRANTED),
        (Host(error=errno.ECONNREFUSED), Ident.CHECK, FRED, REFUSED),
        (says(b"fred"), Ident.OFF, FRED, REFUSED),
        (says(b""), Ident.CHECK, NOBODY, REFUSED),
    ],
    ids=["checked", "required", "nobody confirms it", "nobody is asked", "another one"],
)
async def test_only_a_user_who_is_confirmed_is_one_to_the_rules(
    host: Host, policy: Ident, request_: bytes, reply: bytes
) -> None:
    rules = (Rule(1, "direct", users=frozenset({b"ident:fred"})), Rule(2, None))
    assert (await ask(host, policy, request_, rules=rules))[0] == reply


@pytest.mark.parametrize("user", [b"fred@EXAMPLE.ORG", b"gssapi:fred@EXAMPLE.ORG", b"fred"])
async def test_an_identd_cannot_make_a_principal_or_a_user_of_its_client(user: bytes) -> None:
    claims = b"\x04\x01" + DESTINATION.port.to_bytes(2, "big") + DESTINATION.packed + user + b"\0"
    forged = frozenset({b"gssapi:fred@EXAMPLE.ORG", b"fred@EXAMPLE.ORG", b"fred"})
    rules = (Rule(1, "direct", users=forged), Rule(2, None))
    assert (await ask(says(user), Ident.REQUIRE, claims, rules=rules))[0] == REFUSED


class BalancedStream(NamedStream):
    """A connection of a load balancer."""

    remote: object = ("10.0.0.5", 4711)
    local: object = ("10.0.0.2", 1081)


@pytest.mark.parametrize("is_ours", [True, False])
async def test_behind_a_load_balancer_the_clients_own_identd_is_asked(
    is_ours: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """About the connection to the load balancer, and only from the address that the identd knows for that."""
    caplog.set_level("DEBUG", "chainsocks")
    monkeypatch.setattr(session_connection, "is_own", lambda host: is_ours and host == "198.51.100.1")
    told = Ends(Address("192.0.2.1", 5555), Address("198.51.100.1", 1080))
    for policy, otherwise in ((Ident.CHECK, GRANTED), (Ident.REQUIRE, MISSING)):
        reply, _, network = await ask(says(b"fred"), policy, client=BalancedStream, told=told)
        assert reply == (GRANTED if is_ours else otherwise)
        assert network.egresses.get(IDENTD) == (Egress((Address("198.51.100.1", 0),)) if is_ours else None)
