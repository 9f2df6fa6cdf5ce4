"""SOCKS4 and SOCKS4a, both roles: Ying-Da Lee's two memos, as bytes.

request   VN CD DSTPORT DSTIP USERID NULL [ HOST NULL ]     the host when DSTIP is 0.0.0.x, x not zero
reply     VN CD DSTPORT DSTIP
"""

from __future__ import annotations

import pytest

from chainsocks.protocol import socks4
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import (
    Command,
    IdentCode,
    Reply,
    ReplyCode,
    Request,
    UserId,
    UsernamePassword,
    Version,
)
from tests.protocol.playbook import Feed, play, three_ways, wire

REJECTED = "00 5B 0000 00000000"


def ask(
    host: str, port: int, user_id: bytes = b"", command: Command = Command.CONNECT, version: Version = Version.SOCKS4
) -> Request:
    return Request(version, command, Address(host, port), UserId(user_id) if user_id else None)


# --- the server hears a request ---------------------------------------------------------------------------------------


@three_ways
@pytest.mark.parametrize(
    ("message", "request_"),
    [
        pytest.param("04 01 0050 C0000201 00", ask("192.0.2.1", 80), id="connect"),
        pytest.param("04 02 0050 C0000201 00", ask("192.0.2.1", 80, command=Command.BIND), id="bind"),
        pytest.param("04 01 0050 C0000201 'fred' 00", ask("192.0.2.1", 80, b"fred"), id="user-id"),
        pytest.param("04 01 0050 C0000201 FF80 00", ask("192.0.2.1", 80, b"\xff\x80"), id="user-id-not-UTF-8"),
        pytest.param("04 01 0050 C0000201 'f'*512 00", ask("192.0.2.1", 80, b"f" * 512), id="user-id-of-512-bytes"),
        pytest.param("04 01 0000 C0000201 00", ask("192.0.2.1", 0), id="port-0"),
        pytest.param("04 01 FFFF C0000201 00", ask("192.0.2.1", 65535), id="port-65535"),
        pytest.param("04 02 0000 00000000 00", ask("0.0.0.0", 0, command=Command.BIND), id="0.0.0.0-is-no-4a"),
        pytest.param("04 01 0050 00000101 00", ask("0.0.1.1", 80), id="0.0.1.1-is-no-4a"),
        pytest.param("04 01 0050 00010001 00", ask("0.1.0.1", 80), id="0.1.0.1-is-no-4a"),
        pytest.param("04 01 0050 01000001 00", ask("1.0.0.1", 80), id="1.0.0.1-is-no-4a"),
        pytest.param("04 01 01BB 00000001 00 'example.org' 00", ask("example.org", 443), id="4a"),
        pytest.param("04 01 01BB 000000FF 00 'example.org' 00", ask("example.org", 443), id="4a-0.0.0.255"),
        pytest.param("04 01 01BB 00000001 'fred' 00 'a.b' 00", ask("a.b", 443, b"fred"), id="4a-user-id"),
        pytest.param("04 02 01BB 00000001 00 'a.b' 00", ask("a.b", 443, command=Command.BIND), id="4a-bind"),
        pytest.param("04 F0 0000 00000001 00 'a.b' 00", ask("a.b", 0, command=Command.RESOLVE), id="4a-resolve"),
        pytest.param("04 01 01BB 00000001 00 'n' 00", ask("n", 443), id="4a-name-of-1-byte"),
        pytest.param("04 01 01BB 00000001 00 'n'*255 00", ask("n" * 255, 443), id="4a-name-of-255-bytes"),
        pytest.param(
            "04 01 01BB 00000001 'f'*512 00 'n'*255 00", ask("n" * 255, 443, b"f" * 512), id="4a-both-at-their-limits"
        ),
        pytest.param("04 01 01BB 00000001 00 FFFE 00", ask("\udcff\udcfe", 443), id="4a-name-not-UTF-8"),
        pytest.param("04 01 01BB 00000001 00 '192.0.2.1' 00", ask("192.0.2.1", 443), id="4a-name-spells-IPv4"),
        pytest.param("04 01 01BB 00000001 00 '::1' 00", ask("::1", 443), id="4a-name-spells-IPv6"),
    ],
)
def test_request(feed: Feed, message: str, request_: Request) -> None:
    server = feed(socks4.ServerHandshake(), message)
    assert server.request == request_
    assert server.state is State.REPLY
    assert server.data_to_send() == b""


def test_a_name_keeps_its_bytes() -> None:
    server = socks4.ServerHandshake()
    server.receive_data(wire("04 01 01BB 00000001 00 'b' FCFF 'cher' 00"))
    destination = server.request.destination
    assert (destination.type, destination.packed) == (AddressType.DOMAINNAME, b"b\xfc\xffcher")


@three_ways
@pytest.mark.parametrize(
    ("message", "why"),
    [
        pytest.param("04 00 0050 C0000201", "SOCKS4 has no command 0", id="command-00"),
        pytest.param("04 03 0050 C0000201", "SOCKS4 has no command 3", id="udp-associate"),
        pytest.param("04 07 0050 C0000201", "SOCKS4 has no command 7", id="command-07"),
        pytest.param("04 F1 0000 C0000201", "SOCKS4 has no command 241", id="resolve-ptr"),
        pytest.param("04 01 0050 C0000201 'f'*513", "user id is longer than 512 bytes", id="user-id-of-513-bytes"),
        pytest.param("04 01 0050 00000001 'f'*513", "user id is longer than 512 bytes", id="4a-user-id-of-513-bytes"),
        pytest.param("04 01 0050 00000001 00 'n'*256", "host name is longer than 255 bytes", id="4a-name-of-256-bytes"),
        pytest.param(
            "04 01 0050 00000001 'fred' 00 'n'*256", "host name is longer than 255 bytes", id="4a-name-after-a-user-id"
        ),
        pytest.param("04 01 0050 00000001 00 00", "SOCKS4a request: the host is empty", id="4a-name-of-0-bytes"),
    ],
)
def test_refused_request(feed: Feed, message: str, why: str) -> None:
    server = socks4.ServerHandshake()
    with pytest.raises(ProtocolError, match=why):
        feed(server, message, behind="00 'a.b' 00")  # the end that a string too long was waiting for
    assert server.data_to_send() == wire(REJECTED)
    assert server.state is State.FAILED


@three_ways
def test_another_protocol_gets_no_answer(feed: Feed) -> None:
    server = socks4.ServerHandshake()
    with pytest.raises(ProtocolError, match=r"^the first byte is not SOCKS4's; it looks like HTTP"):
        feed(server, "'GET / HT'")
    assert server.data_to_send() == b""
    assert server.state is State.FAILED


# --- the server replies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "message", "state"),
    [
        pytest.param(Reply(0x00), "00 5A 0000 00000000", State.DONE, id="granted"),
        pytest.param(Reply(0x00, Address("192.0.2.9", 4242)), "00 5A 1092 C0000209", State.DONE, id="address"),
        # DSTIP has room for IPv4 only; the port is sent all the same.
        pytest.param(Reply(IdentCode.IDENTD_MISSING), "00 5C 0000 00000000", State.FAILED, id="no-identd"),
        pytest.param(Reply(IdentCode.IDENTD_DIFFERS), "00 5D 0000 00000000", State.FAILED, id="another-user-id"),
        pytest.param(Reply(0x00, Address("2001:db8::1", 4242)), "00 5A 1092 00000000", State.DONE, id="IPv6-address"),
        pytest.param(Reply(0x00, Address("a.example", 4242)), "00 5A 1092 00000000", State.DONE, id="name"),
        *(
            pytest.param(Reply(code), "00 5B 0000 00000000", State.FAILED, id=code.name)
            for code in ReplyCode
            if code is not ReplyCode.SUCCEEDED
        ),
        pytest.param(Reply(0x5A), "00 5B 0000 00000000", State.FAILED, id="unassigned"),
    ],
)
def test_reply(reply: Reply, message: str, state: State) -> None:
    server = play(socks4.ServerHandshake()).receive("04 01 0050 C0000201 00").expect_state(State.REPLY)
    server.reply(reply).expect_send(message).expect_state(state)


# --- the client asks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        pytest.param(ask("192.0.2.1", 80), "04 01 0050 C0000201 00", id="connect"),
        pytest.param(ask("192.0.2.1", 80, command=Command.BIND), "04 02 0050 C0000201 00", id="bind"),
        pytest.param(ask("192.0.2.1", 80, b"fred"), "04 01 0050 C0000201 'fred' 00", id="user-id"),
        pytest.param(ask("192.0.2.1", 80, b"f" * 512), "04 01 0050 C0000201 'f'*512 00", id="user-id-of-512-bytes"),
        pytest.param(ask("0.0.0.0", 0), "04 01 0000 00000000 00", id="0.0.0.0"),
        pytest.param(ask("0.0.1.1", 80), "04 01 0050 00000101 00", id="0.0.1.1"),
        pytest.param(ask("example.org", 443), "04 01 01BB 00000001 00 'example.org' 00", id="4a"),
        pytest.param(ask("a.b", 443, b"fred"), "04 01 01BB 00000001 'fred' 00 'a.b' 00", id="4a-user-id"),
        pytest.param(ask("a.b", 0, command=Command.RESOLVE), "04 F0 0000 00000001 00 'a.b' 00", id="4a-resolve"),
        pytest.param(ask("n" * 255, 443), "04 01 01BB 00000001 00 'n'*255 00", id="4a-name-of-255-bytes"),
        pytest.param(ask("\udcff\udcfe", 443), "04 01 01BB 00000001 00 FFFE 00", id="4a-name-not-UTF-8"),
        pytest.param(
            Request(Version.SOCKS4, Command.CONNECT, Address("192.0.2.1", 80), UsernamePassword(b"carol", b"sesame")),
            "04 01 0050 C0000201 00",
            id="a-SOCKS5-login-is-no-user-id",
        ),
        pytest.param(
            ask("192.0.2.1", 80, version=Version.SOCKS5), "04 01 0050 C0000201 00", id="a-request-that-came-as-SOCKS5"
        ),
    ],
)
def test_request_on_the_wire(request_: Request, message: str) -> None:
    play(socks4.ClientHandshake(request_)).expect_send(message).expect_state(State.REQUEST)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        pytest.param(ask("2001:db8::1", 80), "SOCKS4 cannot carry the IPv6 address 2001:db8::1", id="IPv6"),
        pytest.param(ask("192.0.2.1", 80, b"f" * 513), "a SOCKS4 user id has at most 512 bytes", id="user-id-too-long"),
        pytest.param(ask("192.0.2.1", 80, b"f\0"), "and no NUL", id="NUL-in-user-id"),
        # On the wire 0.0.0.x means that a name follows: the proxy would wait for it.
        pytest.param(ask("0.0.0.1", 80), "SOCKS4 cannot carry", id="0.0.0.1-would-be-4a"),
        pytest.param(ask("0.0.0.255", 80), "SOCKS4 cannot carry", id="0.0.0.255-would-be-4a"),
        pytest.param(ask("192.0.2.1", 80, command=Command.UDP_ASSOCIATE), "SOCKS4 has no", id="udp-associate"),
        pytest.param(ask("192.0.2.1", 80, command=Command.RESOLVE_PTR), "SOCKS4 has no", id="resolve-ptr"),
    ],
)
def test_what_socks4_cannot_ask(request_: Request, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        socks4.ClientHandshake(request_)


@pytest.mark.parametrize("user_id", [b"sesame" * 100, b"sesame\0"])
def test_an_unusable_user_id_is_not_shown(user_id: bytes) -> None:
    with pytest.raises(ValueError, match="user id") as error:
        socks4.ClientHandshake(ask("192.0.2.1", 80, user_id))
    assert "sesame" not in str(error.value)


# --- the client hears the reply ---------------------------------------------------------------------------------------


def client() -> socks4.ClientHandshake:
    asking = socks4.ClientHandshake(ask("192.0.2.1", 80))
    asking.data_to_send()
    return asking


@three_ways
@pytest.mark.parametrize(
    ("message", "reply"),
    [
        pytest.param("00 5A 0000 00000000", Reply(ReplyCode.SUCCEEDED), id="90-granted"),
        pytest.param("00 5A 1092 C0000209", Reply(ReplyCode.SUCCEEDED, Address("192.0.2.9", 4242)), id="address"),
        pytest.param("00 5B 0000 00000000", Reply(ReplyCode.GENERAL_FAILURE), id="91-rejected"),
        pytest.param("00 5C 0000 00000000", Reply(IdentCode.IDENTD_MISSING), id="92-no-identd"),
        pytest.param("00 5D 0000 00000000", Reply(IdentCode.IDENTD_DIFFERS), id="93-another-user-id"),
        pytest.param(
            "00 5B 1092 C0000209", Reply(ReplyCode.GENERAL_FAILURE, Address("192.0.2.9", 4242)), id="91-address"
        ),
    ],
)
def test_heard_reply(feed: Feed, message: str, reply: Reply) -> None:
    answered = feed(client(), message)
    assert answered.reply == reply
    assert answered.state is State.DONE
    assert answered.data_to_send() == b""


@three_ways
@pytest.mark.parametrize(
    ("message", "why"),
    [
        pytest.param("04", "this is not a SOCKS4 reply; it looks like SOCKS4", id="version-4"),
        pytest.param("05", "this is not a SOCKS4 reply; it looks like SOCKS5", id="SOCKS5"),
        pytest.param("00 59", r"89 is not a SOCKS4 reply code \(90\.\.93\)", id="code-89"),
        pytest.param("00 5E", r"94 is not a SOCKS4 reply code \(90\.\.93\)", id="code-94"),
        pytest.param("00 00", r"0 is not a SOCKS4 reply code \(90\.\.93\)", id="code-00"),
    ],
)
def test_no_reply(feed: Feed, message: str, why: str) -> None:
    asking = client()
    with pytest.raises(ProtocolError, match=why):
        feed(asking, message)
    assert asking.state is State.FAILED
    assert asking.data_to_send() == b""


@pytest.mark.parametrize(
    ("opening", "guess"),
    [
        ("'HTTP/1.1 400 Bad Request' 0D0A", r"an HTTP server's answer \('HTTP/1.1 400 Bad Request'\)"),
        ("'SSH-2.0-OpenSSH_9.6' 0D0A", "SSH"),
        ("15 0303 0002 02 46", "a TLS alert"),
        ("'220 mail.example' 0D0A", "SMTP or FTP"),
        ("05 FF", "SOCKS5"),
    ],
)
def test_other_protocols_are_named(opening: str, guess: str) -> None:
    play(client()).receive(opening).expect_error(ProtocolError, f"it looks like {guess}")
