"""The PROXY protocol with HAProxy, nginx and curl: which client is told, on the way in and on the way out."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.datagrams import echoing
from tests.certificates import authority
from tests.e2e.balancers import haproxy, nginx
from tests.e2e.curl import Curl
from tests.e2e.programs import PATIENCE, Program, SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.spawner import OWN
from tests.e2e.targets import PAGE
from tests.e2e.wire import (
    GREETING,
    UDP_ASSOCIATE,
    connect,
    connected,
    read,
    read_socks5_reply,
    read_to_end,
    socks5_request,
)

OPEN = ("private = true", "open = true")
FOR_LOOPBACK = '{ address = "127.0.0.1:0", proxy_protocol = ["127.0.0.0/8"] }'
FOR_OTHERS = '{ address = "127.0.0.1:0", proxy_protocol = ["192.0.2.0/24"] }'


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "task"])
def behind(request: pytest.FixtureRequest) -> Iterator[Chainsocks]:
    """Our server behind load balancers on this machine."""
    with chainsocks(listen=[FOR_LOOPBACK], server_lines=OPEN, lane=request.param) as server:
        yield server


# --- in


@pytest.mark.parametrize("form", ["--socks5", "--socks4a", "--proxytunnel --proxy"])
@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def test_behind_haproxy(curl: Curl, behind: Chainsocks, page: SocketAddress, form: str, version: str) -> None:
    with haproxy("mode tcp", f"server one {behind.listeners[0]} {version}") as (host, port):
        answer = curl(*form.split(), f"{host}:{port}", f"http://127.0.0.1:{page[1]}/")
        assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
        assert 'outcome="finished"' in behind.session(answer.client)


def test_behind_nginx(curl: Curl, behind: Chainsocks, page: SocketAddress) -> None:
    lines = [f"proxy_pass {behind.listeners[0]};", "proxy_protocol on;"]
    with nginx(*lines, kind="stream") as (host, port):
        answer = curl("--socks5", f"{host}:{port}", f"http://127.0.0.1:{page[1]}/")
        assert (answer.status, answer.page) == (0, PAGE)
        assert 'outcome="finished"' in behind.session(answer.client)


def test_haproxys_own_checks_are_no_client(behind: Chainsocks) -> None:
    """LOCAL: they are HAProxy's own connections, and say nothing."""
    line = f"server one {behind.listeners[0]} send-proxy-v2 check-send-proxy check inter 100ms"
    with haproxy("mode tcp", line):
        behind.wait_for('client=127.0.0.1:.* outcome="client, first byte: it left without a word"')


def test_the_header_that_curl_sends(curl: Curl, behind: Chainsocks) -> None:
    answer = curl("--haproxy-protocol", f"http://{behind.listeners[0]}/")
    assert "a request to a web server, and this is a proxy" in answer.page.decode()
    assert " command=- " in behind.session(answer.client)


def test_rules_for_clients_behind_haproxy(curl: Curl, page: SocketAddress) -> None:
    rules = ["[[rules]]", 'from = ["127.9.0.0/16"]', "deny = true"]
    with (
        chainsocks(listen=[FOR_LOOPBACK], server_lines=OPEN, tables=rules) as server,
        haproxy("mode tcp", f"server one {server.listeners[0]} send-proxy-v2") as address,
    ):
        for host, reply in (("127.9.0.1", 2), ("127.8.0.1", 0)):
            with socket.create_connection(address, 20, (host, 0)) as sock:
                sock.sendall(b"\x05\x01\x00")
                assert read(sock, 2) == b"\x05\x00"
                sock.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + page[1].to_bytes(2))
                assert read(sock, 10)[1] == reply


def test_bulk_behind_haproxy(behind: Chainsocks, echo: SocketAddress) -> None:
    data = bytes(range(256)) * 256
    with (
        haproxy("mode tcp", f"server one {behind.listeners[0]} send-proxy-v2") as address,
        connected(address, echo) as sock,
    ):
        for _ in range(100):
            sock.sendall(data)
            assert read(sock, len(data)) == data


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_makes_a_listener_one_for_load_balancers(curl: Curl, page: SocketAddress, workers: int) -> None:
    url = f"http://127.0.0.1:{page[1]}/"
    with chainsocks(server_lines=OPEN, workers=workers) as server:
        address = server.listeners[0]
        assert curl("--socks5", address, url).page == PAGE
        config = next(Path(word) for word in server.process.args if word.endswith(".toml"))
        plain, changed = 'listen = ["127.0.0.1:0"]', f"listen = [{FOR_LOOPBACK}]"
        assert plain in config.read_text()
        config.write_text(config.read_text().replace(plain, changed))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded")
        refused = curl("--socks5", address, url)
        assert refused.status != 0
        assert "PROXY header: this is no PROXY protocol header" in server.session(refused.client)
        with haproxy("mode tcp", f"server one {address} send-proxy-v2") as (host, port):
            answer = curl("--socks5", f"{host}:{port}", url)
            assert (answer.status, answer.page) == (0, PAGE)
            assert 'outcome="finished"' in server.session(answer.client)


def test_workers_behind_haproxy(curl: Curl, page: SocketAddress) -> None:
    with (
        chainsocks(listen=[FOR_LOOPBACK], server_lines=OPEN, workers=2) as server,
        haproxy("mode tcp", f"server one {server.listeners[0]} send-proxy-v2") as (host, port),
    ):
        for _ in range(6):
            answer = curl("--socks5", f"{host}:{port}", f"http://127.0.0.1:{page[1]}/")
            assert (answer.status, answer.page) == (0, PAGE)
            assert 'outcome="finished"' in server.session(answer.client)


def test_datagrams_go_past_haproxy(behind: Chainsocks) -> None:
    """Between the client itself and the address that it has connected to, which is one of this machine."""
    line = f"server one {behind.listeners[0]} send-proxy-v2"
    with haproxy("mode tcp", line) as address, echoing() as target, connect(address) as control:
        control.sendall(GREETING + socks5_request(("0.0.0.0", 0), UDP_ASSOCIATE))
        assert read(control, 2) == b"\x05\x00"
        code, relay = read_socks5_reply(control)
        assert (code, socket.inet_ntoa(relay[:4])) == (0, address[0])
        with socket.socket(type=socket.SOCK_DGRAM) as sock, socket.socket(type=socket.SOCK_DGRAM) as stranger:
            sock.settimeout(PATIENCE)
            sock.bind((control.getsockname()[0], 0))
            stranger.bind(("127.0.0.1", 0))
            datagram = b"\0\0\0" + socks5_request((target.host, target.port))[3:] + b"question"
            to = address[0], int.from_bytes(relay[4:])
            stranger.sendto(datagram, to)
            sock.sendto(datagram, to)
            assert sock.recvfrom(512) == (datagram, to)
        name = control.getsockname()
    assert "1 from strangers" in behind.session(name)


def test_no_byte_comes_back_for_a_mutated_header(behind: Chainsocks) -> None:
    """The answer to the greeting behind it, where it is a header all the same; otherwise nothing."""
    line = b"PROXY TCP4 127.9.9.9 127.0.0.1 51234 1080\r\n"
    for header in (line, bytes.fromhex("0d0a0d0a000d0a515549540a2111000c7f0909097f000001c8220438")):
        for at in range(len(header)):
            mutated = header[:at] + bytes((header[at] ^ 0x21,)) + header[at + 1 :]
            with connect(behind.address) as sock:
                answer = b""
                with suppress(OSError):  # reset, sooner or later
                    sock.sendall(mutated + GREETING)
                    sock.shutdown(socket.SHUT_WR)
                    while more := sock.recv(99):
                        answer += more
                assert answer in (b"", b"\x05\x00")


def test_from_elsewhere_nothing_is_told(page: SocketAddress) -> None:
    with chainsocks(listen=[FOR_OTHERS], server_lines=OPEN) as server:
        with pytest.raises(ConnectionResetError), connect(server.address) as sock:  # noqa: PT012  (any may meet it)
            sock.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 51234 1080\r\n\x05\x01\x00")
            read_to_end(sock)
        server.wait_for("refused: proxy_protocol of the listener does not name this address")


# --- out


@pytest.mark.parametrize("way", ["haproxy", "nginx"])
def test_a_destination_is_told(curl: Curl, way: str) -> None:
    """The client's address, and the one that the client has connected to, as the foreign server understands them."""
    if way == "haproxy":
        text = 'string "%[src]:%[src_port] %[dst]:%[dst_port]"'
        serve = haproxy(
            "mode http", f"http-request return status 200 content-type text/plain lf-{text}", accept="accept-proxy"
        )
    else:
        told = "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port"
        serve = nginx(f'location / {{ return 200 "{told}"; }}', kind="http", accept="proxy_protocol")
    with serve as (host, port), chainsocks(chain="send_proxy = true") as server:
        answer = curl("--socks5", server.listeners[0], f"http://{host}:{port}/")
        assert (answer.status, answer.complaint) == (0, "")
        assert answer.page.decode() == f"{answer.client[0]}:{answer.client[1]} {server.listeners[0]}"


@pytest.mark.parametrize("pipeline", ["off", "hop", "chain"])
@pytest.mark.parametrize("between", [True, False], ids=["with HAProxy between", "hop by hop"])
def test_the_client_is_told_through_all_of_ours(
    curl: Curl, behind: Chainsocks, page: SocketAddress, pipeline: str, *, between: bool
) -> None:
    """client -> ours -> (HAProxy ->) ours: the last one knows the client that the first one has."""
    line = f"server one {behind.listeners[0]} send-proxy-v2"
    with haproxy("mode tcp", line, accept="accept-proxy") as (host, port):
        hop = f"socks5://{host}:{port}" if between else behind.url
        with chainsocks(hop, chain=f'send_proxy = true\npipeline = "{pipeline}"') as front:
            answer = curl("--socks5", front.listeners[0], f"http://127.0.0.1:{page[1]}/")
            assert (answer.status, answer.page, answer.complaint) == (0, PAGE, "")
            assert "chain=default" in front.session(answer.client)
            assert 'outcome="finished"' in behind.session(answer.client)


@pytest.mark.parametrize("is_probe", [False, True], ids=["a session", "a probe"])
def test_the_header_comes_before_tls(
    curl: Curl,
    behind: Chainsocks,
    page: SocketAddress,
    tmp_path: Path,
    is_probe: bool,  # noqa: FBT001
) -> None:
    """In the clear, as HAProxy expects it; also where `probe` greets the hop and goes no further."""
    ca, server = authority().write(tmp_path, "paris.example")
    line = f"server one {behind.listeners[0]} send-proxy-v2"
    with haproxy("mode tcp", line, accept=f"accept-proxy ssl crt {server}") as (host, port):
        hop = f'{{ url = "socks5://{host}:{port}", tls = {{ ca = "{ca}", name = "paris.example" }} }}'
        with chainsocks(hop, chain="send_proxy = true") as front:
            if is_probe:
                config = next(Path(word) for word in front.process.args if word.endswith(".toml"))
                probe = Program([OWN, "probe", "-c", config])
                assert probe.ended() == 0
                assert "with a PROXY protocol header that tells of no client" in probe.said
            else:
                answer = curl("--socks5", front.listeners[0], f"http://127.0.0.1:{page[1]}/")
                assert (answer.status, answer.page) == (0, PAGE)
                assert 'outcome="finished"' in behind.session(answer.client)


def test_a_client_that_a_load_balancer_told_of_is_passed_on(
    curl: Curl, behind: Chainsocks, page: SocketAddress
) -> None:
    with (
        chainsocks(behind.url, chain="send_proxy = true", listen=[FOR_LOOPBACK], server_lines=OPEN) as middle,
        haproxy("mode tcp", f"server one {middle.listeners[0]} send-proxy") as (host, port),
    ):
        answer = curl("--socks5", f"{host}:{port}", f"http://127.0.0.1:{page[1]}/")
        assert (answer.status, answer.page) == (0, PAGE)
        for server in (middle, behind):
            assert 'outcome="finished"' in server.session(answer.client)


def test_a_hop_that_takes_no_header(curl: Curl, page: SocketAddress, without_hops: Chainsocks) -> None:
    with chainsocks(without_hops.url, chain="send_proxy = true") as front:
        answer = curl("--socks5", front.listeners[0], f"http://127.0.0.1:{page[1]}/")
        assert answer.status != 0
        assert "hop1" in front.session(answer.client)
    without_hops.wait_for("it looks like a PROXY protocol header")
