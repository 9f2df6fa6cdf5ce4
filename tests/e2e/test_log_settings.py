"""The log of a server as `[log]` wants it: in either format, without clients, and without many lines of one kind."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from chainsocks.config.passwords import hash_password
from chainsocks.observe.log_repeats import FIRST
from tests.e2e import targets
from tests.e2e.programs import PATIENCE, SocketAddress, free_address, loopback_host
from tests.e2e.servers import Chainsocks
from tests.e2e.targets import serving
from tests.e2e.wire import (
    BIND,
    CONNECT,
    UDP_ASSOCIATE,
    ask_socks5,
    connect,
    read,
    read_to_end,
    socks5_login,
    socks5_request,
)

CLIENT, DESTINATION, STRANGER = loopback_host(), loopback_host(), loopback_host()
TOLD = "203.0.113.77"
"""The client that a load balancer tells of."""
NAME, USER, WRONG_USER = "canary-name.invalid", "canary-user", "canary-guest"
RESOLVE, RESOLVE_PTR = 0xF0, 0xF1
REFUSED = 5
"""The reply that the destination has refused the connection."""

CANARIES = (CLIENT, DESTINATION, STRANGER, TOLD, NAME, USER, WRONG_USER, "canary")


class Visitor:
    """A client, which does what leaves something in the log."""

    def __init__(self, server: SocketAddress) -> None:
        self._server = server

    def say(self, *messages: bytes, user: str = USER, command: int = 0, to: SocketAddress = ("", 0)) -> bytes:
        """Log in, make a request if there is a `command`, and return all that comes back."""
        with socket.create_connection(self._server, PATIENCE, (CLIENT, 0)) as sock, suppress(ConnectionError):
            for message in messages or (b"\x05\x01\x02", socks5_login(user, "open sesame")):
                sock.sendall(message)
                read(sock, 2)
            if command:
                sock.sendall(socks5_request(to, command))
                head = read(sock, 10)
                if command == BIND and head[1:2] == b"\0":
                    port = int.from_bytes(head[8:])
                    socket.create_connection((socket.inet_ntoa(head[4:8]), port), PATIENCE, (STRANGER, 0)).close()
            sock.shutdown(socket.SHUT_WR)
            return read_to_end(sock)
        return b""


def mute(sock: socket.socket) -> None:
    """Accept, and never answer."""
    read_to_end(sock)


def visit(visitor: Visitor, target: SocketAddress) -> None:
    nothing = (DESTINATION, free_address()[1])
    visitor.say(command=CONNECT, to=target)
    visitor.say(command=CONNECT, to=nothing)
    visitor.say(command=CONNECT, to=(NAME, 80))
    visitor.say(command=RESOLVE, to=(NAME, 0))
    visitor.say(command=RESOLVE_PTR, to=nothing)
    visitor.say(command=RESOLVE_PTR, to=(NAME, 0))
    visitor.say(command=BIND, to=nothing)
    visitor.say(command=UDP_ASSOCIATE, to=nothing)
    visitor.say(f"SSH-2.0-{USER}\r\n".encode())
    visitor.say(f"GET http://{NAME}/ HTTP/1.1\r\n\r\n".encode())
    login = base64.b64encode(f"{USER}:open sesame".encode()).decode()
    head = f"CONNECT {NAME}:80 HTTP/1.1\r\nHost: {NAME}:80\r\nProxy-Authorization: Basic {login}\r\n\r\n"
    visitor.say(head.encode())
    rest = f"HTTP/1.1\r\nHost: {NAME}\r\nProxy-Authorization: Basic {login}\r\nTransfer-Encoding: chunked\r\n\r\n"
    for url in (f"http://{target[0]}:{target[1]}/{NAME}", f"http://{NAME}/", f"{NAME}://{NAME}/", f"/{NAME}"):
        visitor.say(f"POST {url} {rest}0\r\n\r\n".encode())
        visitor.say(f"POST {url} {rest}{NAME}\r\n".encode())
    visitor.say(user=WRONG_USER)


def visit_behind_a_load_balancer(visitor: Visitor, target: SocketAddress) -> None:
    header = f"PROXY TCP4 {TOLD} 192.0.2.1 40000 1080\r\n".encode()
    request = b"\x05\x01\x02" + socks5_login(USER, "open sesame") + socks5_request(target)
    visitor.say(header + request)
    visitor.say(f"PROXY TCP4 {TOLD} {NAME}\r\n".encode())
    visitor.say(socks5_request(target))


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize(
    "privacy",
    [
        pytest.param("full", id="private"),
        pytest.param("none", id="not-private"),
    ],
)
def test_a_private_log_names_no_client_user_or_destination(tmp_path: Path, form: str, privacy: str) -> None:
    config = tmp_path / "chainsocks.toml"
    with serving(mute) as silent, serving(targets.page, DESTINATION) as target:
        dead = free_address()
        config.write_text(f"""
            [server]
            listen = [
                {{ address = "127.0.0.1:0", names_only = "warn" }},
                {{ address = "127.0.0.1:0", proxy_protocol = ["{CLIENT}"] }},
            ]
            [log]
            format = "{form}"
            privacy = "{privacy}"
            [timeouts]
            hop = 0.2
            bind = 0.2
            [hops]
            dead = "socks5://{dead[0]}:{dead[1]}"
            silent = "socks5://{silent[0]}:{silent[1]}"
            [groups.exits]
            hops = ["dead", "silent"]
            [chains]
            default = ["exits"]
            [[rules]]
            to = ["127.0.0.0/8"]
            resolve = true
            chain = "direct"
            [[users]]
            name = "{USER}"
            password_hash = "{hash_password(b"open sesame")}"
        """)
        server = Chainsocks(config, {}, "-v")
        try:
            ports = server.wait_for(r"listening on 127.0.0.1:(\d+), 127.0.0.1:(\d+)").groups()
            visit(Visitor(("127.0.0.1", int(ports[0]))), target)
            visit_behind_a_load_balancer(Visitor(("127.0.0.1", int(ports[1]))), target)
        finally:
            status = server.stop()
    assert status == 0
    found = [canary for canary in CANARIES if canary in server.said]
    if privacy == "none":
        assert {*CANARIES} - {*found} == {WRONG_USER}, "the name of a login that is wrong is in no log"
        return
    assert found == []
    for still_there in ("hop dead (1 of 1)", "connection refused", "timed out", "first byte: ssh", "rule"):
        assert still_there in server.said, f"{still_there}: {server.said}"


def read_objects(lines: list[str]) -> list[dict[str, object]]:
    read_line: Callable[[str], dict[str, object]] = json.loads
    return [read_line(line) for line in lines]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_line_of_a_log_in_json_is_an_object(tmp_path: Path, workers: int) -> None:
    config = tmp_path / "chainsocks.toml"
    config.write_text(f'[server]\nlisten = ["127.0.0.1:0"]\nworkers = {workers}\n[log]\nformat = "json"\n')
    server = Chainsocks(config, {}, "-v")
    try:
        [port] = server.wait_for(r"listening on 127.0.0.1:(\d+)").groups()
        with serving(targets.page) as target:
            with socket.create_connection(("127.0.0.1", int(port)), PATIENCE, (CLIENT, 0)) as sock:
                sock.sendall(b"\x05\x01\x00" + socks5_request(target) + b"GET / HTTP/1.0\r\n\r\n")
                read_to_end(sock)
            server.wait_for('"event":"session"')
    finally:
        status = server.stop()
    assert status == 0
    objects = read_objects(server.lines)
    [session] = [each for each in objects if each["event"] == "session"]
    assert (session["kind"], session["command"], session["reply"]) == ("finished", "CONNECT", 0)
    assert str(session["client"]).startswith(CLIENT)
    assert session.get("process") == (f"worker {str(session['id'])[0]}" if workers > 1 else None)
    assert objects[-1]["message"] == "stopped"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_stops_writes_how_many_lines_it_has_left_out(tmp_path: Path, workers: int) -> None:
    config = tmp_path / "chainsocks.toml"
    host, port = free_address()
    config.write_text(f'[server]\nlisten = ["{host}:{port}"]\nworkers = {workers}\n')
    server = Chainsocks(config, {}, "-q")
    sessions, nothing = 3 * FIRST * workers, free_address()
    try:
        assert server.wait_until_it_listens((host, port))
        for _ in range(sessions):
            with connect((host, port)) as sock:
                assert ask_socks5(sock, nothing) == REFUSED
    finally:
        status = server.stop()
    assert status == 0
    failed = [line for line in server.lines if "connection refused" in line]
    left_out = [
        int(found[1]) for line in failed if (found := re.search(r"and (\d+) more like this in \d+ s: id=", line))
    ]
    assert len(left_out) == workers
    assert sum(left_out) + len(failed) - workers == sessions
    assert len(failed) - workers == FIRST * workers


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_changes_the_format_and_the_privacy(tmp_path: Path, workers: int) -> None:
    config, (host, port) = tmp_path / "chainsocks.toml", free_address()
    head = f'[server]\nlisten = ["{host}:{port}"]\nworkers = {workers}\n'
    config.write_text(head)
    server = Chainsocks(config, {})

    def visit() -> None:
        """Have each worker end a session, and hardly ever none."""
        for _ in range(20):
            with socket.create_connection((host, port), PATIENCE, (CLIENT, 0)) as sock:
                assert ask_socks5(sock, (DESTINATION, nothing[1])) == REFUSED

    nothing = free_address()
    try:
        assert server.wait_until_it_listens((host, port))
        visit()
        server.wait_for(f"client={CLIENT}:.* destination={DESTINATION}:", times=20)
        config.write_text(head + '[log]\nformat = "json"\nprivacy = "full"\n')
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded: ")
        before = len(server.lines)
        visit()
        server.wait_for('"event":"session"', times=20)
    finally:
        status = server.stop()
    assert status == 0
    objects = read_objects(server.lines[before:])
    assert sum(each["event"] == "session" for each in objects) == 20
    processes = {f"worker {number}" for number in range(1, workers + 1)} if workers > 1 else {None}
    assert {each.get("process") for each in objects} >= processes
    for canary in (CLIENT, DESTINATION):
        assert canary not in "\n".join(server.lines[before:])
