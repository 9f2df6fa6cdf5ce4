"""curl against our server: every kind of SOCKS it speaks, with and without logins, over every kind of listener."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import targets
from tests.e2e.curl import PROXY_FAILED, Curl
from tests.e2e.programs import SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import PAGE, serving
from tests.e2e.wire import connect, read, read_to_end, socks4_request, socks5_login

LOGIN = "carol:open sesame"


@pytest.fixture(scope="module")
def with_users() -> Iterator[Chainsocks]:
    name, _, password = LOGIN.partition(":")
    with chainsocks(users={name: password, "dave": "another"}) as server:
        yield server


@pytest.fixture(scope="module")
def on_ipv6(ipv6: None) -> Iterator[Chainsocks]:
    with chainsocks(listen=["[::1]:0"]) as server:
        yield server


FORMS = [
    pytest.param("--socks4", "127.0.0.1", id="socks4"),
    pytest.param("--socks4a", "localhost", id="socks4a"),
    pytest.param("--socks5", "127.0.0.1", id="socks5"),
    pytest.param("--socks5-hostname", "localhost", id="socks5-hostname"),
]
"""What curl is told, and as what it hands the name ``localhost`` on: looked up, or as it is."""


@pytest.mark.parametrize("login", [[], ["--proxy-user", "fred:anything"]], ids=["no-login", "login"])
@pytest.mark.parametrize(("form", "host"), FORMS)
def test_every_form_without_users(
    curl: Curl, direct: Chainsocks, page: SocketAddress, form: str, host: str, login: list[str]
) -> None:
    answer = curl(form, direct.listeners[0], *login, f"http://{host}:{page[1]}/")
    assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
    session = direct.session(answer.client)
    assert f" command=CONNECT destination={host}:{page[1]} chain=direct reply=00 " in session
    assert 'outcome="finished"' in session


@pytest.mark.parametrize("form", ["--socks5", "--socks5-hostname"])
def test_the_right_login(curl: Curl, with_users: Chainsocks, page: SocketAddress, form: str) -> None:
    answer = curl(form, with_users.listeners[0], "--proxy-user", LOGIN, f"http://127.0.0.1:{page[1]}/")
    assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
    session = with_users.session(answer.client)
    assert 'outcome="finished"' in session


WRONG = [
    pytest.param("carol:Open sesame", id="wrong-password"),
    pytest.param("carol:another", id="password-of-another"),
    pytest.param("mallory:open sesame", id="unknown-user"),
]


@pytest.mark.parametrize("form", ["--socks5", "--socks5-hostname"])
@pytest.mark.parametrize("login", WRONG)
def test_a_wrong_login(curl: Curl, with_users: Chainsocks, page: SocketAddress, form: str, login: str) -> None:
    answer = curl(form, with_users.listeners[0], "--proxy-user", login, f"http://127.0.0.1:{page[1]}/")
    assert (answer.status, answer.page) == (PROXY_FAILED, b"")
    session = with_users.session(answer.client)
    assert "wrong username or password" in session
    assert " destination=- " in session


@pytest.mark.parametrize("login", WRONG)
def test_a_wrong_login_on_the_wire(with_users: Chainsocks, page: SocketAddress, login: str) -> None:
    """RFC 1929 section 2: a status other than 0, and then the connection is closed."""
    name, _, password = login.partition(":")
    with connect(with_users.address) as sock:
        sock.sendall(b"\x05\x01\x02")
        assert read(sock, 2) == b"\x05\x02"
        sock.sendall(socks5_login(name, password))
        answer = read_to_end(sock)
        assert len(answer) == 2
        assert answer[0] == 1
        assert answer[1] != 0


def test_the_right_login_on_the_wire(with_users: Chainsocks) -> None:
    name, _, password = LOGIN.partition(":")
    with connect(with_users.address) as sock:
        sock.sendall(b"\x05\x02\x00\x02")
        assert read(sock, 2) == b"\x05\x02"
        sock.sendall(socks5_login(name, password))
        assert read(sock, 2) == b"\x01\x00"


@pytest.mark.parametrize("form", ["--socks5", "--socks5-hostname"])
def test_no_login_where_one_is_needed(curl: Curl, with_users: Chainsocks, page: SocketAddress, form: str) -> None:
    answer = curl(form, with_users.listeners[0], f"http://127.0.0.1:{page[1]}/")
    assert (answer.status, answer.page) == (PROXY_FAILED, b"")


def test_no_login_on_the_wire(with_users: Chainsocks) -> None:
    """RFC 1928 section 3: X'FF', and then the connection is closed."""
    with connect(with_users.address) as sock:
        sock.sendall(b"\x05\x01\x00")
        assert read_to_end(sock) == b"\x05\xff"


@pytest.mark.parametrize("form", ["--socks4", "--socks4a"])
def test_socks4_where_a_login_is_needed(curl: Curl, with_users: Chainsocks, page: SocketAddress, form: str) -> None:
    answer = curl(form, with_users.listeners[0], "--proxy-user", LOGIN, f"http://127.0.0.1:{page[1]}/")
    assert (answer.status, answer.page) == (PROXY_FAILED, b"")
    assert "SOCKS4 cannot log in" in with_users.session(answer.client)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_socks4_where_a_login_is_needed_on_the_wire(with_users: Chainsocks, page: SocketAddress, host: str) -> None:
    with connect(with_users.address) as sock:
        sock.sendall(socks4_request((host, page[1]), user="carol"))
        answer = read_to_end(sock)
        assert len(answer) == 8
        assert answer[:2] == b"\x00\x5b"  # 91


@pytest.mark.parametrize("form", ["--socks5", "--socks5-hostname"])
def test_an_ipv6_destination(curl: Curl, direct: Chainsocks, ipv6: None, form: str) -> None:
    with serving(targets.page, "::1") as (_, port):
        answer = curl(form, direct.listeners[0], f"http://[::1]:{port}/")
    assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
    assert f" destination=[::1]:{port} " in direct.session(answer.client)


@pytest.mark.parametrize(("form", "host"), FORMS)
def test_an_ipv6_listener(curl: Curl, on_ipv6: Chainsocks, page: SocketAddress, form: str, host: str) -> None:
    answer = curl(form, on_ipv6.listeners[0], f"http://{host}:{page[1]}/")
    assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
    assert 'outcome="finished"' in on_ipv6.session(answer.client)


def test_a_unix_listener(curl: Curl, page: SocketAddress, tmp_path: Path) -> None:
    """curl speaks SOCKS over unix sockets since 7.84."""
    path = tmp_path / "proxy.sock"
    with chainsocks(listen=[f"unix:{path}", "127.0.0.1:0"]) as server:
        assert server.listeners[0] == f"unix:{path}"
        answer = curl("--proxy", f"socks5h://localhost{path}", f"http://localhost:{page[1]}/")
        assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
        assert 'outcome="finished"' in server.session("unix")
        answer = curl("--socks5", server.listeners[1], f"http://127.0.0.1:{page[1]}/")
        assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
    assert not path.exists()


@pytest.mark.parametrize("form", ["--socks4", "--socks5"])
def test_a_destination_that_refuses(curl: Curl, direct: Chainsocks, closed_port: SocketAddress, form: str) -> None:
    answer = curl(form, direct.listeners[0], f"http://127.0.0.1:{closed_port[1]}/")
    assert (answer.status, answer.page) == (PROXY_FAILED, b"")
    assert " reply=05 " in direct.session(answer.client)
