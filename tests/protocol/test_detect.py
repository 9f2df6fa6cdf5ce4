"""One port for every protocol: the first bytes decide, and none of them is taken."""

from __future__ import annotations

import pytest

from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.handshake import ServerHandshake, State
from chainsocks.protocol.http_proxy import HttpServerHandshake
from chainsocks.protocol.messages import Method
from tests.protocol.playbook import play, wire

OPEN = (Method.NO_AUTHENTICATION_REQUIRED,)
PRIVATE = (Method.USERNAME_PASSWORD,)


@pytest.mark.parametrize(
    ("opening", "handshake", "state"),
    [
        ("04", socks4.ServerHandshake, State.REQUEST),
        ("04 01 0050 C0000201 00", socks4.ServerHandshake, State.REQUEST),
        ("05", socks5.ServerHandshake, State.METHOD_NEGOTIATION),
        ("05 01 00", socks5.ServerHandshake, State.METHOD_NEGOTIATION),
        ("'C'", HttpServerHandshake, State.REQUEST),
        ("'CONNECT a:443 HTTP/1.1' 0D0A", HttpServerHandshake, State.REQUEST),
        ("'GET / HTTP/1.1' 0D0A", HttpServerHandshake, State.REQUEST),
    ],
)
def test_the_first_bytes_decide(opening: str, handshake: type[ServerHandshake], state: State) -> None:
    detected = server_handshake(wire(opening), OPEN)
    assert type(detected) is handshake
    play(detected).expect_state(state).expect_trailing("")


@pytest.mark.parametrize(("methods", "answer"), [(OPEN, "05 00"), (PRIVATE, "05 02"), ((*PRIVATE, *OPEN), "05 02")])
def test_socks5_accepts_the_methods_it_is_given(methods: tuple[Method, ...], answer: str) -> None:
    play(server_handshake(b"\x05", methods)).receive("05 02 00 02").expect_send(answer)


@pytest.mark.parametrize(
    ("opening", "guess"),
    [
        ("'HTTP/1.1 200 OK' 0D0A", "looks like an HTTP server's answer"),
        ("'CONECT a:443 HTTP/1.1'", "looks like no known protocol"),
        ("'PROXY TCP4 '", "looks like a PROXY protocol header"),
        ("16 0301 0200 01", "looks like TLS"),
        ("'SSH-2.0-OpenSSH_9.6'", "looks like SSH"),
        ("00 5A", "looks like a SOCKS4 reply"),
        ("06", "looks like no known protocol"),
        ("00", "looks like no known protocol"),
    ],
)
def test_other_protocols_are_named(opening: str, guess: str) -> None:
    with pytest.raises(ProtocolError, match=f"^this is neither SOCKS nor HTTP; it {guess} "):
        server_handshake(wire(opening), OPEN)


@pytest.mark.parametrize(
    ("opening", "answer", "version"),
    [
        ("05 01 00", "05 FF", "SOCKS5"),
        ("05", "05 FF", "SOCKS5"),
        ("04 01 0050 C0000201 00", "00 5B 000000000000", "SOCKS4"),
    ],
)
def test_socks_is_refused_where_only_http_is_spoken(opening: str, answer: str, version: str) -> None:
    handshake = server_handshake(wire(opening), OPEN, http_only=True)
    with pytest.raises(ProtocolError, match=f"^this listener takes HTTP only .*; it looks like {version} "):
        handshake.receive_data(wire(opening))
    assert handshake.data_to_send() == wire(answer)
    assert handshake.state is State.FAILED


def test_http_is_spoken_where_only_http_is_spoken() -> None:
    assert type(server_handshake(b"GET http://", OPEN, http_only=True)) is HttpServerHandshake
    with pytest.raises(ProtocolError, match=r"^this is neither SOCKS nor HTTP"):
        server_handshake(b"SSH-2.0", OPEN, http_only=True)
