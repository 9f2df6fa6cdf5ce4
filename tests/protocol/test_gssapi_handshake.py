"""GSSAPI's part of the handshakes: both roles as scripts, the three ways, and what breaks them off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chainsocks.protocol import socks5
from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.gssapi import Gssapi, Principal, Protection
from chainsocks.protocol.gssapi_handshake import GssapiHandshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Method, Reply, Request, UsernamePassword, Version
from tests.protocol.playbook import Feed, play, three_ways, wire

CONTEXT, LEVEL = State.GSSAPI_CONTEXT, State.GSSAPI_PROTECTION
GSSAPI, PASSWORD, NONE = Method.GSSAPI, Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION_REQUIRED
CAROL = Principal("carol@EXAMPLE.ORG")
TARGET = Address("example.org", 80)
ASK = "05 01 00 03 0B 'example.org' 0050"


def client_of(protection: Protection = Protection.INTEGRITY) -> socks5.ClientHandshake:
    return socks5.ClientHandshake(Request(Version.SOCKS5, Command.CONNECT, TARGET, Gssapi(protection)))


def server_at(state: State) -> socks5.ServerHandshake:
    """A server that waits for the client's next message."""
    server = socks5.ServerHandshake([GSSAPI])
    server.receive_data(wire("05 01 01"))
    if state is LEVEL:
        server.receive_data(wire("01 01 0001 'a'"))
        server.complete_context(b"b", CAROL)
    server.data_to_send()
    return server


def client_at(state: State) -> socks5.ClientHandshake:
    """A client that waits for the server's next message."""
    client = client_of()
    client.receive_data(wire("05 01"))
    if state is LEVEL:
        client.complete_context(b"a", b"l")
    else:
        client.continue_context(b"a")
    client.data_to_send()
    return client


def expect_token(handshake: GssapiHandshake, token: bytes | None) -> None:
    assert handshake.token == token


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("methods", ["01 01", "02 00 01", "03 02 01 00"])
def test_a_client_that_offers_it_comes_in_by_it(methods: str) -> None:
    play(socks5.ServerHandshake([GSSAPI, PASSWORD, NONE])).receive(f"05 {methods}").expect_send("05 01").expect_state(
        CONTEXT
    )


def test_one_that_does_not_may_use_what_else_there_is() -> None:
    play(socks5.ServerHandshake([GSSAPI, NONE])).receive("05 01 00").expect_send("05 00").expect_state(State.REQUEST)
    play(socks5.ServerHandshake([GSSAPI])).receive("05 02 00 02").expect_error(
        ProtocolError, r"offers no login \(00\), username and password \(02\); this server accepts GSSAPI \(01\)"
    ).expect_send("05 FF")


def test_a_whole_exchange_without_protection() -> None:
    server = socks5.ServerHandshake([GSSAPI])
    script = play(server).receive("05 01 01").expect_send("05 01").receive("01 01 0003 'abc'").expect_state(CONTEXT)
    expect_token(server, b"abc")
    script.work(lambda: server.continue_context(b"de")).expect_send("01 01 0002 'de'")
    expect_token(server, None)
    script.receive("01 01 0001 'f'").work(lambda: server.complete_context(b"gh", CAROL))
    script.expect_send("01 01 0002 'gh'").expect_state(LEVEL).receive("01 02 0001 'i'").expect_state(LEVEL)
    expect_token(server, b"i")
    script.work(lambda: server.agree(b"j", Protection.NONE)).expect_send("01 02 0001 'j'").expect_state(State.REQUEST)
    script.receive(ASK).expect_request(Request(Version.SOCKS5, Command.CONNECT, TARGET, CAROL))
    script.reply(Reply(0)).expect_send("05 00 00 01 00000000 0000").expect_state(State.DONE)


def test_a_context_that_is_complete_without_a_last_token() -> None:
    server = server_at(CONTEXT)
    play(server).receive("01 01 0001 'a'").work(lambda: server.complete_context(b"", CAROL)).expect_state(LEVEL)


def test_all_of_it_at_once_is_taken_step_by_step() -> None:
    server = socks5.ServerHandshake([GSSAPI])
    script = play(server).receive(f"05 01 01 01 01 0001 'a' 01 02 0001 'b' {ASK} 'early'").expect_send("05 01")
    script.work(lambda: server.complete_context(b"", CAROL)).expect_state(LEVEL)
    script.work(lambda: server.agree(b"c", Protection.NONE)).expect_send("01 02 0001 'c'")
    script.expect_state(State.REPLY).expect_trailing("'early'")


@pytest.mark.parametrize("protection", [Protection.INTEGRITY, Protection.CONFIDENTIALITY])
def test_what_follows_an_agreed_protection_is_released_and_not_decoded(protection: Protection) -> None:
    server = server_at(LEVEL)
    script = play(server).receive("01 02 0001 'a' 01 03 0004 'seal'")
    script.work(lambda: server.agree(b"b", protection)).expect_send("01 02 0001 'b'").expect_state(State.REQUEST)
    assert server.release() == wire("01 03 0004 'seal'")
    assert server.release() == b""
    script.receive(ASK + " 'early'").expect_state(State.REPLY).expect_trailing("'early'")


@pytest.mark.parametrize("state", [CONTEXT, LEVEL])
def test_a_client_that_is_turned_away(state: State) -> None:
    server = server_at(state)
    message = "01 01 0001 'x'" if state is CONTEXT else "01 02 0001 'x'"
    play(server).receive(message).work(server.abort).expect_send("01 FF").expect_state(State.FAILED).expect_step(state)


BROKEN = [
    (CONTEXT, "05", "version 5"),
    (CONTEXT, "01 02", "has type 2; expected an authentication token"),
    (CONTEXT, "01 03", "has type 3; expected an authentication token"),
    (LEVEL, "01 01", "type 1; expected a protection level"),
    (LEVEL, "01 03", "type 3; expected a protection level"),
    (LEVEL, "05 01 00", "version 5"),
]


@pytest.mark.parametrize(("state", "message", "complaint"), BROKEN)
def test_a_client_that_breaks_the_protocol_is_told_so_by_an_abort(state: State, message: str, complaint: str) -> None:
    play(server_at(state)).receive(message).expect_error(ProtocolError, complaint).expect_send("01 FF").expect_step(
        state
    )


@pytest.mark.parametrize("state", [CONTEXT, LEVEL])
def test_a_client_that_leaves(state: State) -> None:
    play(server_at(state)).receive("01").receive_end().expect_error(ProtocolError, f"during the {state}, 1 bytes into")


# --- the client -------------------------------------------------------------------------------------------------------


def test_the_client_offers_nothing_else() -> None:
    for method in ("00", "02", "03"):
        play(client_of()).expect_send("05 01 01").receive(f"05 {method}").expect_error(
            ProtocolError, f"picked method {method}, which we did not offer"
        )
    play(client_of()).expect_send("05 01 01").receive("05 FF").expect_error(LoginRefused, "it does not accept GSSAPI")


def test_a_proxy_may_not_pick_it_unless_it_was_offered() -> None:
    client = socks5.ClientHandshake(Request(Version.SOCKS5, Command.CONNECT, TARGET, UsernamePassword(b"a", b"b")))
    play(client).expect_send("05 02 00 02").receive("05 01").expect_error(ProtocolError, "picked method 01")


def test_a_whole_exchange_of_a_client() -> None:
    client = client_of()
    script = play(client).expect_send("05 01 01").receive("05 01").expect_state(CONTEXT)
    expect_token(client, b"")
    script.work(lambda: client.continue_context(b"abc")).expect_send("01 01 0003 'abc'")
    expect_token(client, None)
    script.receive("01 01 0002 'de'").work(lambda: client.continue_context(b"f")).expect_send("01 01 0001 'f'")
    script.receive("01 01 0002 'gh'").work(lambda: client.complete_context(b"", b"i")).expect_send("01 02 0001 'i'")
    script.expect_state(LEVEL).receive("01 02 0001 'j'")
    expect_token(client, b"j")
    script.work(lambda: client.agree(Protection.NONE)).expect_send(ASK).expect_state(State.REQUEST)
    script.receive("05 00 00 01 00000000 0000 'banner'").expect_reply(Reply(0)).expect_trailing("'banner'")


def test_a_last_token_goes_with_the_level() -> None:
    client = client_at(CONTEXT)
    script = play(client).receive("01 01 0001 'b'").work(lambda: client.complete_context(b"c", b"d"))
    script.expect_send("01 01 0001 'c' 01 02 0001 'd'").expect_state(LEVEL)


def test_what_follows_an_agreed_protection_is_released_by_a_client() -> None:
    client = client_at(LEVEL)
    script = play(client).receive("01 02 0001 'b' 01 03 0004 'seal'")
    script.work(lambda: client.agree(Protection.CONFIDENTIALITY)).expect_send(ASK).expect_state(State.REQUEST)
    assert client.release() == wire("01 03 0004 'seal'")
    script.receive("05 05 00 01 00000000 0000").expect_reply(Reply(5))


@pytest.mark.parametrize("state", [CONTEXT, LEVEL])
def test_a_proxy_that_turns_us_away(state: State) -> None:
    play(client_at(state)).receive("01 FF").expect_error(LoginRefused, "abort").expect_step(state)


@pytest.mark.parametrize(("state", "message", "complaint"), BROKEN)
def test_a_proxy_that_breaks_the_protocol(state: State, message: str, complaint: str) -> None:
    play(client_at(state)).receive(message).expect_error(ProtocolError, complaint).expect_step(state)


# --- both -------------------------------------------------------------------------------------------------------------


@three_ways
@pytest.mark.parametrize("make", [server_at, client_at], ids=["server", "client"])
@pytest.mark.parametrize(("state", "message"), [(CONTEXT, "01 01 0003 'abc'"), (LEVEL, "01 02 0003 'abc'")])
def test_tokens(
    make: Callable[[State], socks5.ServerHandshake | socks5.ClientHandshake], state: State, message: str, feed: Feed
) -> None:
    handshake = feed(make(state), message)
    assert handshake.token == b"abc"
    assert handshake.state is state


@pytest.mark.parametrize("make", [server_at, client_at], ids=["server", "client"])
def test_the_mechanism_works_only_when_it_is_asked(
    make: Callable[[State], socks5.ServerHandshake | socks5.ClientHandshake],
) -> None:
    for state in (CONTEXT, LEVEL):
        handshake = make(state)
        assert handshake.token is None
        with pytest.raises(RuntimeError, match="no token is waiting"):
            handshake.continue_context(b"x")
    handshake.receive_data(wire("01 02 0001 'x'"))
    with pytest.raises(RuntimeError, match="no token is waiting"):
        handshake.continue_context(b"x")


def test_an_abort_has_its_time() -> None:
    with pytest.raises(RuntimeError, match="no token is waiting"):
        server_at(CONTEXT).abort()
