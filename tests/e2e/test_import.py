"""The same proxychains.conf through proxychains4, and through us with what `chainsocks import` makes of it."""

from __future__ import annotations

import base64
import queue
import select
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chainsocks.protocol.address import Address, parse_address
from chainsocks.protocol.detect import server_handshake
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Method, Reply, ReplyCode, UserId
from chainsocks.protocol.socks5 import ServerHandshake
from tests.commands import run_program
from tests.e2e.programs import PATIENCE, SocketAddress, clean_environment, find_program, missing
from tests.e2e.servers import Chainsocks
from tests.e2e.targets import CHUNK, PAGE, Handler, page, serving

NAME = "target.example"
"""A name that the last hop resolves, and nothing else can."""

SAMPLE = Path("/etc/proxychains4.conf")

METHODS = (Method.USERNAME_PASSWORD, Method.NO_AUTHENTICATION_REQUIRED)


@dataclass(frozen=True)
class Seen:
    """What a hop was asked for, and as whom."""

    hop: int
    destination: str
    login: str


class Hops:
    """Proxies that tell of each request in order, and resolve ``.example`` to this machine."""

    def __init__(self, count: int, target: SocketAddress, stack: ExitStack) -> None:
        self.target = target
        self.seen: queue.Queue[Seen] = queue.Queue()
        self.addresses = [stack.enter_context(serving(self._hop(number))) for number in range(count)]

    def take(self) -> list[Seen]:
        """Return what was seen since the last time; what a request that was answered caused is all there."""
        return [self.seen.get_nowait() for _ in range(self.seen.qsize())]

    def _hop(self, number: int) -> Handler:
        def handle(sock: socket.socket) -> None:
            data, login = sock.recv(CHUNK), ""
            if data.startswith(b"CONNECT "):
                self._handle_http(number, sock, data)
                return
            handshake = server_handshake(data, METHODS)
            while True:
                handshake.receive_data(data)
                if handshake.state is State.LOGIN and isinstance(handshake, ServerHandshake):
                    login = f"{handshake.login.username.decode()}:{handshake.login.password.decode()}"
                    handshake.accept_login()
                sock.sendall(handshake.data_to_send())
                if handshake.done or handshake.state == State.REPLY:
                    break
                if not (data := sock.recv(CHUNK)):
                    raise EOFError
            request = handshake.request
            if isinstance(request.credentials, UserId):
                login = request.credentials.user_id.decode()
            self.seen.put(Seen(number, str(request.destination), login))
            with self._connect(request.destination) as onward:
                handshake.send_reply(Reply(ReplyCode.SUCCEEDED))
                sock.sendall(handshake.data_to_send())
                pump(sock, onward)

        return handle

    def _handle_http(self, number: int, sock: socket.socket, data: bytes) -> None:
        while b"\r\n\r\n" not in data:
            data += sock.recv(1) or b"\r\n\r\n"
        request, *headers = data.decode().split("\r\n")
        logins = [base64.b64decode(line.split()[2]).decode() for line in headers if "Basic" in line]
        destination = parse_address(request.split()[1])
        self.seen.put(Seen(number, str(destination), "".join(logins)))
        with self._connect(destination) as onward:
            sock.sendall(b"HTTP/1.0 200 Connected\r\n\r\n")
            pump(sock, onward)

    def _connect(self, to: Address) -> socket.socket:
        host = "127.0.0.1" if to.host.endswith(".example") else to.host
        return socket.create_connection((host, to.port), PATIENCE)


def pump(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until one side ends."""
    while True:
        ready, _, _ = select.select([one, other], [], [], PATIENCE)
        for sock in ready:
            data = sock.recv(CHUNK)
            if not data:
                return
            (other if sock is one else one).sendall(data)


@pytest.fixture
def hops() -> Iterator[Hops]:
    with ExitStack() as stack:
        yield Hops(3, stack.enter_context(serving(page)), stack)


def through_proxychains(home: Path, conf: Path, urls: Sequence[str]) -> None:
    """Get pages in one process: each over a connection of its own, since HTTP/1.0 closes them."""
    proxychains = find_program("proxychains4", "proxychains4")
    done = subprocess.run(
        [proxychains, "-q", "-f", conf, find_program("curl", "curl"), "-q", "-sS", "--max-time", "20", *urls],
        env=clean_environment(home),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, PAGE * len(urls)), done.stderr


def through_us(home: Path, front: SocketAddress, urls: Sequence[str], *, names: bool) -> None:
    proxy = f"{'socks5h' if names else 'socks5'}://{front[0]}:{front[1]}"
    command = [find_program("curl", "curl"), "-q", "-sS", "--max-time", "20", "--noproxy", "", "--proxy", proxy, *urls]
    done = subprocess.run(command, env=clean_environment(home), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, PAGE * len(urls)), done.stderr


@contextmanager
def imported(conf: Path) -> Iterator[Chainsocks]:
    """Import a file, check the result, and serve with it."""
    status, text, complaints = run_program(conf.parent, "import", conf)
    assert (status, complaints) == (0, "")
    path = conf.with_suffix(".toml")
    path.write_text(text)
    path.chmod(0o600)
    status, _, complaints = run_program(conf.parent, "check", path)
    assert status == 0, complaints
    server = Chainsocks(path, {}, "--listen", "127.0.0.1:0")
    try:
        yield server
    finally:
        server.stop()


def lines(hops: Hops, *kinds: str) -> str:
    """The list of proxies; each kind may have a login behind it."""
    listed = [
        f"{kind.split()[0]} {host} {port} {' '.join(kind.split()[1:])}"
        for kind, (host, port) in zip(kinds, hops.addresses, strict=True)
    ]
    return "\n".join(["[ProxyList]", *listed])


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ("strict_chain\nproxy_dns", ("socks5 alice se#cret", "socks4 fred", "socks5")),
        ("strict_chain\nproxy_dns_old", ("socks4", "socks5", "socks5")),
        ("strict_chain", ("socks5", "socks5 bob x", "socks4")),
        ("strict_chain\nproxy_dns", ("http justu hid:den", "socks4", "http")),
        ("round_robin_chain\nchain_len = 2", ("http", "socks5 a b", "http c:d e")),
        ("dynamic_chain\nproxy_dns", ("socks5", "socks5", "socks4")),
        ("proxy_dns", ("socks5", "socks4", "socks5")),
        ("round_robin_chain\nproxy_dns", ("socks5", "socks5", "socks4")),
        ("round_robin_chain\nchain_len = 2\nproxy_dns", ("socks5", "socks5", "socks4")),
        ("round_robin_chain\nchain_len = 3\nproxy_dns", ("socks5", "socks5", "socks4")),
    ],
)
def test_the_same_hops_in_the_same_order(tmp_path: Path, hops: Hops, options: str, kinds: Sequence[str]) -> None:
    names = "proxy_dns\n" in f"{options}\n"
    conf = tmp_path / "proxychains.conf"
    conf.write_text(f"{options}\n{lines(hops, *kinds)}\n")
    urls = [f"http://{NAME if names else hops.target[0]}:{hops.target[1]}/"] * 4
    through_proxychains(tmp_path, conf, urls)
    expected = hops.take()
    assert len(expected) >= len(urls)
    with imported(conf) as server:
        through_us(tmp_path, server.address, urls, names=names)
    assert hops.take() == expected


def test_proxies_with_names(tmp_path: Path, hops: Hops) -> None:
    """The hop before resolves them."""
    conf = tmp_path / "proxychains.conf"
    first, *others = lines(hops, "socks5", "socks4", "http").partition("\n")[2].splitlines()
    named = [line.replace("127.0.0.1", f"hop{number}.example") for number, line in enumerate(others, 2)]
    conf.write_text("\n".join(["strict_chain", "proxy_dns", "[ProxyList]", first, *named]))
    urls = [f"http://{NAME}:{hops.target[1]}/"]
    through_proxychains(tmp_path, conf, urls)
    expected = hops.take()
    assert expected[0].destination.startswith("hop2.example:")
    with imported(conf) as server:
        through_us(tmp_path, server.address, urls, names=True)
    assert hops.take() == expected


def test_a_dead_proxy_is_passed_over(tmp_path: Path, hops: Hops) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    conf = tmp_path / "proxychains.conf"
    listed = lines(hops, "socks5", "socks5", "socks4").replace("[ProxyList]", f"[ProxyList]\nsocks5 127.0.0.1 {dead}")
    conf.write_text(f"dynamic_chain\nproxy_dns\n{listed}\n")
    urls = [f"http://{NAME}:{hops.target[1]}/"] * 2
    through_proxychains(tmp_path, conf, urls)
    expected = hops.take()
    assert [each.hop for each in expected] == [0, 1, 2] * 2
    with imported(conf) as server:
        through_us(tmp_path, server.address, urls, names=True)
    assert hops.take() == expected


def test_hops_at_random(tmp_path: Path, hops: Hops) -> None:
    """Both choose two different hops for each connection, and sooner or later every pair."""
    conf = tmp_path / "proxychains.conf"
    conf.write_text(f"random_chain\nchain_len = 2\nproxy_dns\n{lines(hops, 'socks5', 'socks5', 'socks5')}\n")
    urls = [f"http://{NAME}:{hops.target[1]}/"] * 30
    pairs = []
    through_proxychains(tmp_path, conf, urls)
    pairs.append([each.hop for each in hops.take()])
    with imported(conf) as server:
        through_us(tmp_path, server.address, urls, names=True)
    pairs.append([each.hop for each in hops.take()])
    for used in pairs:
        assert len(used) == 2 * len(urls)
        chains = set(zip(used[::2], used[1::2], strict=True))
        assert all(first != second for first, second in chains)
        assert {hop for chain in chains for hop in chain} == {0, 1, 2}


@pytest.mark.parametrize("names", ["", "proxy_dns"])
def test_local_networks_are_connected_to_without_a_proxy(tmp_path: Path, hops: Hops, names: str) -> None:
    host, port = hops.target
    conf = tmp_path / "proxychains.conf"
    proxies = [f"{proxy[0]}:{proxy[1]}" for proxy in hops.addresses]
    conf.write_text(f"strict_chain\n{names}\nlocalnet {host}:{port}/255.255.255.255\n{lines(hops, *['socks5'] * 3)}\n")
    urls = [f"http://{host}:{port}/"]
    through_proxychains(tmp_path, conf, urls)
    with imported(conf) as server:
        through_us(tmp_path, server.address, urls, names=False)
    assert hops.take() == []
    assert f"{host}:{port}" not in proxies


def test_the_sample_file_of_debian(tmp_path: Path, hops: Hops) -> None:
    """As it is, but for the port of its only proxy."""
    if not SAMPLE.is_file():
        missing(f"there is no {SAMPLE} here (Debian: apt install proxychains4)")
    text = SAMPLE.read_text()
    assert text.count("127.0.0.1 9050\n") == 1
    conf = tmp_path / "proxychains.conf"
    conf.write_text(text.replace("127.0.0.1 9050\n", f"127.0.0.1 {hops.addresses[0][1]}\n"))
    urls = [f"http://{NAME}:{hops.target[1]}/"]
    through_proxychains(tmp_path, conf, urls)
    expected = hops.take()
    assert expected == [Seen(0, f"{NAME}:{hops.target[1]}", "")]
    with imported(conf) as server:
        through_us(tmp_path, server.address, urls, names=True)
    assert hops.take() == expected
    assert run_program(tmp_path, "import", SAMPLE)[::2] == (0, "")
