"""The table of states in `chainsocks.protocol.handshake`: whole conversations take each of its rows, and no other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from chainsocks.protocol import handshake, socks4, socks5
from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.gssapi import Gssapi, Principal, Protection
from chainsocks.protocol.gssapi_handshake import GssapiClientHandshake, GssapiServerHandshake
from chainsocks.protocol.handshake import ClientHandshake, Handshake, ServerHandshake, State
from chainsocks.protocol.messages import Command, Credentials, Method, Reply, Request, UsernamePassword, Version
from chainsocks.protocol.pipelined import PipelinedHandshake

TARGET = Address("192.0.2.1", 80)
CAROL, PRINCIPAL = UsernamePassword(b"carol", b"sesame"), Principal("carol@EXAMPLE.ORG")
GRANTED = Reply(0)
FIRST = Reply(0, Address("192.0.2.9", 40001))
"""The first reply to a BIND."""

MOST_TURNS = 10
"""Twice as many as the longest conversation needs."""

Row = tuple[str, State, State]
"""A role, a state, and the next one."""


def table() -> list[Row]:
    """Read the rows in the docstring."""
    lines = (handshake.__doc__ or "").split("::\n")[1].splitlines()
    cells = [line.split() for line in lines if line.strip().startswith(("server", "client"))]
    return [(role, State[state], State[following]) for role, state, following, *_ in cells]


@dataclass
class Observed:
    """A handshake that is driven byte by byte, so that no state passes unseen."""

    role: str
    handshake: Handshake
    rows: list[Row] = field(default_factory=list)
    failing: set[tuple[str, State]] = field(default_factory=set)
    """The states in which the end of the data is a failure."""

    def hear(self, data: bytes) -> None:
        """Pass data on, and decide whatever is asked in between."""
        for byte in data:
            self._note(partial(self.handshake.receive_data, bytes((byte,))))
            self.decide()

    def decide(self) -> None:
        """Do what a driver does in a state that waits for it: agree."""
        self._note(partial(decide, self.handshake))

    def _note(self, act: Callable[[], None]) -> None:
        before = self.handshake.state
        if before is not State.DONE:
            ended = copy.copy(self.handshake)
            with pytest.raises(ProtocolError):
                ended.receive_data(b"")
            assert (ended.state, ended.step) == (State.FAILED, before)
            self.failing.add((self.role, before))
        act()
        if self.handshake.state is not before:
            self.rows.append((self.role, before, self.handshake.state))


def decide(one: Handshake) -> None:
    """Do what a driver does in a state that waits for it: say yes."""
    match one, one.state:
        case socks5.ServerHandshake(), State.LOGIN:
            one.accept_login()
        case ServerHandshake(), State.REPLY:
            one.send_reply(FIRST if one.request.command is Command.BIND else GRANTED)
        case ServerHandshake(), State.SECOND_REPLY:
            one.send_reply(GRANTED)
        case GssapiServerHandshake(token=bytes()), State.GSSAPI_CONTEXT:
            one.complete_context(b"last", PRINCIPAL)
        case GssapiServerHandshake(token=bytes(token)), State.GSSAPI_PROTECTION:
            one.agree(token, Protection.NONE)
        case GssapiClientHandshake(token=b""), State.GSSAPI_CONTEXT:
            one.continue_context(b"first")
        case GssapiClientHandshake(token=bytes()), State.GSSAPI_CONTEXT:
            one.complete_context(b"", b"level")
        case GssapiClientHandshake(token=bytes()), State.GSSAPI_PROTECTION:
            one.agree(Protection.NONE)
        case ClientHandshake(), State.DONE if one.reply == FIRST:
            one.expect_second_reply()
        case _:
            pass


def converse(client: ClientHandshake, server: ServerHandshake) -> tuple[Observed, Observed]:
    """Let the two talk to their end."""
    pair = asks, answers = Observed("client", client), Observed("server", server)
    for _ in range(MOST_TURNS):
        answers.hear(client.data_to_send())
        asks.hear(server.data_to_send())
        answers.decide()
        asks.decide()
        if client.done and server.done:
            return pair
    pytest.fail(f"{client} and {server} do not come to an end")


def request(command: Command, version: Version = Version.SOCKS5, credentials: Credentials | None = None) -> Request:
    return Request(version, command, TARGET, credentials)


CONVERSATIONS: dict[str, Callable[[], tuple[ClientHandshake, ServerHandshake]]] = {
    "socks4": lambda: (
        socks4.ClientHandshake(request(Command.CONNECT, Version.SOCKS4)),
        socks4.ServerHandshake(),
    ),
    "socks4 BIND": lambda: (
        socks4.ClientHandshake(request(Command.BIND, Version.SOCKS4)),
        socks4.ServerHandshake(),
    ),
    "socks5": lambda: (socks5.ClientHandshake(request(Command.CONNECT)), socks5.ServerHandshake()),
    "socks5 BIND": lambda: (socks5.ClientHandshake(request(Command.BIND)), socks5.ServerHandshake()),
    "login": lambda: (
        socks5.ClientHandshake(request(Command.CONNECT, credentials=CAROL)),
        socks5.ServerHandshake([Method.USERNAME_PASSWORD]),
    ),
    "login, pipelined": lambda: (
        PipelinedHandshake(request(Command.CONNECT, credentials=CAROL)),
        socks5.ServerHandshake([Method.USERNAME_PASSWORD]),
    ),
    "pipelined": lambda: (PipelinedHandshake(request(Command.CONNECT)), socks5.ServerHandshake()),
    "GSSAPI": lambda: (
        socks5.ClientHandshake(request(Command.CONNECT, credentials=Gssapi(Protection.NONE))),
        socks5.ServerHandshake([Method.GSSAPI]),
    ),
}


@pytest.mark.parametrize("pair", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_a_conversation_takes_only_rows_of_the_table(
    pair: Callable[[], tuple[ClientHandshake, ServerHandshake]],
) -> None:
    for observed in converse(*pair()):
        assert set(observed.rows) <= set(table())


def test_every_row_of_the_table_is_taken() -> None:
    taken = [row for pair in CONVERSATIONS.values() for observed in converse(*pair()) for row in observed.rows]
    assert set(table()) == set(taken)


def test_every_state_but_done_can_fail() -> None:
    failing = set[tuple[str, State]]().union(
        *(observed.failing for pair in CONVERSATIONS.values() for observed in converse(*pair()))
    )
    assert failing == {(role, state) for role, state, _ in table() if state is not State.DONE}
