"""The pipelining client of SOCKS5: its bytes, its checks, and a conversation with our own server."""

from __future__ import annotations

import pytest

from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import (
    Command,
    Credentials,
    IsolationLogin,
    Method,
    Reply,
    Request,
    UsernamePassword,
    Version,
)
from chainsocks.protocol.pipelined import PipelinedHandshake
from chainsocks.protocol.socks5 import ServerHandshake
from tests.protocol.playbook import play, wire

CAROL = UsernamePassword(b"carol", b"sesame")
METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
ANONYMOUS_MESSAGES = "05 01 00 05 01 00 01 C0000201 0050"
CAROLS_MESSAGES = "05 01 02 01 05 'carol' 06 'sesame' 05 01 00 01 C0000201 0050"
REPLY = "05 00 00 01 C0000207 9C40"
EARLY, BANNER = b"\x05\x01\x00 for the next hop", b"\x05\x00 from the next hop"


def begin(credentials: Credentials | None = None, command: Command = Command.CONNECT) -> PipelinedHandshake:
    return PipelinedHandshake(Request(Version.SOCKS5, command, Address("192.0.2.1", 80), credentials))


@pytest.mark.parametrize(("credentials", "messages"), [(None, ANONYMOUS_MESSAGES), (CAROL, CAROLS_MESSAGES)])
def test_all_messages_go_out_at_once_and_one_method_is_offered(credentials: Credentials | None, messages: str) -> None:
    play(begin(credentials)).expect_send(messages).expect_state(METHOD)


def test_the_answers_are_verified_one_after_the_other() -> None:
    playbook = play(begin(CAROL)).expect_send(CAROLS_MESSAGES)
    playbook.receive("05 02").expect_send("").expect_state(LOGIN)
    playbook.receive("01 00").expect_send("").expect_state(REQUEST)
    playbook.receive(REPLY).expect_send("").expect_state(State.DONE)


@pytest.mark.parametrize(
    ("credentials", "answers", "kind", "step", "why"),
    [
        (None, "'HTTP/1.1 400'", ProtocolError, METHOD, "looks like an HTTP server's answer"),
        (None, "05 02", LoginRefused, METHOD, "it requires a login, and none is configured"),
        (None, "05 FF", LoginRefused, METHOD, "it requires a login, and none is configured"),
        (None, "05 01", ProtocolError, METHOD, "picked method 01, which we did not offer"),
        (CAROL, "05 00", ProtocolError, METHOD, "picked method 00, which we did not offer"),
        (CAROL, f"05 00 {REPLY}", ProtocolError, METHOD, "picked method 00, which we did not offer"),
        (
            CAROL,
            "05 FF",
            LoginRefused,
            METHOD,
            "the only method that is offered when pipelining",
        ),
        (CAROL, "05 02 01 01", LoginRefused, LOGIN, r"refused our username and password \(status 01\)"),
        (CAROL, "05 02 02 00", ProtocolError, LOGIN, "version 2"),
        (CAROL, f"05 02 01 01 {REPLY}", LoginRefused, LOGIN, "refused our username and password"),
        (CAROL, "05 02 01 00 04 00", ProtocolError, REQUEST, "the reply has version 4"),
    ],
)
def test_a_bad_answer_is_found_at_its_step(
    credentials: Credentials | None, answers: str, kind: type[ProtocolError], step: State, why: str
) -> None:
    """Further bytes make no difference."""
    handshake = begin(credentials)
    play(handshake).expect_send(CAROLS_MESSAGES if credentials else ANONYMOUS_MESSAGES).receive(answers).expect_error(
        kind, why
    ).expect_state(State.FAILED).expect_step(step)


@pytest.mark.parametrize(
    ("answers", "step"), [("", METHOD), ("05", METHOD), ("05 02", LOGIN), ("05 02 01", LOGIN), ("05 02 01 00", REQUEST)]
)
def test_an_end_before_the_last_answer(answers: str, step: State) -> None:
    playbook = play(begin(CAROL)).expect_send(CAROLS_MESSAGES)
    if answers:
        playbook.receive(answers)
    playbook.receive_end().expect_error(ProtocolError, f"closed during the {step}").expect_step(step)


@pytest.mark.parametrize(
    ("portions", "passed"),
    [
        (["05 02", "01 00", REPLY], [[], [], []]),
        (["05 02 01 00", REPLY], [[LOGIN], []]),
        ([f"05 02 01 00 {REPLY}"], [[LOGIN, REQUEST]]),
        (["05 02 01", "00 05", REPLY[3:]], [[], [], []]),
        (["05 02 01", f"00 {REPLY}"], [[], [REQUEST]]),
    ],
)
def test_the_steps_that_were_passed(portions: list[str], passed: list[list[State]]) -> None:
    handshake = begin(CAROL)
    handshake.data_to_send()
    for portion, steps in zip(portions, passed, strict=True):
        handshake.receive_data(wire(portion))
        assert handshake.passed == steps


def test_both_replies_of_a_bind() -> None:
    handshake = begin(command=Command.BIND)
    handshake.data_to_send()
    handshake.receive_data(wire(f"05 00 {REPLY} 05 00 00 01 C0000208 0014") + BANNER)
    assert handshake.reply == Reply(0, Address("192.0.2.7", 40000))
    handshake.expect_second_reply()
    assert handshake.reply == Reply(0, Address("192.0.2.8", 20))
    assert handshake.trailing_data == BANNER


@pytest.mark.parametrize(
    ("answers", "kind", "why"),
    [
        ("05 FF", LoginRefused, "which `isolate` needs to keep circuits apart"),
        ("05 00", ProtocolError, "picked method 00, which we did not offer"),
    ],
)
def test_a_login_that_separates_circuits_has_to_be_taken(answers: str, kind: type[ProtocolError], why: str) -> None:
    login = IsolationLogin(CAROL.username, CAROL.password)
    play(begin(login)).expect_send(CAROLS_MESSAGES).receive(answers).expect_error(kind, why)


@pytest.mark.parametrize("credentials", [None, CAROL], ids=["anonymous", "carol"])
def test_our_own_server_supports_pipelining_wherever_the_wire_is_cut(credentials: Credentials | None) -> None:
    """The client keeps the bytes that follow its answers."""
    messages = begin(credentials).data_to_send() + EARLY
    for first in range(len(messages)):
        for second in (first, first + 1, (first + len(messages)) // 2, len(messages)):
            client = begin(credentials)
            client.data_to_send()
            server = ServerHandshake([Method.USERNAME_PASSWORD if credentials else Method.NO_AUTHENTICATION_REQUIRED])
            for portion in filter(None, (messages[:first], messages[first:second], messages[second:])):
                server.receive_data(portion)
                if server.state is State.LOGIN:
                    assert server.login == credentials
                    server.accept_login()
                if answer := server.data_to_send():
                    client.receive_data(answer)
            assert server.request.destination == Address("192.0.2.1", 80)
            server.send_reply(Reply(0))
            assert server.trailing_data == EARLY
            client.receive_data(server.data_to_send() + BANNER)
            assert client.done
            assert client.trailing_data == BANNER
