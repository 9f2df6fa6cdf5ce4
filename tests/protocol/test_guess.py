"""Strangers at the door: what they seem to speak, in words fit for a log line."""

from __future__ import annotations

import pytest

from chainsocks.protocol.guess import guess
from tests.protocol.playbook import wire


@pytest.mark.parametrize(
    ("opening", "name", "shown"),
    [
        ("'HTTP/1.1 400 Bad Request' 0D0A", "an HTTP server's answer", "HTTP/1.1 400 Bad Request"),
        ("'GET / HTTP/1.1' 0D0A", "HTTP", r"GET / HTTP/1.1\r\n"),
        ("'POST /' 0D0A", "HTTP", r"POST /\r\n"),
        ("'HEAD /' 0D0A", "HTTP", r"HEAD /\r\n"),
        ("'PUT /' 0D0A", "HTTP", r"PUT /\r\n"),
        ("'DELETE /' 0D0A", "HTTP", r"DELETE /\r\n"),
        ("'OPTIONS *' 0D0A", "HTTP", r"OPTIONS *\r\n"),
        ("'PATCH /' 0D0A", "HTTP", r"PATCH /\r\n"),
        ("'TRACE /' 0D0A", "HTTP", r"TRACE /\r\n"),
        ("'PRI * HTTP/2.0' 0D0A0D0A", "HTTP", r"PRI * HTTP/2.0\r\n\r\n"),
        ("'CONNECT a:443 HTTP/1.1'", "HTTP: a request to an HTTP proxy", "CONNECT a:443 HTTP/1.1"),
        ("16 0301 0200 01", "TLS", r"\x16\x03\x01\x02\x00\x01"),
        ("15 0303 0002 02 46", "a TLS alert", r"\x15\x03\x03\x00\x02\x02F"),
        ("'SSH-2.0-OpenSSH_9.6' 0D0A", "SSH", r"SSH-2.0-OpenSSH_9.6\r\n"),
        ("'PROXY TCP4 192.0.2.1'", "a PROXY protocol header", "PROXY TCP4 192.0.2.1"),
        ("0D0A0D0A 00 0D0A 'QUIT' 0A 21", "a PROXY protocol header", r"\r\n\r\n\x00\r\nQUIT\n!"),
        ("'220 mail.example'", "SMTP or FTP", "220 mail.example"),
        ("'220-ftp.example'", "SMTP or FTP", "220-ftp.example"),
        ("'EHLO a'", "SMTP or FTP", "EHLO a"),
        ("'HELO a'", "SMTP or FTP", "HELO a"),
        ("03 00 0013", "RDP", r"\x03\x00\x00\x13"),
        ("00 5A 0000", "a SOCKS4 reply", r"\x00Z\x00\x00"),
        ("00 5B 0000", "a SOCKS4 reply", r"\x00[\x00\x00"),
        ("00 5C 0000", "a SOCKS4 reply", r"\x00\\x00\x00"),
        ("00 5D 0000", "a SOCKS4 reply", r"\x00]\x00\x00"),
        ("05 01 00", "SOCKS5", r"\x05\x01\x00"),
        ("04 01 0050", "SOCKS4", r"\x04\x01\x00P"),
        # Too little, or almost: no guess is better than a wrong one.
        ("00 5E 0000", "nothing we know", r"\x00^\x00\x00"),
        ("16 02", "nothing we know", r"\x16\x02"),
        ("'GETAWAY'", "nothing we know", "GETAWAY"),
        ("'xHTTP/1.1'", "nothing we know", "xHTTP/1.1"),
        ("'G'", "nothing we know", "G"),
        ("", "nothing we know", ""),
    ],
)
def test_guess(opening: str, name: str, shown: str) -> None:
    assert guess(wire(opening)) == f"looks like {name} ('{shown}')"


def test_only_the_opening_is_shown() -> None:
    assert guess(b"x" * 25) == f"looks like nothing we know ('{'x' * 24}')"


def test_a_stranger_cannot_forge_a_log_line() -> None:
    assert guess(b"\n\x1b[31m\x85\xff").isprintable()
