"""tor as a hop, its tools as clients, and names that are looked up through chains."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import PATIENCE, SocketAddress, clean_environment, find_program
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import serving
from tests.e2e.tor import VIRTUAL, Controller, Tor, real_tor
from tests.e2e.wire import GREETING, connect, read, read_to_end, socks4_request, socks5_login, socks5_request
from tests.resolvers import framed, respond

RESOLVE, RESOLVE_PTR, UDP_ASSOCIATE = 0xF0, 0xF1, 3
ONION = "a" * 56 + ".onion"
"""It has the length of an onion service's name, and is none's: its checksum is wrong."""

NOWHERE = ("192.0.2.1", 80)
"""tor takes the request, and waits for a circuit that never comes."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tor]:
    with real_tor(tmp_path_factory.mktemp("tor")) as running:
        yield running


@pytest.fixture(scope="module")
def through_tor(own_hops: list[Chainsocks], real: Tor) -> Iterator[Chainsocks]:
    """Our server, whose second and last hop is tor."""
    with chainsocks(own_hops[0].url, f'{{ url = "{real.url}", tor = true }}') as front:
        yield front


@pytest.fixture(scope="module")
def through_own(own_hops: list[Chainsocks]) -> Iterator[Chainsocks]:
    """Our server, whose last hop is ours as well, and has tor's commands."""
    with chainsocks(own_hops[0].url, f'{{ url = "{own_hops[1].url}", tor = true }}') as front:
        yield front


def resolver(sock: socket.socket) -> None:
    """A DNS server over TCP, as `serving` runs it."""
    while size := read(sock, 2):
        sock.sendall(framed(respond(read(sock, int.from_bytes(size, "big")))))


@pytest.fixture(scope="module")
def through_resolver(own_hops: list[Chainsocks]) -> Iterator[Chainsocks]:
    """Our server, with two hops of ours, and a resolver behind them."""
    with (
        serving(resolver) as (host, port),
        chainsocks(own_hops[0].url, own_hops[1].url, chain=f'resolver = "{host}:{port}"') as front,
    ):
        yield front


def tor_resolve(front: SocketAddress, *arguments: str) -> str:
    """Run tor-resolve, and return what it says: an answer, or why there is none."""
    path = find_program("tor-resolve", "tor")
    command = [path, *arguments, f"{front[0]}:{front[1]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0 or not done.stdout
    return done.stdout.strip() or done.stderr.strip()


def ask(front: SocketAddress, request: bytes) -> bytes:
    """Make a request in SOCKS5, or in SOCKS4; return all that is said to that."""
    with connect(front) as sock:
        if request[0] == 5:
            sock.sendall(GREETING)
            assert read(sock, 2) == b"\x05\x00"
        sock.sendall(request)
        return read_to_end(sock)


# --- tor-resolve and torsocks as clients


@pytest.mark.parametrize("front", ["without_hops", "through_own"])
@pytest.mark.parametrize("version", ["-4", "-5"])
def test_tor_resolve_asks_whom_we_ask(request: pytest.FixtureRequest, front: str, version: str) -> None:
    server: Chainsocks = request.getfixturevalue(front)
    assert tor_resolve(server.address, version, "localhost") == "127.0.0.1"
    assert tor_resolve(server.address, version, "192.0.2.4") == "192.0.2.4"
    if version == "-5":
        assert tor_resolve(server.address, "-x", "127.0.0.1") == socket.gethostbyaddr("127.0.0.1")[0]
    assert not re.search(r"^[\d.]+$", tor_resolve(server.address, version, "chainsocks.invalid"))


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["-4", "four.example"], "192.0.2.4"),
        (["-5", "alias.example"], "192.0.2.4"),
        (["-5", "six.example"], "2001:db8::6"),
        (["-5", "both.example"], "192.0.2.64"),
        (["-x", "192.0.2.4"], "four.example"),
    ],
    ids=" ".join,
)
def test_tor_resolve_asks_a_resolver_behind_two_hops(
    through_resolver: Chainsocks, own_hops: list[Chainsocks], arguments: list[str], answer: str
) -> None:
    assert tor_resolve(through_resolver.address, *arguments) == answer
    through_resolver.wait_for(f'command=RESOLVE.* reply=00 .*outcome="answered {re.escape(answer)}"')


def test_a_name_that_the_resolver_does_not_have(through_resolver: Chainsocks) -> None:
    assert ask(through_resolver.address, socks5_request(("none.example", 0), RESOLVE)) == b"\x05\x04\0\x01" + bytes(6)
    assert ask(through_resolver.address, socks4_request(("none.example", 0), command=RESOLVE)) == b"\0\x5b" + bytes(6)
    assert ask(through_resolver.address, socks5_request(("fails.example", 0), RESOLVE)) == b"\x05\x01\0\x01" + bytes(6)


def test_a_chain_with_nobody_to_ask(own_hops: list[Chainsocks]) -> None:
    with chainsocks(own_hops[0].url) as front:
        assert ask(front.address, socks5_request(("localhost", 0), RESOLVE)) == b"\x05\x07\0\x01" + bytes(6)


def test_torsocks(through_resolver: Chainsocks, tmp_path: Path) -> None:
    """It looks up the names of any program by RESOLVE, and its addresses by RESOLVE_PTR."""
    torsocks = find_program("torsocks", "torsocks")
    host, port = through_resolver.address
    script = "from socket import *; print(gethostbyname('four.example'), gethostbyaddr('192.0.2.4')[0])"
    done = subprocess.run(
        [torsocks, "-a", host, "-P", str(port), sys.executable, "-c", script],
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout.split() == ["192.0.2.4", "four.example"], done.stderr


# --- tor as the last hop


@pytest.mark.parametrize("name", ["site.mapped", ONION])
def test_tor_answers(through_tor: Chainsocks, real: Tor, name: str) -> None:
    """These names it maps by itself, and so it has an answer without a network."""
    answer = tor_resolve(real.address, name)
    assert ipaddress.ip_address(answer) in ipaddress.ip_network(VIRTUAL)
    assert [tor_resolve(through_tor.address, version, name) for version in ("-4", "-5")] == [answer, answer]


REFUSALS = [
    pytest.param(socks5_request((ONION, 80)), 0xF6, id="onion-address-invalid"),
    pytest.param(socks5_request(NOWHERE), 0x06, id="gives-up"),
    pytest.param(socks5_request(("127.0.0.1", 80)), 0x01, id="our-machine"),
    pytest.param(socks5_request(("10.0.0.1", 0), RESOLVE_PTR), 0x04, id="no-name"),
]


@pytest.mark.parametrize(("request_", "code"), REFUSALS)
def test_tors_refusals_come_with_its_own_code(through_tor: Chainsocks, real: Tor, request_: bytes, code: int) -> None:
    assert ask(real.address, request_)[:2] == bytes((5, code))
    assert ask(through_tor.address, request_) == bytes((5, code, 0, 1)) + bytes(6)
    through_tor.wait_for(f"reply={code:02X} .*hop hop2 \\(2 of 2\\) at {real.address[0]}:{real.address[1]}, request: ")


def test_a_socks4_client_is_told_that_there_is_one(through_tor: Chainsocks) -> None:
    assert ask(through_tor.address, socks4_request((ONION, 80))) == b"\0\x5b" + bytes(6)


def test_all_of_tors_codes_are_passed_on() -> None:
    """Of the real ones, all but F6 take a network to come by."""
    codes = range(0xF0, 0xF8)
    coming = (code for code in codes for _ in ("SOCKS5", "SOCKS4"))

    def refuse(sock: socket.socket) -> None:
        assert read(sock, 3) == GREETING
        sock.sendall(b"\x05\x00")
        assert read(sock, 10) == socks5_request(NOWHERE)
        sock.sendall(bytes((5, next(coming), 0, 1)) + bytes(6))

    with serving(refuse) as (host, port), chainsocks(f"socks5://{host}:{port}") as front:
        for code in codes:
            assert ask(front.address, socks5_request(NOWHERE)) == bytes((5, code, 0, 1)) + bytes(6)
            assert ask(front.address, socks4_request(NOWHERE)) == b"\0\x5b" + bytes(6)
            line = front.wait_for(f"reply={code:02X} ").string
            assert re.search(rf"it refused 192\.0\.2\.1:80: onion service [a-z ]+ \({code:02X}\)", line)


# --- what tor separates by


@contextlib.contextmanager
def isolating(real: Tor, isolate: str, workers: int = 1) -> Iterator[tuple[Chainsocks, Callable[..., tuple[str, str]]]]:
    """Our server in front of tor, and a function that has a client ask for something, and returns what tor was told."""
    controller = Controller(real.control)
    hop = f'{{ url = "{real.url}", isolate = "{isolate}" }}'
    with contextlib.closing(controller), chainsocks(hop, users=USERS, workers=workers, grace=0.1) as front:

        def told(user: str = "carol", host: str = "127.0.0.1", site: SocketAddress = NOWHERE) -> tuple[str, str]:
            with socket.create_connection(front.address, PATIENCE, source_address=(host, 0)) as sock:
                sock.sendall(b"\x05\x01\x02" + socks5_login(user, USERS[user]) + socks5_request(site))
                assert read(sock, 4) == b"\x05\x02\x01\x00"
                return controller.next_login()

        yield front, told


USERS = {"carol": "sesame", "dave": "open"}


@pytest.mark.parametrize(
    ("isolate", "others", "alike"),
    [
        ("session", [{}], []),
        ("user", [{"user": "dave"}], [{}, {"host": "127.0.0.2"}, {"site": ("192.0.2.2", 80)}]),
        ("client", [{"host": "127.0.0.2"}], [{}, {"user": "dave"}, {"site": ("192.0.2.2", 80)}]),
        ("destination", [{"site": ("192.0.2.2", 80)}], [{}, {"user": "dave"}, {"site": ("192.0.2.1", 81)}]),
    ],
)
def test_what_tor_is_told(
    real: Tor, isolate: str, others: list[dict[str, object]], alike: list[dict[str, object]]
) -> None:
    with isolating(real, isolate) as (front, told):
        first = told()
        assert [told(**change) for change in alike] == [first] * len(alike)
        assert first not in [told(**change) for change in others]
        for part in first:
            assert re.fullmatch("[0-9a-f]{32}", part)
            assert part not in front.said


def test_workers_tell_tor_the_same(real: Tor) -> None:
    with isolating(real, "user", workers=2) as (front, told):
        front.wait_for("worker 2 .* has started")
        first = told()
        for _ in range(64):
            assert told() == first
            if len(set(re.findall(r"(worker \d): id=\S+ = hop", front.said))) == 2:
                return
    raise AssertionError("one of two workers got nobody")
