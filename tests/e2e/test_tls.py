"""Hops in TLS: stunnel in front of microsocks and of our own server, HAProxy in front of tinyproxy, and wrong ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import authority
from tests.e2e import servers
from tests.e2e.curl import Curl
from tests.e2e.programs import SocketAddress, find_program, listening
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import MIB, PAGE, exchange
from tests.e2e.wire import connected

NAME = "paris.example"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return authority().write(tmp_path_factory.mktemp("certificates"), NAME)


@pytest.fixture(scope="module", params=["stunnel", "haproxy"])
def hop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: tuple[Path, Path]
) -> Iterator[tuple[str, str]]:
    """A hop in TLS: its protocol and its address."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "stunnel":
        with servers.microsocks() as behind, servers.stunnel(directory, behind, certificates[1]) as (host, port):
            yield "socks5", f"{host}:{port}"
        return
    path, config = find_program("haproxy", "haproxy"), directory / "haproxy.cfg"
    with servers.tinyproxy() as behind:

        def command(address: SocketAddress) -> list[str | Path]:
            lines = ["defaults", "  timeout connect 5s", "  timeout client 60s", "  timeout server 60s", "listen tls"]
            lines += [f"  bind {address[0]}:{address[1]} ssl crt {certificates[1]}", "  mode tcp"]
            lines += [f"  server s {behind[0]}:{behind[1]}"]
            config.write_text("\n".join(lines) + "\n")
            return [path, "-db", "-f", config]

        with listening(command) as (host, port):
            yield "http", f"{host}:{port}"


def table(hop: tuple[str, str], tls: str) -> str:
    protocol, address = hop
    return f'{{ protocol = "{protocol}", address = "{address}", tls = {tls} }}'


@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_hop_in_tls_in_any_place(
    hop: tuple[str, str],
    certificates: tuple[Path, Path],
    own_hops: list[Chainsocks],
    source_and_sink: SocketAddress,
    place: int,
) -> None:
    hops = [own_hops[0].url, own_hops[1].url]
    hops.insert(place, table(hop, f'{{ ca = "{certificates[0]}", name = "{NAME}" }}'))
    with chainsocks(*hops) as front, connected(front.address, source_and_sink) as sock:
        exchange(sock, 8 * MIB)


def test_tls_in_tls_in_tls(
    tmp_path: Path, certificates: tuple[Path, Path], own_hops: list[Chainsocks], curl: Curl, page: SocketAddress
) -> None:
    ca, server = certificates
    for number in (1, 2, 3):
        (tmp_path / str(number)).mkdir()
    with (
        servers.stunnel(tmp_path / "1", own_hops[0].address, server) as one,
        servers.stunnel(tmp_path / "2", own_hops[1].address, server) as two,
        servers.stunnel(tmp_path / "3", own_hops[2].address, server) as three,
    ):
        tls = f'{{ ca = "{ca}", name = "{NAME}" }}'
        hops = [table(("socks5", f"{host}:{port}"), tls) for host, port in (one, two, three)]
        with chainsocks(*hops) as front:
            answer = curl("--socks5-hostname", front.listeners[0], f"http://localhost:{page[1]}/")
            assert (answer.status, answer.page) == (0, PAGE)


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        ("true", "its certificate is not trusted: "),
        ('{ ca = "CA" }', f"its certificate is for {NAME}, and not for 127."),
        (f'{{ pin = "sha256/{"A" * 43}=" }}', "its pin does not match: got sha256/"),
    ],
    ids=["unknown authority", "another name", "another key"],
)
def test_a_wrong_certificate(
    hop: tuple[str, str], certificates: tuple[Path, Path], curl: Curl, page: SocketAddress, tls: str, says: str
) -> None:
    with chainsocks(table(hop, tls.replace("CA", str(certificates[0])) if "ca" in tls else tls)) as front:
        answer = curl("--socks5", front.listeners[0], f"http://127.0.0.1:{page[1]}/")
        assert answer.status
        session = front.session(answer.client)
    assert " reply=01 " in session
    assert f'outcome="hop hop1 (1 of 1) at {hop[1]}, TLS handshake: {says}' in session


def test_the_pin_that_the_error_has_is_the_right_one(hop: tuple[str, str], curl: Curl, page: SocketAddress) -> None:
    url = f"http://127.0.0.1:{page[1]}/"
    with chainsocks(table(hop, f'{{ pin = "sha256/{"A" * 43}=" }}')) as front:
        session = front.session(curl("--socks5", front.listeners[0], url).client)
    pin = session.partition("got ")[2].split(" ")[0]
    with chainsocks(table(hop, f'{{ pin = "{pin}" }}')) as front:
        assert curl("--socks5", front.listeners[0], url).page == PAGE


@pytest.mark.parametrize("is_tls", [True, False])
def test_tls_where_there_is_none_and_the_reverse(
    hop: tuple[str, str],
    own_hops: list[Chainsocks],
    curl: Curl,
    page: SocketAddress,
    is_tls: bool,  # noqa: FBT001
) -> None:
    plain = ("socks5", own_hops[0].listeners[0])
    written = table(plain, "true") if is_tls else f'{{ protocol = "{hop[0]}", address = "{hop[1]}" }}'
    with chainsocks(written, hop=2) as front:
        session = front.session(curl("--socks5", front.listeners[0], f"http://127.0.0.1:{page[1]}/").client)
    assert " reply=00 " not in session
    assert 'outcome="hop hop1 (1 of 1) at ' in session
    if is_tls:
        assert "TLS handshake: " in session
