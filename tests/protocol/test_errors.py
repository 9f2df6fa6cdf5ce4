"""The wire's errors, and the guess at what a peer speaks instead of SOCKS, in words fit for a log line."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header
from chainsocks.protocol.errors import (
    Cause,
    ChainsocksError,
    LoginRefused,
    ProtocolError,
    describe_opening,
    unexpected_opening,
)
from chainsocks.protocol.gssapi import Gssapi, MessageType, decode_message
from chainsocks.protocol.handshake import Handshake
from chainsocks.protocol.ident import decode_answer
from chainsocks.protocol.messages import (
    Command,
    Credentials,
    IsolationLogin,
    Method,
    Request,
    UsernamePassword,
    Version,
)
from chainsocks.protocol.pipelined import PipelinedHandshake
from tests.protocol.playbook import wire


@pytest.mark.parametrize(("leaf", "branch"), [(LoginRefused, ProtocolError), (ProtocolError, ChainsocksError)])
def test_a_branch_catches_its_leaves(leaf: type[ProtocolError], branch: type[Exception]) -> None:
    with pytest.raises(branch):
        raise leaf("why", Cause.LOGIN_REFUSED)


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deep", "pickle"],
)
@pytest.mark.parametrize("kind", [ProtocolError, LoginRefused])
def test_a_copy_has_the_message_and_the_cause(
    kind: type[ProtocolError], copied: Callable[[ProtocolError], ProtocolError]
) -> None:
    copy_of = copied(kind("why", Cause.MALFORMED))
    assert (type(copy_of), str(copy_of), copy_of.args, copy_of.cause) == (kind, "why", ("why",), Cause.MALFORMED)


@pytest.mark.parametrize(
    ("opening", "cause", "name", "shown"),
    [
        ("'HTTP/1.1 400 Bad Request' 0D0A", Cause.HTTP_RESPONSE, "an HTTP server's answer", "HTTP/1.1 400 Bad Request"),
        ("'GET / HTTP/1.1' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"GET / HTTP/1.1\r\n"),
        ("'POST /' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"POST /\r\n"),
        ("'HEAD /' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"HEAD /\r\n"),
        ("'PUT /' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"PUT /\r\n"),
        ("'DELETE /' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"DELETE /\r\n"),
        ("'OPTIONS *' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"OPTIONS *\r\n"),
        ("'PATCH /' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"PATCH /\r\n"),
        ("'TRACE /' 0D0A", Cause.HTTP_REQUEST, "HTTP", r"TRACE /\r\n"),
        ("'PRI * HTTP/2.0' 0D0A0D0A", Cause.HTTP_REQUEST, "HTTP", r"PRI * HTTP/2.0\r\n\r\n"),
        ("'CONNECT a:443 HTTP/1.1'", Cause.HTTP_CONNECT, "HTTP: a request to an HTTP proxy", "CONNECT a:443 HTTP/1.1"),
        ("16 0301 0200 01", Cause.TLS, "TLS", r"\x16\x03\x01\x02\x00\x01"),
        ("15 0303 0002 02 46", Cause.TLS_ALERT, "a TLS alert", r"\x15\x03\x03\x00\x02\x02F"),
        ("'SSH-2.0-OpenSSH_9.6' 0D0A", Cause.SSH, "SSH", r"SSH-2.0-OpenSSH_9.6\r\n"),
        ("'PROXY TCP4 192.0.2.1'", Cause.PROXY_PROTOCOL, "a PROXY protocol header", "PROXY TCP4 192.0.2.1"),
        ("0D0A0D0A 00 0D0A 'QUIT' 0A 21", Cause.PROXY_PROTOCOL, "a PROXY protocol header", r"\r\n\r\n\x00\r\nQUIT\n!"),
        ("'220 mail.example'", Cause.SMTP_OR_FTP, "SMTP or FTP", "220 mail.example"),
        ("'220-ftp.example'", Cause.SMTP_OR_FTP, "SMTP or FTP", "220-ftp.example"),
        ("'EHLO a'", Cause.SMTP_OR_FTP, "SMTP or FTP", "EHLO a"),
        ("'HELO a'", Cause.SMTP_OR_FTP, "SMTP or FTP", "HELO a"),
        ("03 00 0013", Cause.RDP, "RDP", r"\x03\x00\x00\x13"),
        ("00 5A 0000", Cause.SOCKS4_REPLY, "a SOCKS4 reply", r"\x00Z\x00\x00"),
        ("00 5B 0000", Cause.SOCKS4_REPLY, "a SOCKS4 reply", r"\x00[\x00\x00"),
        ("00 5C 0000", Cause.SOCKS4_REPLY, "a SOCKS4 reply", r"\x00\\x00\x00"),
        ("00 5D 0000", Cause.SOCKS4_REPLY, "a SOCKS4 reply", r"\x00]\x00\x00"),
        ("05 01 00", Cause.SOCKS5, "SOCKS5", r"\x05\x01\x00"),
        ("04 01 0050", Cause.SOCKS4, "SOCKS4", r"\x04\x01\x00P"),
        # Too little, or almost: no guess is better than a wrong one.
        ("00 5E 0000", Cause.NOT_SOCKS, "no known protocol", r"\x00^\x00\x00"),
        ("16 02", Cause.NOT_SOCKS, "no known protocol", r"\x16\x02"),
        ("'GETAWAY'", Cause.NOT_SOCKS, "no known protocol", "GETAWAY"),
        ("'xHTTP/1.1'", Cause.NOT_SOCKS, "no known protocol", "xHTTP/1.1"),
        ("'G'", Cause.NOT_SOCKS, "no known protocol", "G"),
        ("", Cause.NOT_SOCKS, "no known protocol", ""),
    ],
)
def test_an_opening_is_described(opening: str, cause: Cause, name: str, shown: str) -> None:
    assert describe_opening(wire(opening)) == (cause, f"looks like {name} ('{shown}')")


def test_only_the_opening_is_shown() -> None:
    assert describe_opening(b"x" * 25)[1] == f"looks like no known protocol ('{'x' * 24}')"


def test_a_peer_cannot_forge_a_log_line() -> None:
    assert describe_opening(b"\n\x1b[31m\x85\xff")[1].isprintable()


def test_the_error_has_the_guess_and_its_cause() -> None:
    error = unexpected_opening("this is not SOCKS", b"SSH-2.0")
    assert (str(error), error.cause) == ("this is not SOCKS; it looks like SSH ('SSH-2.0')", Cause.SSH)


# --- the cause of each way to break the protocol ----------------------------------------------------------------------

TARGET = Address("192.0.2.1", 80)
CAROL, CIRCUIT = UsernamePassword(b"carol", b"sesame"), IsolationLogin(b"circuit", b"1")


def client(credentials: Credentials | None = None) -> socks5.ClientHandshake:
    return socks5.ClientHandshake(Request(Version.SOCKS5, Command.CONNECT, TARGET, credentials))


def client4() -> socks4.ClientHandshake:
    return socks4.ClientHandshake(Request(Version.SOCKS4, Command.CONNECT, TARGET))


def pipelined(credentials: Credentials | None = None) -> PipelinedHandshake:
    return PipelinedHandshake(Request(Version.SOCKS5, Command.CONNECT, TARGET, credentials))


def server(method: Method = Method.NO_AUTHENTICATION_REQUIRED) -> socks5.ServerHandshake:
    return socks5.ServerHandshake([method])


def feed(make: Callable[..., Handshake], *arguments: object) -> Callable[[bytes], object]:
    return lambda data: make(*arguments).receive_data(data)


def answer(data: bytes) -> object:
    return decode_answer(data, 6193, 23)


@pytest.mark.parametrize(
    ("receive", "script", "cause"),
    [
        (feed(socks4.ServerHandshake), "05 01 0050 C0000201", Cause.SOCKS5),
        (feed(socks4.ServerHandshake), "04 07 0050 C0000201", Cause.UNKNOWN_COMMAND),
        (feed(socks4.ServerHandshake), "04 01 0050 C0000201 'f'*513", Cause.TOO_LONG),
        (feed(socks4.ServerHandshake), "04 01 0050 00000001 00 00", Cause.MALFORMED),
        (feed(client4), "05 00", Cause.SOCKS5),
        (feed(client4), "00 07", Cause.MALFORMED),
        (feed(server), "'GET / HTTP/1.1'", Cause.HTTP_REQUEST),
        (feed(server), "05 01 02", Cause.NO_ACCEPTABLE_METHOD),
        (feed(server, Method.USERNAME_PASSWORD), "05 01 02 05", Cause.WRONG_VERSION),
        (feed(server), "05 01 00 04", Cause.WRONG_VERSION),
        (feed(server), "05 01 00 05 09 00 01", Cause.UNKNOWN_COMMAND),
        (feed(server), "05 01 00 05 01 00 02", Cause.UNKNOWN_ADDRESS_TYPE),
        (feed(server), "05 01 00 05 01 00 03 00 0050", Cause.MALFORMED),
        (feed(server, Method.GSSAPI), "05 01 01 02", Cause.WRONG_VERSION),
        (feed(server, Method.GSSAPI), "05 01 01 01 02", Cause.MALFORMED),
        (feed(client), "'SSH-2.0'", Cause.SSH),
        (feed(client), "05 FF", Cause.LOGIN_REQUIRED),
        (feed(client), "05 02", Cause.LOGIN_REQUIRED),
        (feed(client), "05 80", Cause.WRONG_METHOD),
        (feed(client, CAROL), "05 FF", Cause.NO_ACCEPTABLE_METHOD),
        (feed(client, CIRCUIT), "05 FF", Cause.NO_ACCEPTABLE_METHOD),
        (feed(client, Gssapi()), "05 FF", Cause.NO_ACCEPTABLE_METHOD),
        (feed(client, Gssapi()), "05 02", Cause.WRONG_METHOD),
        (feed(client, CAROL), "05 02 02 00", Cause.WRONG_VERSION),
        (feed(client, CAROL), "05 02 01 01", Cause.LOGIN_REFUSED),
        (feed(client), "05 00 04", Cause.WRONG_VERSION),
        (feed(client), "05 00 05 00 00 02", Cause.UNKNOWN_ADDRESS_TYPE),
        (feed(pipelined, CAROL), "05 00", Cause.WRONG_METHOD),
        (feed(pipelined, CAROL), "05 FF", Cause.NO_ACCEPTABLE_METHOD),
        (feed(client), "", Cause.CLOSED),
        (answer, "'HTTP/1.1 400' 0A", Cause.HTTP_RESPONSE),
        (answer, "'6193, 24 : USERID : UNIX : fred' 0A", Cause.MISMATCH),
        (answer, "'6193, 23 : HELLO : UNIX : fred' 0A", Cause.NOT_SOCKS),
        (answer, "'f'*1002", Cause.TOO_LONG),
        (decode_header, "00 00 00", Cause.MALFORMED),
        (decode_header, "0000 00 02 C0000201 0050", Cause.UNKNOWN_ADDRESS_TYPE),
        (decode_header, "0000 00 01 C0000201 00", Cause.MALFORMED),
        (decode_header, "0000 00 03 00 0050", Cause.MALFORMED),
        (lambda data: decode_message(data, MessageType.DATA), "01 FF", Cause.GSSAPI_ABORTED),
    ],
)
def test_each_breach_of_the_protocol_has_its_cause(
    receive: Callable[[bytes], object], script: str, cause: Cause
) -> None:
    with pytest.raises(ProtocolError) as caught:
        receive(wire(script))
    assert caught.value.cause is cause
