"""A guess at what a peer speaks when it does not speak SOCKS, for the people who read the log."""

from __future__ import annotations

from chainsocks.protocol.address import printable

__all__ = ["guess"]

_OPENINGS = (
    ((b"HTTP/",), "an HTTP server's answer"),
    ((b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"PRI * "), "HTTP"),
    ((b"CONNECT ",), "HTTP: a request to an HTTP proxy"),
    ((b"\x16\x03",), "TLS"),
    ((b"\x15\x03",), "a TLS alert"),
    ((b"SSH-",), "SSH"),
    ((b"PROXY ", b"\r\n\r\n\x00\r\nQUIT\n"), "a PROXY protocol header"),
    ((b"220 ", b"220-", b"EHLO ", b"HELO "), "SMTP or FTP"),
    ((b"\x03\x00",), "RDP"),
    ((b"\x00\x5a", b"\x00\x5b", b"\x00\x5c", b"\x00\x5d"), "a SOCKS4 reply"),
    ((b"\x05",), "SOCKS5"),
    ((b"\x04",), "SOCKS4"),
)


def guess(data: bytes) -> str:
    """Describe the opening bytes of a stranger: ``looks like HTTP ('GET / HTTP/1.1')``."""
    shown = printable(data[:24].decode("latin-1"))
    for openings, name in _OPENINGS:
        if data.startswith(openings):
            return f"looks like {name} ('{shown}')"
    return f"looks like nothing we know ('{shown}')"
