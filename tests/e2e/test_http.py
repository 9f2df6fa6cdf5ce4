"""HTTP CONNECT: hops that are tinyproxy and squid, and curl through our own server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.e2e import servers
from tests.e2e.curl import PROXY_FAILED, Curl
from tests.e2e.programs import SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import MIB, PAGE, exchange
from tests.e2e.wire import ask_socks5, connect, connected, read, read_to_end

LOGIN = "carol:open sesame"
FOREIGN: dict[str, Callable[..., AbstractContextManager[SocketAddress]]] = {
    "tinyproxy": servers.tinyproxy,
    "squid": servers.squid,
}


@pytest.fixture(scope="module", params=FOREIGN)
def proxy(request: pytest.FixtureRequest) -> Iterator[str]:
    with FOREIGN[request.param]() as (host, port):
        yield f"http://{host}:{port}"


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_an_http_hop_in_any_place(
    proxy: str, own_hops: list[Chainsocks], source_and_sink: SocketAddress, place: int
) -> None:
    hops = [own_hops[0].url, own_hops[1].url]
    hops.insert(place, proxy)
    with chainsocks(*hops) as front, connected(front.address, source_and_sink) as sock:
        exchange(sock, 8 * MIB)


def test_a_chain_of_http_hops_only(own_hops: list[Chainsocks], proxy: str, source_and_sink: SocketAddress) -> None:
    ours = [hop.url.replace("socks5", "http") for hop in own_hops]
    with chainsocks(*ours[:2], proxy, ours[2]) as front, connected(front.address, source_and_sink) as sock:
        exchange(sock, MIB)


def test_names_travel_as_they_are(proxy: str, source_and_sink: SocketAddress) -> None:
    with chainsocks(proxy) as front:
        with connected(front.address, ("localhost", source_and_sink[1])) as sock:
            exchange(sock, MIB)
        assert "name lookup" not in front.said


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize(
    ("login", "outcome"),
    [
        (LOGIN, "finished"),
        ("carol:wrong", "it refused the username or the password"),
        ("", "it requires a username and a password"),
    ],
    ids=["right", "wrong", "none"],
)
def test_logins(
    own_hops: list[Chainsocks], page: SocketAddress, curl: Curl, name: str, login: str, outcome: str
) -> None:
    word = LOGIN.replace(" ", "")
    at = f"{login.replace(' ', '')}@" if login else ""
    with FOREIGN[name](word) as (host, port), chainsocks(own_hops[0].url, f"http://{at}{host}:{port}") as front:
        answer = curl("--socks5", front.listeners[0], f"http://127.0.0.1:{page[1]}/")
        session = front.session(answer.client)
        assert outcome in session
        assert (answer.page == PAGE) == (outcome == "finished")
        if not answer.page:
            assert 'outcome="hop hop2 (2 of 2) at ' in session
        assert "sesame" not in front.said


def test_a_destination_that_refuses_is_told_truthfully(proxy: str) -> None:
    with chainsocks(proxy) as front:
        with connect(front.address) as sock:
            assert ask_socks5(sock, ("127.0.0.1", 1)) in (1, 4)
            client = sock.getsockname()
        session = front.session(client)
    assert "it refused 127.0.0.1:1: 50" in session


# --- our own server ---


def test_a_listener_for_http_only(curl: Curl, page: SocketAddress) -> None:
    listener = '{ address = "127.0.0.1:0", kind = "http" }'
    with chainsocks(listen=[listener], lane=True) as front:
        url = f"http://127.0.0.1:{page[1]}/"
        for option in ("--proxy", "--proxytunnel"):
            answer = curl(option, *(["--proxy"] if option != "--proxy" else []), f"http://{front.listeners[0]}", url)
            assert (answer.status, answer.page) == (0, PAGE)
        for scheme in ("socks5", "socks4"):
            answer = curl("--proxy", f"{scheme}://{front.listeners[0]}", url)
            assert (answer.status, answer.page) == (PROXY_FAILED, b"")
            assert 'this listener takes HTTP only (kind = \\"http\\"); it looks like SOCKS' in front.session(
                answer.client
            )


@pytest.fixture(scope="module")
def with_users() -> Iterator[Chainsocks]:
    name, _, password = LOGIN.partition(":")
    with chainsocks(users={name: password}) as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_curl_through_a_tunnel(curl: Curl, front: Chainsocks, page: SocketAddress, host: str) -> None:
    answer = curl("--proxytunnel", "--proxy", f"http://{front.listeners[0]}", f"http://{host}:{page[1]}/")
    assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
    session = front.session(answer.client)
    assert f" command=CONNECT destination={host}:{page[1]} " in session
    assert " reply=00 " in session


@pytest.mark.parametrize(
    ("login", "status"), [(LOGIN, 0), ("carol:wrong", 56), ("", 56)], ids=["right", "wrong", "none"]
)
def test_curl_logs_in(curl: Curl, with_users: Chainsocks, page: SocketAddress, login: str, status: int) -> None:
    options = ["--proxy-user", login] if login else []
    url = f"http://127.0.0.1:{page[1]}/"
    answer = curl("--proxytunnel", "--proxy", f"http://{with_users.listeners[0]}", *options, url)
    assert (answer.status, answer.page == PAGE) == (status, status == 0)
    assert ("407" in answer.complaint) == (status != 0)
    session = with_users.session(answer.client)
    assert (" user=carol " in session) == (status == 0)


def test_a_refusal_has_the_sentence_of_the_log(front: Chainsocks) -> None:
    with connect(front.address) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
        answer = read_to_end(sock).decode()
        client = sock.getsockname()
    session = front.session(client)
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 502 ")
    assert body.strip() in session.replace('\\"', '"')
    assert "refused" in body


def test_what_comes_with_the_request_is_the_first_data(front: Chainsocks, echo: SocketAddress) -> None:
    with connect(front.address) as sock:
        sock.sendall(b"CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\nearly" % (echo[0].encode(), echo[1]))
        assert read(sock, 44) == b"HTTP/1.1 200 Connection established\r\n\r\nearly"
