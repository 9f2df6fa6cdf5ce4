"""The wire's errors, and the guess at what a peer speaks instead of SOCKS, in words fit for a log line."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from chainsocks.protocol.errors import (
    Cause,
    ChainsocksError,
    LoginRefused,
    ProtocolError,
    describe_opening,
    not_socks,
)
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
    error = not_socks("this is not SOCKS", b"SSH-2.0")
    assert (str(error), error.cause) == ("this is not SOCKS; it looks like SSH ('SSH-2.0')", Cause.SSH)
