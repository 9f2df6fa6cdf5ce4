"""What all four handshakes promise alike: names for every step, bytes kept, ends noticed, misuse refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.gssapi import token_size
from chainsocks.protocol.handshake import ClientHandshake, Handshake, ServerHandshake, State
from chainsocks.protocol.messages import Command, Method, Reply, ReplyCode, Request, UserId, UsernamePassword, Version
from chainsocks.protocol.pipelined import PipelinedHandshake
from tests.protocol.playbook import play, wire

TARGET = Address("192.0.2.1", 80)
SOCKS4_REQUEST = Request(Version.SOCKS4, Command.CONNECT, TARGET, UserId(b"sesame"))
SOCKS5_REQUEST = Request(Version.SOCKS5, Command.CONNECT, TARGET, UsernamePassword(b"sesame", b"sesame"))
GRANTED = Reply(ReplyCode.SUCCEEDED)


def socks4_client() -> socks4.ClientHandshake:
    return socks4.ClientHandshake(SOCKS4_REQUEST)


def socks5_client() -> socks5.ClientHandshake:
    return socks5.ClientHandshake(SOCKS5_REQUEST)


def socks5_server() -> socks5.ServerHandshake:
    return socks5.ServerHandshake((Method.USERNAME_PASSWORD,))


# --- states -----------------------------------------------------------------------------------------------------------


def test_the_steps_are_words_for_people() -> None:
    assert [str(state) for state in State] == [
        "method negotiation",
        "username/password sub-negotiation",
        "login check",
        "GSSAPI context",
        "GSSAPI protection level",
        "request",
        "reply",
        "second reply",
        "done",
        "failed",
    ]


@pytest.mark.parametrize(
    ("handshake", "shown"),
    [
        (socks4_client(), "<chainsocks.protocol.socks4.ClientHandshake request>"),
        (socks4.ServerHandshake(), "<chainsocks.protocol.socks4.ServerHandshake request>"),
        (socks5_client(), "<chainsocks.protocol.socks5.ClientHandshake method negotiation>"),
        (socks5_server(), "<chainsocks.protocol.socks5.ServerHandshake method negotiation>"),
    ],
)
def test_repr_tells_role_version_and_step_and_no_secret(handshake: Handshake, shown: str) -> None:
    assert repr(handshake) == shown


@pytest.mark.parametrize("state", State)
def test_only_done_is_done(state: State) -> None:
    assert Handshake(state).done is (state is State.DONE)


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_data_to_send_is_handed_over_once() -> None:
    client = socks4_client()
    assert client.data_to_send() == wire("04 01 0050 C0000201 'sesame' 00")
    assert client.data_to_send() == b""


def test_answers_add_up_until_they_are_taken() -> None:
    server = socks5.ServerHandshake()
    server.receive_data(wire("05 01 00"))
    server.receive_data(wire("05 01 00 01 C0000201 0050"))
    server.send_reply(GRANTED)
    assert server.data_to_send() == wire("05 00") + wire("05 00 00 01 00000000 0000")


def test_early_data_waits_through_the_reply() -> None:
    server = play(socks4.ServerHandshake())
    server.receive("04 01 0050 C0000201 00 'early'").expect_state(State.REPLY).expect_trailing("'early'")
    server.receive("' bird'").expect_state(State.REPLY).expect_trailing("'early bird'")
    server.reply(GRANTED).expect_send("00 5A 0000 00000000").expect_state(State.DONE).expect_trailing("'early bird'")


def test_what_arrives_after_the_end_trails_as_well() -> None:
    client = play(socks4_client()).expect_send("04 01 0050 C0000201 'sesame' 00")
    client.receive("00 5A 0000 00000000 'SSH'").expect_state(State.DONE).expect_trailing("'SSH'")
    client.receive("'-2.0'").expect_state(State.DONE).expect_trailing("'SSH-2.0'")


# --- ends of data -----------------------------------------------------------------------------------------------------

CLIENT4 = "04 01 0050 C0000201 'sesame' 00"
LOGIN = "01 06 'sesame' 06 'sesame'"
REQUEST = "05 01 00 01 C0000201 0050"


@pytest.mark.parametrize(
    ("handshake", "script", "step", "how_far"),
    [
        (socks4_client, "", State.REQUEST, ""),
        (socks4_client, "00", State.REQUEST, ", 1 bytes into a message"),
        (socks4_client, "00 5A 0000 000000", State.REQUEST, ", 7 bytes into a message"),
        (socks4_client, "00 5B 0000 000000", State.REQUEST, ", 7 bytes into a message"),
        (socks4.ServerHandshake, "", State.REQUEST, ""),
        (socks4.ServerHandshake, "04 01 0050 C0000201 'sesame'", State.REQUEST, ", 14 bytes into a message"),
        (socks4.ServerHandshake, CLIENT4, State.REPLY, ""),
        (socks5_client, "", State.METHOD_NEGOTIATION, ""),
        (socks5_client, "05", State.METHOD_NEGOTIATION, ", 1 bytes into a message"),
        (socks5_client, "05 02", State.SUB_NEGOTIATION, ""),
        (socks5_client, "05 02 01", State.SUB_NEGOTIATION, ", 1 bytes into a message"),
        (socks5_client, "05 00", State.REQUEST, ""),
        (socks5_client, "05 00 05", State.REQUEST, ", 1 bytes into a message"),
        (socks5_client, "05 02 01 00 05 00 00 01 C0000201 00", State.REQUEST, ", 9 bytes into a message"),
        (socks5_server, "", State.METHOD_NEGOTIATION, ""),
        (socks5_server, "05 02 02", State.METHOD_NEGOTIATION, ", 3 bytes into a message"),
        (socks5_server, "05 01 02", State.SUB_NEGOTIATION, ""),
        (socks5_server, "05 01 02 01 06 'sesame'", State.SUB_NEGOTIATION, ", 8 bytes into a message"),
        (socks5_server, f"05 01 02 {LOGIN}", State.LOGIN, ""),
        (socks5.ServerHandshake, "05 01 00", State.REQUEST, ""),
        (socks5.ServerHandshake, "05 01 00 05 01 00", State.REQUEST, ", 3 bytes into a message"),
        (socks5.ServerHandshake, f"05 01 00 {REQUEST}", State.REPLY, ""),
    ],
)
def test_the_end_of_data_fails_the_step_it_comes_in(
    handshake: Callable[[], Handshake], script: str, step: State, how_far: str
) -> None:
    ended = handshake()
    if script:
        ended.receive_data(wire(script))
    ended.data_to_send()
    end = play(ended).expect_state(step).receive_end().expect_state(State.FAILED).expect_step(step)
    end.expect_error(ProtocolError, f"^the connection was closed during the {step}{how_far}$")


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handshake", "nonsense"),
    [
        (socks4_client, "04"),
        (socks4.ServerHandshake, "05 01 0050 C0000201"),
        (socks5_client, "04"),
        (socks5_server, "04"),
    ],
)
def test_a_failed_handshake_stays_failed(handshake: Callable[[], Handshake], nonsense: str) -> None:
    broken = handshake()
    broken.data_to_send()
    failed = play(broken).receive(nonsense).expect_error(ProtocolError, "looks like").expect_state(State.FAILED)
    failed.receive("05 00 00 01 C0000201 0050").expect_state(State.FAILED)


@pytest.mark.parametrize(
    ("handshake", "nonsense", "step"),
    [
        (socks4_client, "04", State.REQUEST),
        (socks4.ServerHandshake, "04 07 0050 C0000201", State.REQUEST),
        (socks5_client, "04", State.METHOD_NEGOTIATION),
        (socks5_client, "05 FF", State.METHOD_NEGOTIATION),
        (socks5_client, "05 02 01 01", State.SUB_NEGOTIATION),
        (socks5_client, "05 00 04", State.REQUEST),
        (socks5_server, "05 01 00", State.METHOD_NEGOTIATION),
        (socks5_server, "05 01 02 05", State.SUB_NEGOTIATION),
        (socks5.ServerHandshake, "05 01 00 05 07 00 01", State.REQUEST),
    ],
)
def test_the_step_tells_where_it_failed_though_everything_came_at_once(
    handshake: Callable[[], Handshake], nonsense: str, step: State
) -> None:
    broken = handshake()
    with pytest.raises(ProtocolError):
        broken.receive_data(wire(nonsense))
    broken.data_to_send()
    play(broken).expect_state(State.FAILED).expect_step(step)


def test_a_grant_completes_the_server() -> None:
    server = play(socks4.ServerHandshake()).receive(CLIENT4).expect_state(State.REPLY).expect_step(State.REPLY)
    server.reply(GRANTED).expect_send("00 5A 0000 00000000").expect_state(State.DONE).expect_step(State.DONE)


def test_a_refusal_fails_the_server_at_the_reply() -> None:
    server = play(socks4.ServerHandshake()).receive(CLIENT4).expect_state(State.REPLY)
    server.reply(Reply(0x01)).expect_send("00 5B 0000 00000000").expect_state(State.FAILED).expect_step(State.REPLY)


def test_a_refused_login_fails_the_server_at_the_login() -> None:
    server = play(socks5_server()).receive(f"05 01 02 {LOGIN}").expect_send("05 02").expect_state(State.LOGIN)
    server.refuse_login().expect_send("01 01").expect_state(State.FAILED).expect_step(State.LOGIN)


# --- mistakes of the driver ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [socks4_client, socks5_client])
def test_there_is_no_reply_before_the_end(client: Callable[[], ClientHandshake]) -> None:
    with pytest.raises(RuntimeError, match=r"^the handshake is not done: there is no reply yet$"):
        _ = client().reply


@pytest.mark.parametrize("server", [socks4.ServerHandshake, socks5_server])
def test_there_is_no_request_before_it_has_arrived(server: Callable[[], ServerHandshake]) -> None:
    with pytest.raises(RuntimeError, match=r"^the request has not arrived yet$"):
        _ = server().request


@pytest.mark.parametrize(
    ("server", "script", "state"),
    [
        (socks4.ServerHandshake, "04", "request"),
        (socks5_server, "05", "method negotiation"),
        (socks5_server, f"05 01 02 {LOGIN}", "login check"),
        (socks5.ServerHandshake, "05 01 00", "request"),
    ],
)
def test_nothing_is_answered_before_it_is_asked(server: Callable[[], ServerHandshake], script: str, state: str) -> None:
    unasked = server()
    unasked.receive_data(wire(script))
    unasked.data_to_send()
    with pytest.raises(RuntimeError, match=f"^no request is waiting for a reply \\(state: {state}\\)$"):
        unasked.send_reply(GRANTED)
    assert unasked.data_to_send() == b""


def test_nothing_is_answered_twice() -> None:
    server = socks4.ServerHandshake()
    server.receive_data(wire(CLIENT4))
    server.send_reply(Reply(ReplyCode.CONNECTION_REFUSED))
    with pytest.raises(RuntimeError, match=r"no request is waiting for a reply \(state: failed\)"):
        server.send_reply(GRANTED)
    assert server.data_to_send() == wire("00 5B 0000 00000000")


# --- receiving no byte too many ---------------------------------------------------------------------------------------

FAR_REQUEST = Request(Version.SOCKS5, Command.CONNECT, Address("far.example", 80))
FAR_LOGIN = FAR_REQUEST._replace(credentials=UsernamePassword(b"u", b"p"))
FAR_SOCKS4 = FAR_REQUEST._replace(version=Version.SOCKS4)


@pytest.mark.parametrize("behind", [b"", b"220 hello"])
@pytest.mark.parametrize("piece", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("make", "answers"),
    [
        (partial(socks4.ClientHandshake, FAR_SOCKS4), "00 5A 0050 C0000201"),
        (partial(socks4.ClientHandshake, FAR_SOCKS4), "00 5B 0000 00000000"),
        (partial(socks5.ClientHandshake, FAR_REQUEST), "05 00 | 05 00 00 01 C0000201 0050"),
        (partial(socks5.ClientHandshake, FAR_REQUEST), "05 00 | 05 00 00 04 00*16 0050"),
        (partial(socks5.ClientHandshake, FAR_REQUEST), "05 00 | 05 00 00 03 0B 'far.example' 0050"),
        (partial(socks5.ClientHandshake, FAR_REQUEST), "05 00 | 05 00 00 03 00 0050"),
        (partial(socks5.ClientHandshake, FAR_LOGIN), "05 02 | 01 00 | 05 00 00 01 C0000201 0050"),
        (partial(PipelinedHandshake, FAR_LOGIN), "05 02 | 01 00 | 05 00 00 01 C0000201 0050"),
    ],
)
def test_who_receives_what_is_missing_never_receives_more(
    make: Callable[[], ClientHandshake], answers: str, piece: int, behind: bytes
) -> None:
    handshake, left = make(), wire(answers.replace("|", "")) + behind
    while not handshake.done:
        handshake.data_to_send()
        assert handshake.missing > 0
        data, left = left[: min(handshake.missing, piece)], left[min(handshake.missing, piece) :]
        handshake.receive_data(data)
    assert (handshake.trailing_data, left) == (b"", behind)


def test_the_second_reply_of_a_bind_too() -> None:
    handshake, left = (
        socks5.ClientHandshake(FAR_REQUEST._replace(command=Command.BIND)),
        b"\x05\0" + b"\x05\0\0\1abcdPP" * 2,
    )
    for _ in range(2):
        while not handshake.done:
            data, left = left[: handshake.missing], left[handshake.missing :]
            handshake.receive_data(data)
        if left:
            handshake.expect_second_reply()
    assert (handshake.trailing_data, left) == (b"", b"")


@pytest.mark.parametrize(
    ("data", "size"),
    [(b"", 2), (b"\1", 2), (b"\1\1", 4), (b"\1\1\0", 4), (b"\1\1\0\5", 9), (b"\1\1\1\0token", 260)],
)
def test_the_size_of_a_gssapi_message(data: bytes, size: int) -> None:
    assert token_size(data) == size
