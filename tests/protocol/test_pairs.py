"""Our client against our server: every version, login and type of address, over a wire cut at every place.

The client's first data is glued to its request, and the target's banner to the reply. Both have to arrive whole,
wherever the wire is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.handshake import ClientHandshake, ServerHandshake, State
from chainsocks.protocol.messages import (
    Command,
    Credentials,
    IdentCode,
    Method,
    Reply,
    ReplyCode,
    Request,
    UserId,
    UsernamePassword,
    Version,
)

EARLY, BANNER = b"\x16\x03\x01 early data", b"SSH-2.0-banner\r\n"

ADDRESSES = {
    "IPv4": Address("192.0.2.1", 80),
    "name": Address("example.org", 443),
    "bytes": Address("b\udcfccher.example", 65535),
    "IPv6": Address("2001:db8::1", 0),
}
LOGINS: dict[Version, dict[str, Credentials | None]] = {
    Version.SOCKS4: {"anonymous": None, "fred": UserId(b"fred")},
    Version.SOCKS5: {"anonymous": None, "carol": UsernamePassword(b"carol", b"sesame \xff")},
}
CLIENTS: dict[Version, Callable[[Request], ClientHandshake]] = {
    Version.SOCKS4: socks4.ClientHandshake,
    Version.SOCKS5: socks5.ClientHandshake,
}


class Cable:
    """One direction of a connection; it delivers what is sent into it in pieces that end at the given `cuts`."""

    def __init__(self, cuts: Sequence[int] = ()) -> None:
        self._cuts = cuts
        self.carried = 0

    def carry(self, data: bytes) -> Iterator[bytes]:
        """Deliver `data`, which follows on what was carried before."""
        start, end = self.carried, self.carried + len(data)
        self.carried = end
        places = [start, *(cut for cut in self._cuts if start < cut < end), end]
        for place, following in pairwise(places):
            if place < following:
                yield data[place - start : following - start]


@dataclass
class Conversation:
    """A client, and the server that detects it, over two cables."""

    client: ClientHandshake
    reply: Reply
    methods: Sequence[Method]
    up: Cable
    down: Cable
    server: ServerHandshake | None = None

    def run(self) -> ServerHandshake:
        """Talk until there is nothing more to say; return the server, which has made its decisions at once."""
        while said := self.client.data_to_send():
            if self.client.state is State.REQUEST:
                said += EARLY
            answer = b"".join(self._hear(piece) for piece in self.up.carry(said))
            for piece in self.down.carry(answer):
                self.client.receive_data(piece)
        assert self.server is not None
        return self.server

    def _hear(self, piece: bytes) -> bytes:
        if self.server is None:
            self.server = server_handshake(piece, self.methods)
        server = self.server
        server.receive_data(piece)
        if server.state is State.LOGIN:
            assert isinstance(server, socks5.ServerHandshake)
            server.accept_login()
        if server.state is State.REPLY:
            server.send_reply(self.reply)
            return server.data_to_send() + BANNER
        return server.data_to_send()


def talk(request: Request, reply: Reply, up: Cable, down: Cable) -> tuple[ClientHandshake, ServerHandshake]:
    wants_login = isinstance(request.credentials, UsernamePassword)
    methods = [Method.USERNAME_PASSWORD if wants_login else Method.NO_AUTHENTICATION_REQUIRED]
    client = CLIENTS[request.version](request)
    return client, Conversation(client, reply, methods, up, down).run()


def cases() -> Iterator[object]:
    """Every request that its version can carry, with a reply that tells an address of every type."""
    for version, logins in LOGINS.items():
        types = [name for name in ADDRESSES if version is Version.SOCKS5 or name != "IPv6"]
        for login, credentials in logins.items():
            for asked in types:
                for bound in types if version is Version.SOCKS5 else ["IPv4"]:
                    request = Request(version, Command.CONNECT, ADDRESSES[asked], credentials)
                    reply = Reply(ReplyCode.SUCCEEDED, ADDRESSES[bound])
                    yield pytest.param(request, reply, id=f"{version.name}-{login}-{asked}-answered-with-{bound}")


@pytest.mark.parametrize(("request_", "reply"), list(cases()))
def test_they_understand_each_other_wherever_the_wire_is_cut(request_: Request, reply: Reply) -> None:
    up, down = Cable(), Cable()
    talk(request_, reply, up, down)
    everywhere_up, everywhere_down = range(up.carried), range(down.carried)

    for cuts_up, cuts_down in [
        ((), ()),
        *(((cut,), ()) for cut in everywhere_up),
        *(((), (cut,)) for cut in everywhere_down),
        (everywhere_up, everywhere_down),
    ]:
        client, server = talk(request_, reply, Cable(cuts_up), Cable(cuts_down))
        where = f"cut at {cuts_up} on the way up, at {cuts_down} on the way down"
        assert server.request == request_, where
        assert client.reply == reply, where
        assert (client.state, server.state) == (State.DONE, State.DONE), where
        assert (server.trailing_data, client.trailing_data) == (EARLY, BANNER), where


@pytest.mark.parametrize("version", CLIENTS)
@pytest.mark.parametrize("command", [Command.CONNECT, Command.BIND, Command.RESOLVE])
def test_commands_arrive(version: Version, command: Command) -> None:
    request = Request(version, command, ADDRESSES["IPv4"])
    _, server = talk(request, Reply(ReplyCode.SUCCEEDED), Cable(), Cable())
    assert server.request == request


@pytest.mark.parametrize("command", [Command.UDP_ASSOCIATE, Command.RESOLVE_PTR])
def test_commands_that_only_socks5_has_arrive(command: Command) -> None:
    request = Request(Version.SOCKS5, command, UNSPECIFIED)
    _, server = talk(request, Reply(ReplyCode.SUCCEEDED), Cable(), Cable())
    assert server.request == request


REFUSALS = [*ReplyCode][1:]


@pytest.mark.parametrize("code", REFUSALS)
def test_a_socks5_refusal_comes_through_with_its_code(code: ReplyCode) -> None:
    client, server = talk(Request(Version.SOCKS5, Command.CONNECT, ADDRESSES["name"]), Reply(code), Cable(), Cable())
    assert client.reply == Reply(code)
    assert (client.state, server.state) == (State.DONE, State.FAILED)


@pytest.mark.parametrize("code", REFUSALS)
def test_a_socks4_refusal_comes_through_as_the_one_there_is(code: ReplyCode) -> None:
    client, server = talk(Request(Version.SOCKS4, Command.CONNECT, ADDRESSES["name"]), Reply(code), Cable(), Cable())
    assert client.reply == Reply(ReplyCode.GENERAL_FAILURE)
    assert (client.state, server.state) == (State.DONE, State.FAILED)


@pytest.mark.parametrize("code", IdentCode)
def test_socks4_has_refusals_of_its_own(code: IdentCode) -> None:
    client, _ = talk(Request(Version.SOCKS4, Command.CONNECT, ADDRESSES["name"]), Reply(code), Cable(), Cable())
    assert client.reply == Reply(code)
    client, _ = talk(Request(Version.SOCKS5, Command.CONNECT, ADDRESSES["name"]), Reply(code), Cable(), Cable())
    assert client.reply == Reply(ReplyCode.NOT_ALLOWED_BY_RULESET)


CAROL = UsernamePassword(b"carol", b"sesame")
ANONYMOUS = Request(Version.SOCKS5, Command.CONNECT, ADDRESSES["name"])


@pytest.mark.parametrize(
    ("methods", "heard"),
    [
        ([Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION_REQUIRED], CAROL),
        ([Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD], None),
        ([Method.NO_AUTHENTICATION_REQUIRED], None),
    ],
)
def test_a_login_is_told_only_to_a_server_that_picks_it(methods: list[Method], heard: Credentials | None) -> None:
    client = socks5.ClientHandshake(ANONYMOUS._replace(credentials=CAROL))
    server = Conversation(client, Reply(ReplyCode.SUCCEEDED), methods, Cable(), Cable()).run()
    assert server.request.credentials == heard
    assert client.done


def test_a_client_without_a_login_is_turned_away_where_one_is_wanted() -> None:
    client, server = socks5.ClientHandshake(ANONYMOUS), socks5.ServerHandshake([Method.USERNAME_PASSWORD])
    with pytest.raises(ProtocolError, match=r"accepts username and password \(02\)"):
        server.receive_data(client.data_to_send())
    with pytest.raises(LoginRefused, match="it requires a login, and none is configured"):
        client.receive_data(server.data_to_send())


def test_a_wrong_login_is_turned_away() -> None:
    client = socks5.ClientHandshake(ANONYMOUS._replace(credentials=CAROL))
    server = socks5.ServerHandshake([Method.USERNAME_PASSWORD])
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())
    assert server.login == CAROL
    server.refuse_login()
    with pytest.raises(LoginRefused, match="it refused our username and password") as error:
        client.receive_data(server.data_to_send())
    assert "sesame" not in str(error.value)


# --- the two replies of BIND (RFC 1928 section 6) ---

FIRST, SECOND = Reply(ReplyCode.SUCCEEDED, Address("192.0.2.9", 40001)), Reply(ReplyCode.SUCCEEDED, ADDRESSES["IPv4"])
REFUSED = Reply(ReplyCode.GENERAL_FAILURE)


def bound(version: Version) -> tuple[ClientHandshake, ServerHandshake, bytes]:
    """A client and a server that have come to the first reply, which has not been delivered yet."""
    client = CLIENTS[version](Request(version, Command.BIND, ADDRESSES["IPv4"]))
    server = server_handshake(bytes((version,)), [Method.NO_AUTHENTICATION_REQUIRED])
    while question := client.data_to_send():
        server.receive_data(question)
        if answer := server.data_to_send():
            client.receive_data(answer)
    server.send_reply(FIRST)
    assert str(server).endswith("second reply>")
    return client, server, server.data_to_send()


def hear_reply(client: ClientHandshake, pieces: Iterator[bytes]) -> Reply:
    while not client.done:
        client.receive_data(next(pieces))
    return client.reply


@pytest.mark.parametrize("version", CLIENTS)
@pytest.mark.parametrize("reply", [SECOND, REFUSED], ids=["granted", "refused"])
def test_both_replies_of_a_bind_arrive_wherever_the_wire_is_cut(version: Version, reply: Reply) -> None:
    _, server, first = bound(version)
    server.receive_data(EARLY)
    server.send_reply(reply)
    assert server.state is (State.DONE if reply is SECOND else State.FAILED)
    assert server.trailing_data == EARLY
    said = first + server.data_to_send() + BANNER
    for cut in range(1, len(said)):
        client, _, _ = bound(version)
        pieces = iter((said[:cut], said[cut:]))
        assert hear_reply(client, pieces) == FIRST
        client.expect_second_reply()
        assert hear_reply(client, pieces) == reply
        assert client.trailing_data + b"".join(pieces) == BANNER


@pytest.mark.parametrize("version", CLIENTS)
def test_a_second_reply_that_does_not_come(version: Version) -> None:
    client, _, first = bound(version)
    client.receive_data(first)
    client.expect_second_reply()
    client.receive_data(b"\x05\x00\x00" if version is Version.SOCKS5 else b"\0\x5a\0")
    with pytest.raises(ProtocolError, match="closed during the second reply, 3 bytes into a message"):
        client.receive_data(b"")


def test_a_second_refusal_may_be_cut_short_too() -> None:
    client, _, first = bound(Version.SOCKS5)
    client.receive_data(first)
    client.expect_second_reply()
    client.receive_data(b"\x05\x02")
    client.receive_data(b"")
    assert client.reply == Reply(ReplyCode.NOT_ALLOWED_BY_RULESET)


@pytest.mark.parametrize("version", CLIENTS)
def test_a_second_reply_needs_a_first_one_that_grants(version: Version) -> None:
    client, server, _ = bound(version)
    with pytest.raises(RuntimeError, match="a first one that succeeded"):
        client.expect_second_reply()
    server.send_reply(SECOND)
    with pytest.raises(RuntimeError, match="no request is waiting for a reply"):
        server.send_reply(SECOND)
