"""Listeners with TLS: openssl, stunnel, curl and our own server as clients, client certificates, and reloads."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.certificates import Authority, authority
from tests.e2e import servers
from tests.e2e.curl import Curl
from tests.e2e.programs import SocketAddress, find_program, free_address
from tests.e2e.reloading import reloadable
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import MIB, PAGE, exchange
from tests.e2e.wire import ask_socks5, connect, connected, read, read_to_end, reset

NAME = "paris.example"


def write_pem(path: Path, leaf: trustme.LeafCert) -> Path:
    path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.pem").write_bytes(authority().ca.cert_pem.bytes())
    write_pem(folder / "server.pem", authority().issue(NAME, "127.0.0.1"))
    write_pem(folder / "carol.pem", authority().ca.issue_cert("carol.example", common_name="carol"))
    return folder


def table(folder: Path, client_ca: bool = False) -> str:  # noqa: FBT001, FBT002
    more = f', client_ca = "{folder / "ca.pem"}"' if client_ca else ""
    return f'{{ address = "127.0.0.1:0", tls = {{ cert = "{folder / "server.pem"}"{more} }} }}'


ONLY_CAROL = ["[[rules]]", 'users = "cert:carol"', 'chain = "direct"', "[[rules]]", "deny = true"]


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Chainsocks]:
    with chainsocks(listen=[table(folder)]) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Chainsocks]:
    """A server for carol alone, who shows a certificate."""
    with chainsocks(listen=[table(folder, client_ca=True)], users={"dave": "secret"}, tables=ONLY_CAROL) as server:
        yield server


def hop(server: Chainsocks, folder: Path, protocol: str = "socks5", more: str = "") -> str:
    tls = f'{{ ca = "{folder / "ca.pem"}"{more} }}'
    return f'{{ protocol = "{protocol}", address = "{server.listeners[0]}", tls = {tls} }}'


@pytest.mark.parametrize("protocol", ["socks5", "socks4a", "http"])
def test_our_own_hop(server: Chainsocks, folder: Path, source_and_sink: SocketAddress, protocol: str) -> None:
    with chainsocks(hop(server, folder, protocol)) as front, connected(front.address, source_and_sink) as sock:
        exchange(sock, 8 * MIB)


def test_our_own_hop_shows_a_certificate_and_resumes(guarded: Chainsocks, folder: Path, echo: SocketAddress) -> None:
    """What a resumed session proves is the certificate of the first one."""
    shows = f', client_cert = "{folder / "carol.pem"}"'
    with chainsocks(hop(guarded, folder, more=shows)) as front:
        for _ in range(3):
            with connected(front.address, echo) as sock:
                sock.sendall(b"here?")
                assert read(sock, 5) == b"here?"
    guarded.wait_for(rf" user=cert:carol command=CONNECT destination=127\.0\.0\.1:{echo[1]} .* reply=00 ", times=3)


def test_half_close_goes_through(
    server: Chainsocks, own_hops: list[Chainsocks], folder: Path, echo: SocketAddress
) -> None:
    with chainsocks(own_hops[0].url, hop(server, folder)) as front, connected(front.address, echo) as sock:
        sock.sendall(b"x" * MIB)
        sock.shutdown(1)
        assert read_to_end(sock) == b"x" * MIB


def test_a_plain_request_ends_all_layers(server: Chainsocks, folder: Path, curl: Curl, page: SocketAddress) -> None:
    """Its response ends by its length. To both hops that has to be an end, and no cut."""
    with chainsocks(listen=[table(folder)]) as second:
        with chainsocks(hop(server, folder), hop(second, folder, "http")) as front:
            for _ in range(5):
                answer = curl("--proxy", f"http://{front.listeners[0]}", f"http://127.0.0.1:{page[1]}/")
                assert (answer.status, answer.page) == (0, PAGE), answer.complaint
        second.wait_for(rf'destination=127\.0\.0\.1:{page[1]} .* outcome="finished"', times=5)
        server.wait_for(rf'destination={re.escape(second.listeners[0])} .* outcome="finished"', times=5)


def test_a_cut_is_a_reset(server: Chainsocks, folder: Path, echo: SocketAddress) -> None:
    with chainsocks(hop(server, folder)) as front:
        sock = connect(front.address)
        assert ask_socks5(sock, echo) == 0
        reset(sock)
    server.wait_for(rf'destination=127\.0\.0\.1:{echo[1]} .* outcome="reset by the client"')


@pytest.mark.parametrize("how", [["--proxytunnel"], []], ids=["CONNECT", "a plain request"])
def test_curl_to_an_https_proxy(
    server: Chainsocks, folder: Path, curl: Curl, page: SocketAddress, how: list[str]
) -> None:
    options = ["--proxy", f"https://{server.listeners[0]}", "--proxy-cacert", str(folder / "ca.pem"), *how]
    answer = curl(*options, f"http://127.0.0.1:{page[1]}/")
    assert (answer.status, answer.page) == (0, PAGE), answer.complaint


@pytest.mark.parametrize("shows", [True, False], ids=["certificate", "none"])
def test_plain_http_requests_on_one_connection(
    request: pytest.FixtureRequest,
    folder: Path,
    curl: Curl,
    page: SocketAddress,
    shows: bool,  # noqa: FBT001
) -> None:
    """Each is a session of its own, of the client that has shown its certificate once."""
    server: Chainsocks = request.getfixturevalue("guarded" if shows else "server")
    options = ["--proxy", f"https://{server.listeners[0]}", "--proxy-cacert", str(folder / "ca.pem")]
    options += ["--proxy-cert", str(folder / "carol.pem")] if shows else []
    url = f"http://127.0.0.1:{page[1]}/"
    answer = curl(*options, url, url)
    assert (answer.status, answer.page) == (0, PAGE + PAGE), answer.complaint
    user = r" user=cert:carol" if shows else ""
    client = re.escape(f"{answer.client[0]}:{answer.client[1]}")
    server.wait_for(rf"client={client}{user} .* reply=00 .*finished", times=2)


@pytest.mark.parametrize("shows", ["carol", "dave", None])
def test_stunnel_with_a_client_certificate(
    guarded: Chainsocks, folder: Path, tmp_path: Path, curl: Curl, page: SocketAddress, shows: str | None
) -> None:
    write_pem(tmp_path / "dave.pem", authority().ca.issue_cert("dave.example", common_name="dave"))
    lines = ["client = yes", f"CAfile = {folder / 'ca.pem'}", "verifyChain = yes", f"checkHost = {NAME}"]
    certificate = (folder if shows == "carol" else tmp_path) / f"{shows}.pem" if shows else None
    with servers.stunnel(tmp_path, guarded.address, certificate, *lines) as (host, port):
        answer = curl("--socks5-hostname", f"{host}:{port}", f"http://127.0.0.1:{page[1]}/")
    if shows == "carol":
        assert (answer.status, answer.page) == (0, PAGE)
        guarded.wait_for(f" user=cert:carol command=CONNECT destination=127.0.0.1:{page[1]} .* reply=00 ")
    elif shows:
        assert answer.status
        guarded.wait_for(f" user=cert:dave command=CONNECT destination=127.0.0.1:{page[1]} .* reply=02 ")
    else:
        assert answer.status
        guarded.wait_for('outcome="client, TLS handshake: it showed no certificate, and one is required"')


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("with_certificate", [True, False])
def test_openssl(
    request: pytest.FixtureRequest,
    folder: Path,
    page: SocketAddress,
    version: str,
    with_certificate: bool,  # noqa: FBT001
) -> None:
    server: Chainsocks = request.getfixturevalue("guarded" if with_certificate else "server")
    command = [find_program("openssl", "openssl"), "s_client", "-quiet", version, "-connect", server.listeners[0]]
    command += ["-CAfile", str(folder / "ca.pem"), "-verify_return_error", "-servername", NAME]
    if with_certificate:
        command += ["-cert", str(folder / "carol.pem"), "-key", str(folder / "carol.pem")]
    target = f"127.0.0.1:{page[1]}"
    typed = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET / HTTP/1.0\r\n\r\n"
    done = subprocess.run(command, input=typed.encode(), capture_output=True, timeout=20, check=False)
    assert done.stdout.startswith(b"HTTP/1.1 200 "), done.stderr
    assert done.stdout.endswith(PAGE)


@pytest.mark.parametrize(
    ("sends", "says"),
    [
        (b"\x05\x01\x00", "it does not speak TLS; it looks like SOCKS5 "),
        (b"GET / HTTP/1.1\r\n\r\n", "it does not speak TLS; it looks like HTTP "),
        (b"\xff" * 4000, "it does not speak TLS; it looks like no known protocol "),
        (b"\x16\x03\x01\x00\x10" + b"\xff" * 16, "TLS failed: "),
    ],
    ids=["SOCKS5", "HTTP", "garbage", "garbage in a record"],
)
def test_clients_that_do_not_speak_tls(server: Chainsocks, sends: bytes, says: str) -> None:
    with connect(server.address) as sock:
        sock.sendall(sends)
        assert read(sock, 1) in (b"", b"\x15")  # an alert, if anything
        host, port = str(sock.getsockname()[0]), int(sock.getsockname()[1])
    server.wait_for(f'client={host}:{port} .* outcome="client, TLS handshake: {says}')


def test_tls_at_a_listener_without(without_hops: Chainsocks) -> None:
    context = ssl.create_default_context()
    with connect(without_hops.address) as sock, pytest.raises(OSError, match=r".*"):
        context.wrap_socket(sock, server_hostname=NAME)
    without_hops.wait_for("it looks like TLS ")


def test_silent_clients_do_not_keep_others_out(folder: Path, curl: Curl, page: SocketAddress) -> None:
    with chainsocks(listen=[table(folder)], max_sessions=4, handshake=60) as server, ExitStack() as stack:
        for number in range(6):
            sock = stack.enter_context(connect(server.address))
            sock.sendall(b"\x16\x03\x01"[: number % 4])
        options = ["--proxy", f"https://{server.listeners[0]}", "--proxy-cacert", str(folder / "ca.pem")]
        answer = curl(*options, "--proxytunnel", f"http://127.0.0.1:{page[1]}/")
        assert (answer.status, answer.page) == (0, PAGE), answer.complaint


def certificate_of(address: SocketAddress, ca: Authority) -> str:
    """Connect, verify, and return the name in the certificate."""
    context = ca.client()
    context.check_hostname = False
    with connect(address) as raw, context.wrap_socket(raw) as sock:
        fields = sock.getpeercert()
        assert fields
        return str(fields["subjectAltName"])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_reads_the_certificate_again(tmp_path: Path, echo: SocketAddress, workers: int) -> None:
    address, ca, pem = free_address(), Authority(), tmp_path / "server.pem"
    text = f"""[server]
listen = {{ address = "{address[0]}:{address[1]}", tls = {{ cert = "server.pem" }} }}
workers = {workers}
[timeouts]
grace = 1
"""
    write_pem(pem, ca.issue("old.example"))
    with reloadable(tmp_path, text) as server:
        assert server.address == address
        tls = '{ ca = "' + str(tmp_path / "ca.pem") + '", name = "old.example" }'
        (tmp_path / "ca.pem").write_bytes(ca.ca.cert_pem.bytes())
        own = f'{{ protocol = "socks5", address = "{address[0]}:{address[1]}", tls = {tls} }}'
        with chainsocks(own) as front, connected(front.address, echo) as sock:
            assert "old.example" in certificate_of(address, ca)
            write_pem(pem, ca.issue("new.example"))
            server.reload()
            assert all("new.example" in certificate_of(address, ca) for _ in range(8))
            pem.write_text("nonsense")
            server.reload()
            server.wait_for(r"ERROR .*server\.listen: cert: .*server\.pem is not what is expected, PEM")
            server.wait_for("not reloaded: the server goes on")
            assert all("new.example" in certificate_of(address, ca) for _ in range(8))
            sock.sendall(b"still there?")
            assert read(sock, 12) == b"still there?"
