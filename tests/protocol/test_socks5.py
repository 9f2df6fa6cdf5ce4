"""SOCKS5, both roles: RFC 1928 with the login of RFC 1929, as bytes.

    greeting  VER NMETHODS METHODS                    answer  VER METHOD
    login     VER ULEN UNAME PLEN PASSWD              answer  VER STATUS
    request   VER CMD RSV ATYP DST.ADDR DST.PORT      reply   VER REP RSV ATYP BND.ADDR BND.PORT

A name (ATYP 03) is a length and as many bytes.
"""

from __future__ import annotations

import pytest

from chainsocks.protocol import socks5
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import (
    Command,
    Credentials,
    IsolationLogin,
    Method,
    Reply,
    ReplyCode,
    Request,
    UserId,
    UsernamePassword,
    Version,
)
from tests.protocol.playbook import Feed, Playbook, play, three_ways, wire

NONE, GSSAPI, PASSWORD = Method.NO_AUTHENTICATION_REQUIRED, Method.GSSAPI, Method.USERNAME_PASSWORD
CAROL = UsernamePassword(b"carol", b"sesame")
CAROL_LOGS_IN = "01 05 'carol' 06 'sesame'"


def ask(host: str, port: int, command: Command = Command.CONNECT, credentials: Credentials | None = None) -> Request:
    return Request(Version.SOCKS5, command, Address(host, port), credentials)


# --- the server negotiates a method -----------------------------------------------------------------------------------


@three_ways
@pytest.mark.parametrize(
    ("accepted", "greeting", "answer", "state"),
    [
        pytest.param([NONE], "05 01 00", "05 00", State.REQUEST, id="none"),
        pytest.param([NONE], "05 02 00 02", "05 00", State.REQUEST, id="none-of-two"),
        pytest.param([NONE], "05 03 02 01 00", "05 00", State.REQUEST, id="none-comes-last"),
        pytest.param([NONE], "05 02 00 00", "05 00", State.REQUEST, id="none-said-twice"),
        pytest.param([NONE], "05 FF 80*254 00", "05 00", State.REQUEST, id="none-of-255"),
        pytest.param([PASSWORD], "05 01 02", "05 02", State.SUB_NEGOTIATION, id="login"),
        pytest.param([PASSWORD], "05 02 00 02", "05 02", State.SUB_NEGOTIATION, id="login-of-two"),
        pytest.param([PASSWORD, NONE], "05 02 00 02", "05 02", State.SUB_NEGOTIATION, id="we-like-login-best"),
        pytest.param([PASSWORD, NONE], "05 01 00", "05 00", State.REQUEST, id="our-second-choice"),
        pytest.param([NONE, PASSWORD], "05 02 02 00", "05 00", State.REQUEST, id="we-like-none-best"),
    ],
)
def test_method(feed: Feed, accepted: list[Method], greeting: str, answer: str, state: State) -> None:
    server = feed(socks5.ServerHandshake(accepted), greeting, behind="01" if answer == "05 02" else "05")
    assert server.data_to_send() == wire(answer)
    assert server.state is state


def test_without_a_word_only_going_without_is_accepted() -> None:
    play(socks5.ServerHandshake()).receive("05 02 00 02").expect_send("05 00")
    play(socks5.ServerHandshake()).receive("05 01 02").expect_send("05 FF").expect_error(
        ProtocolError, r"accepts no login \(00\)$"
    )


@three_ways
@pytest.mark.parametrize(
    ("accepted", "greeting", "why"),
    [
        pytest.param([NONE], "05 00", r"offers no method; this server accepts no login \(00\)$", id="NMETHODS-0"),
        pytest.param(
            [NONE],
            "05 01 02",
            r"offers username and password \(02\); this server accepts no login \(00\)$",
            id="only-login",
        ),
        pytest.param(
            [PASSWORD],
            "05 01 00",
            r"offers no login \(00\); this server accepts username and password \(02\)$",
            id="no-login",
        ),
        pytest.param(
            [PASSWORD, NONE],
            "05 02 01 80",
            r"offers GSSAPI \(01\), method 80; this server accepts username and password \(02\) or no login \(00\)$",
            id="others",
        ),
        pytest.param(
            [NONE], "05 01 FF", r"offers method FF; this server accepts no login \(00\)$", id="FF-is-no-method"
        ),
    ],
)
def test_no_acceptable_method(feed: Feed, accepted: list[Method], greeting: str, why: str) -> None:
    server = socks5.ServerHandshake(accepted)
    with pytest.raises(ProtocolError, match=why):
        feed(server, greeting)
    assert server.data_to_send() == wire("05 FF")
    assert server.state is State.FAILED


@three_ways
@pytest.mark.parametrize("greeting", ["04", "01", "00", "'G'"])
def test_a_client_of_another_kind_gets_no_answer(feed: Feed, greeting: str) -> None:
    server = socks5.ServerHandshake()
    with pytest.raises(ProtocolError, match=r"^the first byte is not SOCKS5's; it looks like"):
        feed(server, greeting)
    assert server.data_to_send() == b""
    assert server.state is State.FAILED


# --- the server hears a login -----------------------------------------------------------------------------------------


def server_at_login() -> socks5.ServerHandshake:
    server = socks5.ServerHandshake([PASSWORD])
    play(server).receive("05 01 02").expect_send("05 02").expect_state(State.SUB_NEGOTIATION)
    return server


@three_ways
@pytest.mark.parametrize(
    ("message", "username", "password"),
    [
        pytest.param("01 05 'carol' 06 'sesame'", b"carol", b"sesame", id="both"),
        pytest.param("01 01 'c' 01 's'", b"c", b"s", id="1-byte"),
        pytest.param("01 FF 'c'*255 FF 's'*255", b"c" * 255, b"s" * 255, id="255-bytes"),
        pytest.param("01 FF 'c'*255 01 's'", b"c" * 255, b"s", id="long-and-short"),
        pytest.param("01 03 FFFE80 01 00", b"\xff\xfe\x80", b"\0", id="bytes-not-text"),
        # RFC 1929 wants 1 to 255 bytes; empty ones are in use, and are checked as all others are.
        pytest.param("01 00 06 'sesame'", b"", b"sesame", id="empty-username"),
        pytest.param("01 05 'carol' 00", b"carol", b"", id="empty-password"),
        pytest.param("01 00 00", b"", b"", id="both-empty"),
    ],
)
def test_login(feed: Feed, message: str, username: bytes, password: bytes) -> None:
    server = feed(server_at_login(), message, behind="05")
    assert server.login == UsernamePassword(username, password)
    assert server.state is State.LOGIN
    assert server.data_to_send() == b""


def test_an_accepted_login_is_answered_and_goes_with_the_request() -> None:
    server = play(server_at_login()).receive(CAROL_LOGS_IN).expect_state(State.LOGIN).expect_login(CAROL)
    server.accept_login().expect_send("01 00").expect_state(State.REQUEST)
    server.receive("05 01 00 01 C0000201 0050").expect_request(ask("192.0.2.1", 80, credentials=CAROL))


def test_a_refused_login_is_answered_and_ends_it() -> None:
    server = play(server_at_login()).receive(CAROL_LOGS_IN).expect_state(State.LOGIN)
    server.refuse_login().expect_send("01 01").expect_state(State.FAILED)
    server.receive("05 01 00 01 C0000201 0050").expect_state(State.FAILED)


@three_ways
@pytest.mark.parametrize("version", ["05", "00", "02"])
def test_a_login_of_another_version_is_refused(feed: Feed, version: str) -> None:
    server = server_at_login()
    with pytest.raises(ProtocolError, match=f"^the login has version {int(version)}; RFC 1929 wants 1$"):
        feed(server, version)
    assert server.data_to_send() == wire("01 01")
    assert server.state is State.FAILED


def test_no_login_before_it_has_arrived() -> None:
    server = server_at_login()
    server.receive_data(wire("01 05 'carol' 06 'sesam'"))
    with pytest.raises(RuntimeError, match="the client has not logged in"):
        _ = server.login
    for decide in (server.accept_login, server.refuse_login):
        with pytest.raises(RuntimeError, match=r"no login is waiting for a decision \(state: username/password"):
            decide()
    assert server.data_to_send() == b""


def test_a_login_is_decided_once() -> None:
    server = server_at_login()
    server.receive_data(wire(CAROL_LOGS_IN))
    server.refuse_login()
    with pytest.raises(RuntimeError, match=r"no login is waiting for a decision \(state: failed\)"):
        server.accept_login()
    assert server.data_to_send() == wire("01 01")


# --- the server hears a request ---------------------------------------------------------------------------------------


def server_at_request() -> socks5.ServerHandshake:
    server = socks5.ServerHandshake()
    play(server).receive("05 01 00").expect_send("05 00").expect_state(State.REQUEST)
    return server


@three_ways
@pytest.mark.parametrize(
    ("message", "request_"),
    [
        pytest.param("05 01 00 01 C0000201 0050", ask("192.0.2.1", 80), id="connect"),
        pytest.param("05 02 00 01 C0000201 0050", ask("192.0.2.1", 80, Command.BIND), id="bind"),
        pytest.param("05 03 00 01 00000000 0000", ask("0.0.0.0", 0, Command.UDP_ASSOCIATE), id="udp-associate"),
        pytest.param("05 F0 00 03 03 'a.b' 0000", ask("a.b", 0, Command.RESOLVE), id="resolve"),
        pytest.param("05 F1 00 01 C0000201 0000", ask("192.0.2.1", 0, Command.RESOLVE_PTR), id="resolve-ptr"),
        pytest.param("05 01 00 01 00000001 FFFF", ask("0.0.0.1", 65535), id="0.0.0.1-is-no-4a-here"),
        pytest.param("05 01 00 03 0B 'example.org' 01BB", ask("example.org", 443), id="name"),
        pytest.param("05 01 00 03 01 'n' 01BB", ask("n", 443), id="name-of-1-byte"),
        pytest.param("05 01 00 03 FF 'n'*255 01BB", ask("n" * 255, 443), id="name-of-255-bytes"),
        pytest.param("05 01 00 03 02 FFFE 01BB", ask("\udcff\udcfe", 443), id="name-not-UTF-8"),
        pytest.param("05 01 00 03 09 '192.0.2.1' 01BB", ask("192.0.2.1", 443), id="name-spells-IPv4"),
        pytest.param("05 01 00 03 03 '::1' 01BB", ask("::1", 443), id="name-spells-IPv6"),
        pytest.param("05 01 00 04 20010DB8 00*11 01 01BB", ask("2001:db8::1", 443), id="IPv6"),
        pytest.param("05 01 00 04 00*16 0000", ask("::", 0), id="IPv6-unspecified"),
        pytest.param("05 01 00 04 00*10 FFFF C0000201 0050", ask("::ffff:192.0.2.1", 80), id="IPv4-in-IPv6"),
    ],
)
def test_request(feed: Feed, message: str, request_: Request) -> None:
    server = feed(server_at_request(), message)
    assert server.request == request_
    assert server.state is State.REPLY
    assert server.data_to_send() == b""


def test_a_name_keeps_its_bytes() -> None:
    server = server_at_request()
    server.receive_data(wire("05 01 00 03 07 'b' FCFF 'cher' 0050"))
    destination = server.request.destination
    assert (destination.type, destination.packed) == (AddressType.DOMAINNAME, b"b\xfc\xffcher")


@three_ways
@pytest.mark.parametrize(
    ("message", "code", "why"),
    [
        pytest.param("04", "01", "the request has version 4, not 5", id="version-04"),
        pytest.param("01", "01", "the request has version 1, not 5", id="a-login-that-is-not-expected"),
        pytest.param("05 00 00 01", "07", "SOCKS5 has no command 0", id="command-00"),
        pytest.param("05 04 00 01", "07", "SOCKS5 has no command 4", id="command-04"),
        pytest.param("05 07 00 01", "07", "SOCKS5 has no command 7", id="command-07"),
        pytest.param("05 07 01 08", "07", "SOCKS5 has no command 7", id="everything-wrong"),
        pytest.param("05 01 00 00", "08", "address type 0 is none of 1, 3 and 4", id="ATYP-00"),
        pytest.param("05 01 00 02", "08", "address type 2 is none of 1, 3 and 4", id="ATYP-02"),
        pytest.param("05 01 00 08", "08", "address type 8 is none of 1, 3 and 4", id="ATYP-08"),
        pytest.param("05 01 00 03 00 0050", "01", "the host is empty", id="name-of-0-bytes"),
        pytest.param("05 01 00 03 03 'a' 00 'b' 0050", "01", "the name contains a NUL byte", id="NUL-in-name"),
    ],
)
def test_refused_request(feed: Feed, message: str, code: str, why: str) -> None:
    server = server_at_request()
    with pytest.raises(ProtocolError, match=f"^{why}$"):
        feed(server, message)
    assert server.data_to_send() == wire(f"05 {code} 00 01 00000000 0000")
    assert server.state is State.FAILED


@three_ways
@pytest.mark.parametrize("reserved", ["01", "05", "FF"])
def test_the_reserved_byte_of_a_request_is_ignored(feed: Feed, reserved: str) -> None:
    server = server_at_request()
    feed(server, f"05 01 {reserved} 01 C0000201 0050")
    assert server.request.destination == Address("192.0.2.1", 80)


# --- the server hears everything at once ------------------------------------------------------------------------------


def test_greeting_and_request_in_one_segment() -> None:
    server = play(socks5.ServerHandshake()).receive("05 01 00 05 01 00 01 C0000201 0050 'early'").expect_send("05 00")
    server.expect_state(State.REPLY).expect_request(ask("192.0.2.1", 80)).expect_trailing("'early'")


def test_greeting_login_and_request_in_one_segment() -> None:
    server = play(socks5.ServerHandshake([PASSWORD]))
    server.receive(f"05 01 02 {CAROL_LOGS_IN} 05 01 00 01 C0000201 0050 'early'")
    server.expect_send("05 02").expect_state(State.LOGIN).expect_login(CAROL)
    server.accept_login().expect_send("01 00").expect_state(State.REPLY)
    server.expect_request(ask("192.0.2.1", 80, credentials=CAROL)).expect_trailing("'early'")


def test_a_bad_request_after_a_login_is_refused_when_the_login_is_accepted() -> None:
    server = play(socks5.ServerHandshake([PASSWORD])).receive(f"05 01 02 {CAROL_LOGS_IN} 05 07 00 01")
    server.expect_send("05 02").expect_state(State.LOGIN)
    server.accept_login().expect_send("01 00 05 07 00 01 00000000 0000")
    server.expect_error(ProtocolError, "no command 7").expect_state(State.FAILED)


def test_a_request_after_a_refused_login_is_ignored() -> None:
    handshake = socks5.ServerHandshake([PASSWORD])
    server = play(handshake).receive(f"05 01 02 {CAROL_LOGS_IN} 05 01 00 01 C0000201 0050").expect_send("05 02")
    server.refuse_login().expect_send("01 01").expect_state(State.FAILED)
    with pytest.raises(RuntimeError, match="has not arrived"):
        _ = handshake.request


# --- the server replies -----------------------------------------------------------------------------------------------

UNSPECIFIED = "01 00000000 0000"


@pytest.mark.parametrize(
    ("reply", "message", "state"),
    [
        pytest.param(Reply(0x00), f"05 00 00 {UNSPECIFIED}", State.DONE, id="succeeded"),
        pytest.param(Reply(0x00, Address("192.0.2.9", 4242)), "05 00 00 01 C0000209 1092", State.DONE, id="IPv4"),
        pytest.param(
            Reply(0x00, Address("2001:db8::9", 4242)), "05 00 00 04 20010DB8 00*11 09 1092", State.DONE, id="IPv6"
        ),
        pytest.param(Reply(0x00, Address("a.b", 4242)), "05 00 00 03 03 'a.b' 1092", State.DONE, id="name"),
        pytest.param(
            Reply(0x05, Address("192.0.2.9", 1)), "05 05 00 01 C0000209 0001", State.FAILED, id="refusal-address"
        ),
        *(
            pytest.param(Reply(code), f"05 {code:02X} 00 {UNSPECIFIED}", State.FAILED, id=code.name)
            for code in ReplyCode
            if code is not ReplyCode.SUCCEEDED
        ),
        pytest.param(Reply(0x5A), f"05 5A 00 {UNSPECIFIED}", State.FAILED, id="unassigned"),
        pytest.param(Reply(0xFF), f"05 FF 00 {UNSPECIFIED}", State.FAILED, id="unassigned-FF"),
    ],
)
def test_reply(reply: Reply, message: str, state: State) -> None:
    server = play(server_at_request()).receive("05 01 00 01 C0000201 0050").expect_state(State.REPLY)
    server.reply(reply).expect_send(message).expect_state(state)


# --- the client negotiates a method -----------------------------------------------------------------------------------


APART = IsolationLogin(b"c", b"s")


def client(credentials: Credentials | None = None) -> Playbook:
    return play(socks5.ClientHandshake(ask("192.0.2.1", 80, credentials=credentials)))


REQUEST = "05 01 00 01 C0000201 0050"


@pytest.mark.parametrize(
    ("credentials", "greeting"),
    [
        pytest.param(None, "05 01 00", id="without-a-login"),
        pytest.param(CAROL, "05 02 00 02", id="with-a-login"),
        pytest.param(UserId(b"fred"), "05 01 00", id="a-SOCKS4-user-id-is-no-login"),
    ],
)
def test_greeting(credentials: Credentials | None, greeting: str) -> None:
    asking = client(credentials).expect_send(greeting).expect_state(State.METHOD_NEGOTIATION)
    asking.receive("05").expect_state(State.METHOD_NEGOTIATION)
    asking.receive("00").expect_send(REQUEST).expect_state(State.REQUEST)


@pytest.mark.parametrize(
    ("username", "password", "message"),
    [
        pytest.param(b"carol", b"sesame", "01 05 'carol' 06 'sesame'", id="both"),
        pytest.param(b"c", b"s", "01 01 'c' 01 's'", id="1-byte"),
        pytest.param(b"c" * 255, b"s" * 255, "01 FF 'c'*255 FF 's'*255", id="255-bytes"),
        pytest.param(b"token", b"", "01 05 'token' 00", id="empty-password"),
        pytest.param(b"", b"token", "01 00 05 'token'", id="empty-username"),
        pytest.param(b"", b"", "01 00 00", id="both-empty"),
        pytest.param(b"\xff\0", b"\x80", "01 02 FF00 01 80", id="bytes-not-text"),
    ],
)
def test_login_on_the_wire(username: bytes, password: bytes, message: str) -> None:
    asking = client(UsernamePassword(username, password)).expect_send("05 02 00 02")
    asking.receive("05 02").expect_send(message).expect_state(State.SUB_NEGOTIATION)


def test_a_login_that_separates_circuits_has_to_be_taken() -> None:
    asking = client(APART).expect_send("05 01 02")
    asking.receive("05 02").expect_send("01 01 'c' 01 's'").expect_state(State.SUB_NEGOTIATION)


@pytest.mark.parametrize(
    ("credentials", "why"),
    [
        (UsernamePassword(b"sesame" * 43, b"s"), "a SOCKS5 username has at most 255 bytes, this one has 258"),
        (UsernamePassword(b"c" * 256, b"s"), "a SOCKS5 username has at most 255 bytes, this one has 256"),
        (UsernamePassword(b"carol", b"s" * 256), "a SOCKS5 password has at most 255 bytes, this one has 256"),
    ],
)
def test_what_no_login_can_be(credentials: UsernamePassword, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        client(credentials)


@three_ways
@pytest.mark.parametrize(
    ("credentials", "answer", "kind", "why"),
    [
        pytest.param(None, "05 FF", LoginRefused, "it requires a login", id="none-acceptable"),
        pytest.param(CAROL, "05 FF", LoginRefused, "it accepts neither", id="neither-acceptable"),
        pytest.param(None, "05 02", LoginRefused, "it requires a login", id="login-not-offered"),
        pytest.param(None, "05 01", ProtocolError, "it picked method 01, which we did not offer", id="gssapi"),
        pytest.param(APART, "05 00", ProtocolError, "it picked method 00, which we did not offer", id="not-separated"),
        pytest.param(APART, "05 FF", LoginRefused, "which `isolate` needs", id="separates-nothing"),
        pytest.param(CAROL, "05 80", ProtocolError, "it picked method 80, which we did not offer", id="private-method"),
        pytest.param(None, "04", ProtocolError, "is not SOCKS5; it looks like SOCKS4", id="version-04"),
        pytest.param(None, "00", ProtocolError, "is not SOCKS5; it looks like no known protocol", id="version-00"),
    ],
)
def test_no_method(
    feed: Feed, credentials: Credentials | None, answer: str, kind: type[ProtocolError], why: str
) -> None:
    asking = socks5.ClientHandshake(ask("192.0.2.1", 80, credentials=credentials))
    asking.data_to_send()
    with pytest.raises(ProtocolError, match=why) as error:
        feed(asking, answer)
    assert error.type is kind
    assert asking.data_to_send() == b""
    assert asking.state is State.FAILED


@pytest.mark.parametrize(
    ("opening", "guess"),
    [
        ("'HTTP/1.1 400 Bad Request' 0D0A", r"an HTTP server's answer \('HTTP/1.1 400 Bad Request'\)"),
        ("'SSH-2.0-OpenSSH_9.6' 0D0A", "SSH"),
        ("15 0303 0002 02 46", "a TLS alert"),
        ("'220 mail.example' 0D0A", "SMTP or FTP"),
        ("00 5B 0000 00000000", "a SOCKS4 reply"),
    ],
)
def test_other_protocols_are_named(opening: str, guess: str) -> None:
    asking = client().expect_send("05 01 00").receive(opening)
    asking.expect_error(ProtocolError, f"^the answer to the method negotiation is not SOCKS5; it looks like {guess}")


# --- the client hears how its login went ------------------------------------------------------------------------------


def client_at_login() -> socks5.ClientHandshake:
    asking = socks5.ClientHandshake(ask("192.0.2.1", 80, credentials=CAROL))
    asking.receive_data(wire("05 02"))
    asking.data_to_send()
    return asking


@three_ways
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("01 00", id="accepted"),
        pytest.param("05 00", id="accepted-with-the-version-of-SOCKS"),
    ],
)
def test_accepted_login(feed: Feed, answer: str) -> None:
    asking = feed(client_at_login(), answer, behind="05")
    assert asking.data_to_send() == wire(REQUEST)
    assert asking.state is State.REQUEST


@three_ways
@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        pytest.param("01 01", LoginRefused, r"it refused our username and password \(status 01\)", id="refused"),
        pytest.param("01 FF", LoginRefused, r"it refused our username and password \(status FF\)", id="refused-FF"),
        pytest.param("05 01", LoginRefused, r"it refused our username and password \(status 01\)", id="refused-as-05"),
        pytest.param(
            "00 00", ProtocolError, "the answer to the login has version 0; RFC 1929 wants 1", id="version-00"
        ),
        pytest.param(
            "02 00", ProtocolError, "the answer to the login has version 2; RFC 1929 wants 1", id="version-02"
        ),
        pytest.param(
            "04 01", ProtocolError, "the answer to the login has version 4; RFC 1929 wants 1", id="version-04"
        ),
    ],
)
def test_no_login(feed: Feed, answer: str, kind: type[ProtocolError], why: str) -> None:
    asking = client_at_login()
    with pytest.raises(ProtocolError, match=f"^{why}$") as error:
        feed(asking, answer)
    assert error.type is kind
    assert asking.data_to_send() == b""
    assert asking.state is State.FAILED


# --- the client asks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(ask("192.0.2.1", 80), "05 01 00 01 C0000201 0050", id="connect"),
        pytest.param(ask("192.0.2.1", 80, Command.BIND), "05 02 00 01 C0000201 0050", id="bind"),
        pytest.param(ask("0.0.0.0", 0, Command.UDP_ASSOCIATE), "05 03 00 01 00000000 0000", id="udp-associate"),
        pytest.param(ask("a.b", 0, Command.RESOLVE), "05 F0 00 03 03 'a.b' 0000", id="resolve"),
        pytest.param(ask("192.0.2.1", 0, Command.RESOLVE_PTR), "05 F1 00 01 C0000201 0000", id="resolve-ptr"),
        pytest.param(ask("0.0.0.1", 65535), "05 01 00 01 00000001 FFFF", id="0.0.0.1"),
        pytest.param(ask("example.org", 443), "05 01 00 03 0B 'example.org' 01BB", id="name"),
        pytest.param(ask("n" * 255, 443), "05 01 00 03 FF 'n'*255 01BB", id="name-of-255-bytes"),
        pytest.param(ask("\udcff\udcfe", 443), "05 01 00 03 02 FFFE 01BB", id="name-not-UTF-8"),
        pytest.param(ask("2001:db8::1", 443), "05 01 00 04 20010DB8 00*11 01 01BB", id="IPv6"),
        pytest.param(
            Request(Version.SOCKS4, Command.CONNECT, Address("192.0.2.1", 80), UserId(b"fred")),
            "05 01 00 01 C0000201 0050",
            id="a-request-that-came-as-SOCKS4",
        ),
    ],
)
def test_request_on_the_wire(request_: Request, message: str) -> None:
    asking = play(socks5.ClientHandshake(request_)).expect_send("05 01 00")
    asking.receive("05 00").expect_send(message).expect_state(State.REQUEST)


# --- the client hears the reply ---------------------------------------------------------------------------------------


def client_at_request() -> socks5.ClientHandshake:
    asking = socks5.ClientHandshake(ask("192.0.2.1", 80))
    asking.receive_data(wire("05 00"))
    asking.data_to_send()
    return asking


@three_ways
@pytest.mark.parametrize(
    ("message", "reply"),
    [
        pytest.param("05 00 00 01 00000000 0000", Reply(0x00), id="succeeded"),
        pytest.param("05 00 00 01 C0000209 1092", Reply(0x00, Address("192.0.2.9", 4242)), id="IPv4"),
        pytest.param("05 00 00 04 20010DB8 00*11 09 1092", Reply(0x00, Address("2001:db8::9", 4242)), id="IPv6"),
        pytest.param("05 00 00 03 03 'a.b' 1092", Reply(0x00, Address("a.b", 4242)), id="name"),
        pytest.param("05 00 00 03 FF 'n'*255 1092", Reply(0x00, Address("n" * 255, 4242)), id="name-of-255-bytes"),
        pytest.param("05 00 00 03 02 FFFE 1092", Reply(0x00, Address("\udcff\udcfe", 4242)), id="name-not-UTF-8"),
        pytest.param("05 00 01 01 00000000 0000", Reply(0x00), id="reserved-01"),
        pytest.param("05 04 00 03 03 'a.b' 1092", Reply(0x04, Address("a.b", 4242)), id="refusal-with-a-name"),
        *(
            pytest.param(f"05 {code:02X} 00 {UNSPECIFIED}", Reply(code), id=code.name)
            for code in ReplyCode
            if code is not ReplyCode.SUCCEEDED
        ),
        *(
            pytest.param(f"05 {code:02X} 00 {UNSPECIFIED}", Reply(code), id=f"unassigned-{code:02X}")
            for code in (0x09, 0x5B, 0xEF, 0xF8, 0xFF)
        ),
        # A refusal is clear without its address. Some servers zero it, ATYP too; what follows is not ours to read.
        pytest.param("05 01 00 00", Reply(0x01), id="refusal-with-ATYP-00"),
        pytest.param("05 F0 00 08", Reply(0xF0), id="refusal-with-ATYP-08"),
    ],
)
def test_heard_reply(feed: Feed, message: str, reply: Reply) -> None:
    answered = feed(client_at_request(), message)
    assert answered.reply == reply
    assert answered.state is State.DONE
    assert answered.data_to_send() == b""


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("05 04 00 03 00 0000", id="name-of-0-bytes"),
        pytest.param("05 04 00 03 01 00 0000", id="NUL-in-name"),
    ],
)
def test_a_refusal_is_clear_without_a_usable_address(message: str) -> None:
    play(client_at_request()).receive(message).expect_state(State.DONE).expect_reply(Reply(0x04))


@pytest.mark.parametrize(
    ("bound", "port"),
    [
        pytest.param("03 00 0000", 0, id="name-of-0-bytes"),
        pytest.param("03 00 1092", 4242, id="name-of-0-bytes-and-a-port"),
        pytest.param("03 02 'a' 00 1092", 4242, id="NUL-in-the-name"),
    ],
)
@three_ways
def test_a_grant_that_names_no_usable_place(feed: Feed, bound: str, port: int) -> None:
    asking = client_at_request()
    feed(asking, f"05 00 00 {bound}")
    assert asking.done
    assert asking.reply == Reply(0x00, Address("0.0.0.0", port))


def test_a_grant_without_a_usable_place_ends_where_the_stream_begins() -> None:
    asking = play(client_at_request()).receive("05 00 00 03 00 0050 'banner'")
    asking.expect_reply(Reply(0x00, Address("0.0.0.0", 80))).expect_trailing("'banner'").expect_state(State.DONE)


@pytest.mark.parametrize("command", [Command.RESOLVE, Command.RESOLVE_PTR])
def test_an_empty_name_answers_no_look_up(command: Command) -> None:
    asking = socks5.ClientHandshake(Request(Version.SOCKS5, command, Address("192.0.2.1", 0)))
    asking.receive_data(wire("05 00"))
    with pytest.raises(ProtocolError, match=r"^the host is empty$"):
        asking.receive_data(wire("05 00 00 03 00 0000"))


@three_ways
@pytest.mark.parametrize(
    ("message", "why"),
    [
        pytest.param("04", "the reply has version 4, not 5", id="version-04"),
        pytest.param("00", "the reply has version 0, not 5", id="SOCKS4-reply"),
        pytest.param("'H'", "the reply has version 72, not 5", id="HTTP"),
        pytest.param("05 00 00 00", "address type 0 is none of 1, 3 and 4", id="success-with-ATYP-00"),
        pytest.param("05 00 00 08", "address type 8 is none of 1, 3 and 4", id="success-with-ATYP-08"),
    ],
)
def test_no_reply(feed: Feed, message: str, why: str) -> None:
    asking = client_at_request()
    with pytest.raises(ProtocolError, match=f"^{why}$"):
        feed(asking, message)
    assert asking.data_to_send() == b""
    assert asking.state is State.FAILED


@pytest.mark.parametrize(
    "message", ["05 04", "05 04 00", "05 04 00 01", "05 04 00 01 00000000 00", "05 04 00 03 09 'a'"]
)
def test_a_refusal_cut_short_is_a_refusal(message: str) -> None:
    asking = play(client_at_request()).receive(message).expect_state(State.REQUEST)
    asking.receive_end().expect_state(State.DONE).expect_reply(Reply(0x04)).expect_trailing("")


@pytest.mark.parametrize("message", ["05", "05 00", "05 00 00 01 00000000 00"])
def test_anything_else_cut_short_is_an_error(message: str) -> None:
    asking = play(client_at_request()).receive(message).expect_state(State.REQUEST)
    asking.receive_end().expect_error(ProtocolError, "closed during the request").expect_state(State.FAILED)


def test_answers_that_come_before_their_questions() -> None:
    asking = client(CAROL).expect_send("05 02 00 02")
    asking.receive("05 02 01 00 05 00 00 01 C0000209 1092 'SSH-2.0'").expect_send(f"{CAROL_LOGS_IN} {REQUEST}")
    asking.expect_reply(Reply(0x00, Address("192.0.2.9", 4242))).expect_trailing("'SSH-2.0'").expect_state(State.DONE)
