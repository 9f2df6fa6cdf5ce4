"""Whatever arrives, in whatever pieces: only documented exceptions, and always the same result.

The bytes are arbitrary, or whole messages in arbitrary order with a byte changed, so that every step is reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.gssapi import Gssapi, MessageType, Principal, Protection, decode_message, encode_message
from chainsocks.protocol.gssapi_handshake import GssapiHandshake
from chainsocks.protocol.handshake import ClientHandshake, Handshake, ServerHandshake, State
from chainsocks.protocol.http_proxy import HttpServerHandshake, may_be_http
from chainsocks.protocol.ident import decode_answer
from chainsocks.protocol.messages import Command, Method, Reply, Request, UserId, UsernamePassword, Version
from tests.protocol.drawing import addresses, conversations, fuzz
from tests.protocol.playbook import wire

TARGET = Address("example.org", 80)
CAROL = UsernamePassword(b"carol", b"sesame")
GRANTED = Reply(0)
NONE, PASSWORD = Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD
ERIN = Principal("erin@EXAMPLE.ORG")

SERVERS: dict[str, Callable[[], ServerHandshake]] = {
    "socks4-server": socks4.ServerHandshake,
    "socks5-server": socks5.ServerHandshake,
    "socks5-server-with-logins": lambda: socks5.ServerHandshake([PASSWORD, NONE]),
    "socks5-server-with-gssapi": lambda: socks5.ServerHandshake([Method.GSSAPI, PASSWORD]),
}
CLIENTS: dict[str, Callable[[], ClientHandshake]] = {
    "socks4-client": lambda: socks4.ClientHandshake(Request(Version.SOCKS4, Command.CONNECT, TARGET, UserId(b"fred"))),
    "socks5-client": lambda: socks5.ClientHandshake(Request(Version.SOCKS5, Command.CONNECT, TARGET)),
    "socks5-client-with-login": lambda: socks5.ClientHandshake(Request(Version.SOCKS5, Command.CONNECT, TARGET, CAROL)),
    "socks5-client-with-gssapi": lambda: socks5.ClientHandshake(
        Request(Version.SOCKS5, Command.CONNECT, TARGET, Gssapi())
    ),
}

# --- bytes ------------------------------------------------------------------------------------------------------------

SAID_BY_CLIENTS = [
    "04 01 0050 C0000201 00 'early'",
    "04 02 0050 00000001 'fred' 00 'example.org' 00 'early'",
    "05 01 00 05 01 00 01 C0000201 0050 'early'",
    "05 01 00 05 02 00 03 0B 'example.org' 0050 'early'",
    "05 02 00 02 01 05 'carol' 06 'sesame' 05 03 00 04 20010DB8 00*12 0050 'early'",
    "05 01 01 01 01 0004 'more' 01 01 0000 01 02 0001 00 05 01 00 01 C0000201 0050 'early'",
    "05 02 00 01 01 01 0003 'yes' 01 02 0001 01 05 01 00 01 C0000201 0050 'early'",
    "05 01 01 01 01 0002 'no' 01 FF",
]
SAID_BY_PROXIES = [
    "00 5A 0000 00000000 'banner'",
    "00 5B 0000 00000000",
    "05 00 05 00 00 03 0B 'example.org' 1092 'banner'",
    "05 00 05 01 00 00 00000000 0000",
    "05 02 01 00 05 00 00 01 C0000209 1092 'banner'",
    "05 02 01 00 05 04 00 04 20010DB8 00*12 1092",
    "05 02 01 01",
    "05 FF",
    "05 01 01 01 0004 'more' 01 01 0003 'yes' 01 02 0001 00 05 00 00 01 C0000209 1092 'banner'",
    "05 01 01 01 0000 01 02 0001 02 05 05 00 01 00000000 0000",
    "05 01 01 FF",
    "05 01 01 01 0003 'yes' 01 FF",
]

ANSWERS_OF_IDENTDS = [
    "'6193, 23 : USERID : UNIX : fred' 0D0A",
    "'6193,23:USERID:UNIX,US-ASCII:fred' 0A",
    "'6193, 23 : ERROR : NO-USER' 0D0A",
]


def pieces(data: bytes, cuts: Collection[int]) -> Iterator[bytes]:
    """Cut `data`; there is no empty piece."""
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    return (data[start:end] for start, end in pairwise(places) if start < end)


EVERYWHERE = range(1000)
CUTS: st.SearchStrategy[Collection[int]] = st.sets(st.integers(1, 60), max_size=8) | st.just(EVERYWHERE)
NOTHING = st.just("")  # in what only HTTP carries

# --- results ----------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """All that can be seen of a handshake when the conversation is over."""

    state: State
    sent: bytes = b""
    error: type[ProtocolError] | None = None
    login: UsernamePassword | None = None
    request: Request | None = None
    reply: Reply | None = None
    trailing_data: bytes = b""


@dataclass(frozen=True)
class Decisions:
    """What a server does with a login and with a request."""

    reply: Reply = GRANTED
    refuses: frozenset[UsernamePassword] = frozenset()


def hear(handshake: Handshake, said: Iterator[bytes], decisions: Decisions) -> Outcome:
    """Feed everything to a handshake, and then the end of the data unless it is done."""
    outcome = Outcome(handshake.state, sent=handshake.data_to_send())
    try:
        for piece in said:
            handshake.receive_data(piece)
            _decide(handshake, decisions, outcome)
            outcome.sent += handshake.data_to_send()
        if not (handshake.done or handshake.state is State.FAILED):
            handshake.receive_data(b"")
    except ProtocolError as error:
        outcome.error = type(error)
        outcome.sent += handshake.data_to_send()
    else:
        outcome.trailing_data = handshake.trailing_data
    outcome.state = handshake.state
    if isinstance(handshake, ClientHandshake) and handshake.done:
        outcome.reply = handshake.reply
    return outcome


def _decide(handshake: Handshake, decisions: Decisions, outcome: Outcome) -> None:
    if isinstance(handshake, socks5.ServerHandshake) and handshake.state is State.LOGIN:
        outcome.login = handshake.login
        if handshake.login in decisions.refuses:
            handshake.refuse_login()
        else:
            handshake.accept_login()
    while isinstance(handshake, GssapiHandshake) and (token := handshake.token) is not None:
        _work(handshake, token)
    if isinstance(handshake, ServerHandshake) and handshake.state is State.REPLY:
        outcome.request = handshake.request
        handshake.send_reply(decisions.reply)
        if handshake.request.command is Command.BIND and decisions.reply.succeeded:
            handshake.send_reply(decisions.reply)


def _work(handshake: GssapiHandshake, token: bytes) -> None:
    """Be a mechanism: one that goes by the first byte of a token, and leaves its capsules open."""
    if handshake.state is State.GSSAPI_PROTECTION:
        protection = Protection(token[0] % 4) if token else Protection.NONE
        if isinstance(handshake, socks5.ServerHandshake):
            handshake.agree(token, protection)
        elif isinstance(handshake, socks5.ClientHandshake):
            handshake.agree(protection)
        if protection is not Protection.NONE and (freed := handshake.release()):
            handshake.receive_data(freed)
    elif isinstance(handshake, socks5.ServerHandshake):
        if token.startswith(b"n"):
            handshake.abort()
        elif token.startswith(b"m"):
            handshake.continue_context(b"")
        else:
            handshake.complete_context(token, ERIN)
    elif isinstance(handshake, socks5.ClientHandshake):
        if token.startswith(b"m") or not token:
            handshake.continue_context(b"more")
        else:
            handshake.complete_context(b"", b"1")


AGREE_TO_ALL = Decisions()


def check(
    make: Callable[[], Handshake], said: bytes, cuts: Collection[int], decisions: Decisions = AGREE_TO_ALL
) -> Outcome:
    """Hear `said` whole and in pieces; nothing but a `ProtocolError` may be raised, and both must end alike."""
    whole = hear(make(), pieces(said, ()), decisions)
    cut = hear(make(), pieces(said, cuts), decisions)
    assert cut == whole
    if whole.error is not None:
        assert whole.state is State.FAILED
    return whole


# --- laws -------------------------------------------------------------------------------------------------------------

DECISIONS = st.builds(
    Decisions,
    st.builds(Reply, st.just(0) | st.integers(1, 255), st.just(TARGET), NOTHING, NOTHING),
    st.sampled_from([frozenset(), frozenset({CAROL})]),
)


@pytest.mark.parametrize("role", SERVERS)
@fuzz
@given(conversations(SAID_BY_CLIENTS), CUTS, DECISIONS)
def test_servers_hear_the_same_in_any_pieces(
    role: str, said: bytes, cuts: Collection[int], decisions: Decisions
) -> None:
    check(SERVERS[role], said, cuts, decisions)


@pytest.mark.parametrize("role", CLIENTS)
@fuzz
@given(conversations(SAID_BY_PROXIES), CUTS)
def test_clients_hear_the_same_in_any_pieces(role: str, said: bytes, cuts: Collection[int]) -> None:
    outcome = check(CLIENTS[role], said, cuts)
    assert (outcome.reply is None) == (outcome.error is not None)


SOCKS4_ANSWERS = rb"(\0[\x5a\x5b].{6}){0,2}"  # two to a BIND
GSSAPI_ANSWERS = rb"\x05\x01(\x01\x01\0\0)*(\x01\xff|\x01\x01\0.+)?"
SOCKS5_ANSWERS = rb"(\x05\xff|\x05[\0\x02](\x01[\0\x01])?(\x05.\0\x01.{6}){0,2}|" + GSSAPI_ANSWERS + rb")?"


@pytest.mark.parametrize("role", SERVERS)
@fuzz
@given(conversations(SAID_BY_CLIENTS), st.integers(0, 255))
def test_servers_answer_in_whole_messages(role: str, said: bytes, code: int) -> None:
    outcome = check(SERVERS[role], said, (), Decisions(Reply(code)))
    answers = SOCKS4_ANSWERS if role.startswith("socks4") else SOCKS5_ANSWERS
    assert re.fullmatch(answers, outcome.sent, re.DOTALL), outcome.sent.hex(" ")


def awaiting_second_reply(version: Version) -> ClientHandshake:
    request = Request(version, Command.BIND, TARGET)
    if version is Version.SOCKS4:
        client: ClientHandshake = socks4.ClientHandshake(request)
        client.receive_data(wire("00 5A 9C41 C6336407"))
    else:
        client = socks5.ClientHandshake(request)
        client.receive_data(wire("05 00 05 00 00 01 C6336407 9C41"))
    client.data_to_send()
    client.expect_second_reply()
    return client


@pytest.mark.parametrize("version", Version)
@fuzz
@given(conversations([script.removeprefix("05 00 ") for script in SAID_BY_PROXIES]), CUTS)
def test_second_replies_are_the_same_in_any_pieces(version: Version, said: bytes, cuts: Collection[int]) -> None:
    outcome = check(lambda: awaiting_second_reply(version), said, cuts)
    assert (outcome.reply is None) == (outcome.error is not None)


@fuzz
@given(conversations(ANSWERS_OF_IDENTDS), CUTS)
def test_answers_of_identds_are_the_same_in_any_pieces(said: bytes, cuts: Collection[int]) -> None:
    def hear_answer(pieces: Iterator[bytes]) -> object:
        data = b""
        for piece in pieces:
            data += piece
            try:
                if answer := decode_answer(data, 6193, 23):
                    return answer
            except ProtocolError as error:
                return str(error)
        return None

    whole = hear_answer(pieces(said, ()))
    assert hear_answer(pieces(said, cuts)) == whole
    assert not isinstance(whole, str) or whole.isprintable()


GSSAPI_MESSAGES = ["01 01 0003 'abc' 'more'", "01 02 0001 01", "01 03 0000 01 03 0002 'xy'", "01 FF"]


@fuzz
@given(conversations(GSSAPI_MESSAGES), CUTS, st.sampled_from(MessageType))
def test_gssapi_messages_are_the_same_in_any_pieces(said: bytes, cuts: Collection[int], kind: MessageType) -> None:
    def hear_token(pieces: Iterator[bytes]) -> object:
        data = bytearray()
        for piece in pieces:
            data += piece
            try:
                token = decode_message(data, kind)
            except ProtocolError as error:
                return type(error), str(error)
            if token is not None:
                assert data.startswith(encode_message(kind, token))
                return token
        return None

    whole = hear_token(pieces(said, ()))
    assert hear_token(pieces(said, cuts)) == whole


@fuzz
@given(st.sampled_from(MessageType), st.binary(), st.binary())
def test_any_gssapi_token_arrives_as_it_was_sent(kind: MessageType, token: bytes, behind: bytes) -> None:
    assert decode_message(encode_message(kind, token) + behind, kind) == token


@fuzz
@given(conversations(SAID_BY_CLIENTS).filter(bool))
def test_the_version_is_detected_or_refused(said: bytes) -> None:
    expected = {4: socks4.ServerHandshake, 5: socks5.ServerHandshake}.get(said[0])
    if may_be_http(said):
        expected = HttpServerHandshake
    if expected is not None:
        assert type(server_handshake(said, [NONE])) is expected
    else:
        with pytest.raises(ProtocolError) as error:
            server_handshake(said, [NONE])
        assert str(error.value).isprintable()


# --- any request, any reply -------------------------------------------------------------------------------------------

SOCKS4_REQUESTS = st.builds(
    Request,
    st.just(Version.SOCKS4),
    st.sampled_from([Command.CONNECT, Command.BIND, Command.RESOLVE]),
    # 0.0.0.x is how SOCKS4a says that a name follows.
    addresses(AddressType.IPV4, AddressType.DOMAINNAME).filter(lambda address: not address.host.startswith("0.0.0.")),
    st.none() | st.builds(UserId, st.binary(min_size=1, max_size=512).filter(lambda user_id: 0 not in user_id)),
)
LOGIN_BYTES = st.binary(min_size=1, max_size=255)
SOCKS5_REQUESTS = st.builds(
    Request,
    st.just(Version.SOCKS5),
    st.sampled_from(Command),
    addresses(*AddressType),
    st.none() | st.builds(UsernamePassword, LOGIN_BYTES, LOGIN_BYTES),
)


@fuzz
@given(SOCKS4_REQUESTS, st.binary(), CUTS)
def test_any_socks4_request_arrives_as_it_was_made(request_: Request, early: bytes, cuts: Collection[int]) -> None:
    said = socks4.ClientHandshake(request_).data_to_send() + early
    outcome = check(socks4.ServerHandshake, said, cuts)
    assert (outcome.request, outcome.trailing_data) == (request_, early)


@fuzz
@given(SOCKS5_REQUESTS, st.binary(), CUTS)
def test_any_socks5_request_arrives_as_it_was_made(request_: Request, early: bytes, cuts: Collection[int]) -> None:
    client = socks5.ClientHandshake(request_)
    said = client.data_to_send()
    client.receive_data(wire("05 00") if request_.credentials is None else wire("05 02 01 00"))
    said += client.data_to_send() + early
    outcome = check(lambda: socks5.ServerHandshake([PASSWORD, NONE]), said, cuts)
    assert (outcome.request, outcome.login, outcome.trailing_data) == (request_, request_.credentials, early)


@fuzz
@given(st.builds(Reply, st.integers(0, 255), addresses(*AddressType), NOTHING, NOTHING), st.binary(), CUTS)
def test_any_socks5_reply_arrives_as_it_was_made(reply: Reply, banner: bytes, cuts: Collection[int]) -> None:
    server = socks5.ServerHandshake()
    server.receive_data(wire("05 01 00 05 01 00 01 C0000201 0050"))
    server.send_reply(reply)
    outcome = check(CLIENTS["socks5-client"], server.data_to_send() + banner, cuts)
    assert (outcome.reply, outcome.trailing_data) == (reply, banner)
