"""The helper that judges the others: what it accepts, and above all what it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Command, Method, Reply, ReplyCode, Request, UsernamePassword, Version
from tests.protocol.playbook import (
    Feed,
    Playbook,
    byte_by_byte,
    finish_all,
    play,
    three_ways,
    whole,
    wire,
    with_trailing_data,
)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", b""),
        ("05 01 00", b"\x05\x01\x00"),
        ("C0000201 0050", b"\xc0\x00\x02\x01\x00\x50"),
        ("0B 'example.org'", b"\x0bexample.org"),
        ("'two words' 0D0A", b"two words\r\n"),
        ("'a'*3 00 FF*2", b"aaa\x00\xff\xff"),
    ],
)
def test_wire_reads_one_word_per_field(text: str, data: bytes) -> None:
    assert wire(text) == data


@pytest.mark.parametrize("text", ["5", "0x05", "c0", "'open", "05'a'", "''", "05*", "05 |"])
def test_wire_reads_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="begins with neither"):
        wire(text)


def _server() -> Playbook:
    return play(socks5.ServerHandshake())


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        pytest.param(lambda: _server().finish(), "asserts nothing", id="asserts-nothing"),
        pytest.param(
            lambda: _server().receive("05 01 00").expect_state(State.REQUEST).finish(),
            "it sent what the script does not expect: 0500",
            id="sends-unclaimed",
        ),
        pytest.param(
            lambda: _server().receive("05 01 00").receive("05"),
            "it sent what the script does not expect: 0500",
            id="goes-on-unclaimed",
        ),
        pytest.param(
            lambda: _server().receive("04").expect_state(State.FAILED).finish(),
            "it raised what the script does not expect\nProtocolError",
            id="raises-unclaimed",
        ),
        pytest.param(
            lambda: _server().receive("05 01 00").expect_send("05 02"),
            "something else:\nexpected 05 02\n     got 05 00\n            \\^\\^",
            id="sends-another",
        ),
        pytest.param(
            lambda: _server().receive("05 01").expect_send("05 00"),
            "expected 05 00\n     got\n         \\^\\^ \\^\\^",
            id="sends-nothing",
        ),
        pytest.param(
            lambda: _server().receive("05 01 00").expect_send("05"),
            "expected 05\n     got 05 00\n            \\^\\^",
            id="sends-more",
        ),
        pytest.param(
            lambda: _server().receive("05 01").expect_state(State.REQUEST),
            "the state is another:\nexpected <State.REQUEST: 'request'>",
            id="another-state",
        ),
        pytest.param(
            lambda: _server().receive("05 01 00 05").expect_send("05 00").expect_trailing("05 01"),
            "other bytes trail:\nexpected 05 01\n     got 05\n            \\^\\^",
            id="other-trailing-data",
        ),
        pytest.param(
            lambda: _server().receive("05").expect_error(ProtocolError, "closed"), "nothing was raised", id="no-error"
        ),
        pytest.param(
            lambda: _server().receive_end().expect_error(LoginRefused, "closed"),
            "LoginRefused matching 'closed' was expected, and it raised\nProtocolError",
            id="another-error",
        ),
        pytest.param(
            lambda: _server().receive_end().expect_error(ProtocolError, "during the request"),
            "matching 'during the request' was expected",
            id="another-message",
        ),
    ],
)
def test_a_playbook_fails(script: Callable[[], object], complaint: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=complaint):
        script()


def test_a_failure_prints_the_conversation() -> None:
    with pytest.raises(pytest.fail.Exception) as failure:
        _server().receive("05 01 00").expect_send("05 00").receive("05 01").expect_state(State.REPLY)
    assert failure.value.msg == (
        "  <chainsocks.protocol.socks5.ServerHandshake method negotiation>\n"
        "  < 05 01 00\n"
        "  > 05 00\n"
        "  < 05 01\n"
        "the state is another:\n"
        "expected <State.REPLY: 'reply'>\n"
        "     got <State.REQUEST: 'request'>"
    )


def test_playbooks_that_assert_nothing_fail_their_test() -> None:
    _server().receive("05 01")
    with pytest.raises(pytest.fail.Exception, match="asserts nothing"):
        finish_all()
    finish_all()  # and are forgotten then


def test_values_are_compared() -> None:
    request = Request(Version.SOCKS5, Command.CONNECT, Address("192.0.2.1", 80))
    login = UsernamePassword(b"carol", b"sesame")

    def asked() -> Playbook:
        return play(socks4.ServerHandshake()).receive("04 01 0050 C0000201 00")

    def answered() -> Playbook:
        client = play(socks4.ClientHandshake(request)).expect_send("04 01 0050 C0000201 00")
        return client.receive("00 5A 0000 00000000")

    def logged_in(password: str) -> Playbook:
        server = play(socks5.ServerHandshake((Method.USERNAME_PASSWORD,))).receive("05 01 02").expect_send("05 02")
        return server.receive(f"01 05 'carol' 06 '{password}'")

    logged_in("sesame").expect_login(login)
    with pytest.raises(pytest.fail.Exception, match="the password is another"):
        logged_in("SESAME").expect_login(login)
    with pytest.raises(pytest.fail.Exception, match="the request is another"):
        asked().expect_request(request)
    with pytest.raises(pytest.fail.Exception, match="the reply is another"):
        answered().expect_reply(Reply(ReplyCode.GENERAL_FAILURE))


# --- the three ways ---------------------------------------------------------------------------------------------------


@three_ways
def test_a_message_of_the_right_length_passes(feed: Feed) -> None:
    assert feed(socks5.ServerHandshake(), "05 01 00", behind="05").state is State.REQUEST


def test_byte_by_byte_notices_a_decision_before_the_last_byte() -> None:
    with pytest.raises(AssertionError, match="decided after 3 bytes of 4"):
        byte_by_byte(socks5.ServerHandshake(), "05 01 00 05")
    with pytest.raises(pytest.fail.Exception, match="raised after 1 bytes of 3"):
        byte_by_byte(socks5.ServerHandshake(), "06 01 00")


def test_all_ways_notice_what_is_left_over() -> None:
    with pytest.raises(AssertionError, match="left over"):
        whole(socks5.ServerHandshake(), "05 01")
    with pytest.raises(AssertionError, match="left over"):
        byte_by_byte(socks5.ServerHandshake(), "05 01")
    with pytest.raises(AssertionError, match="not all there"):
        with_trailing_data(socks5.ServerHandshake(), "05 01 00", behind="05 01 00 01 00000000 0000")
