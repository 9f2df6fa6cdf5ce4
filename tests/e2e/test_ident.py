"""SOCKS4 clients whose machine has an identd, or has none: curl, an identd of a few lines, and all that comes of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from chainsocks.session.ident import IDENT_PORT
from tests.e2e import targets
from tests.e2e.curl import PROXY_FAILED, Curl
from tests.e2e.programs import loopback_host
from tests.e2e.servers import chainsocks
from tests.e2e.targets import PAGE, serving

CLIENT = loopback_host()
"""An address of this machine that no other client has."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may listen on identd's port")


def identd(user: str) -> targets.Handler:
    """An identd whose machine has one user."""

    def answer(sock: socket.socket) -> None:
        with sock.makefile("rb") as lines:
            ports = lines.readline().decode().strip()
        sock.sendall(f"{ports} : USERID : UNIX : {user}\r\n".encode())

    return answer


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with serving(targets.page) as (host, port):
        yield f"http://{host}:{port}/"


@needs_root
@pytest.mark.parametrize(
    ("rule", "user", "reply"),
    [
        ("require", "fred", "00"),
        ("require", "barney", "5D"),
        ("require", None, "5C"),
        ("check", "fred", "00"),
        ("check", "barney", "5D"),
        ("check", None, "00"),
        ("off", "barney", "00"),
    ],
)
def test_who_is_let_in(rule: str, user: str | None, reply: str, page: str, curl: Curl) -> None:
    with chainsocks(server_lines=[f'ident = "{rule}"']) as server:
        options = ["--interface", CLIENT, "--proxy", f"socks4://fred@{server.listeners[0]}", page]
        if user:
            with serving(identd(user), CLIENT, IDENT_PORT):
                answer = curl(*options)
        else:
            answer = curl(*options)
        line = server.session(answer.client)
    assert f" reply={reply} " in line
    assert (answer.status, answer.page) == ((0, PAGE) if reply == "00" else (PROXY_FAILED, b""))
    if reply != "00":
        assert "identd" in answer.complaint
