"""`chainsocks cert`: the files, the lines to paste, and pins."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from chainsocks.config.load import parse_config
from chainsocks.config.tls import context_of, listener_context_of, show_pin
from chainsocks.net.pins import pin_of
from tests.certificates import NAME, authority
from tests.commands import run_main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["paris.example", "192.0.2.1", "2001:db8::1"])
def test_what_it_prints_works_on_both_sides(capsys: pytest.CaptureFixture[str], here: Path, name: str) -> None:
    old = os.umask(0)
    try:
        status, out, err = run_main(capsys, "cert", name, "--days", "30")
    finally:
        os.umask(old)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in here.iterdir()}
    assert files == {f"{name}.key": 0o600, f"{name}.pem": 0o600}
    config = parse_config(
        out.replace("[hops", "[server]\nopen = true\n[hops", 0).replace('"0.0.0.0:1443"', '"[::1]:1443"', 1)
    )
    [listener], [hop] = config.server.listen, config.hops.values()
    assert listener.tls
    assert hop.tls
    assert (hop.name, hop.address.host) == (name, name)
    shake(listener_context_of(listener.tls), context_of(hop.tls), None)
    trusting = ssl.create_default_context(cafile=str(here / f"{name}.pem"))  # it is its own authority as well
    pem = shake(listener_context_of(listener.tls), trusting, name)
    assert show_pin(pin_of(pem)) == show_pin(*hop.tls.pins)
    assert run_main(capsys, "cert", "--show", f"{name}.pem")[1].splitlines()[0] == show_pin(*hop.tls.pins)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> bytes:
    """Do a handshake in memory, and return the server's certificate."""
    bios = [ssl.MemoryBIO() for _ in range(2)]
    ours = client.wrap_bio(bios[0], bios[1], server_hostname=name or "x")
    theirs = server.wrap_bio(bios[1], bios[0], server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return ours.getpeercert(binary_form=True) or b""


def test_a_client_may_have_any_name(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert run_main(capsys, "cert", "Carol Müller")[0] == 0
    [attribute] = x509.load_pem_x509_certificate((here / "Carol Müller.pem").read_bytes()).subject
    assert attribute.value == "Carol Müller"


@pytest.mark.parametrize("taken", ["paris.key", "paris.pem"])
def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str], here: Path, taken: str) -> None:
    (here / taken).write_text("precious")
    status, out, err = run_main(capsys, "cert", "paris")
    assert (status, out) == (1, "")
    assert err.startswith(f"chainsocks: {taken} exists already, and is not overwritten: ")
    assert [path.name for path in here.iterdir()] == [taken]
    assert (here / taken).read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (["../paris"], 1, "the name is that of two files as well"),
        ([".paris"], 1, "the name is that of two files as well"),
        (["x" * 65], 1, "a name of a certificate has 1 to 64 printable characters"),
        (["a\nb"], 1, "a name of a certificate has 1 to 64 printable characters"),
        ([""], 1, "a name of a certificate has 1 to 64 printable characters"),
        ([], 2, "expected a NAME to make a certificate for, or --show"),
        (["paris", "--show", "x"], 2, "expected a NAME to make a certificate for, or --show"),
        (["paris", "--days", "0"], 2, "0 is not in the range"),
        (["--show", "missing.pem"], 1, "missing.pem: No such file or directory"),
        (["--show", "empty"], 1, "empty: there is no certificate in it (PEM)"),
        (["--show", "broken"], 1, ""),
    ],
)
def test_what_is_wrong(
    capsys: pytest.CaptureFixture[str], here: Path, words: list[str], status: int, problem: str
) -> None:
    (here / "empty").touch()
    (here / "broken").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    before = {path.name for path in here.iterdir()}
    got, out, err = run_main(capsys, "cert", *words)
    assert (got, out) == (status, "")
    assert err.startswith("chainsocks: ")
    assert problem in err
    assert "bug" not in err
    assert {path.name for path in here.iterdir()} == before


def test_without_the_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("chainsocks.config.extras.importlib.import_module", import_module)
    status, out, err = run_main(capsys, "cert", "paris")
    assert (status, out) == (1, "")
    assert "pip install '.[tls]'" in err
    assert "--help" not in err


@contextmanager
def tls_server(context: ssl.SSLContext | None) -> Iterator[str]:
    """Serve one connection: TLS, or a SOCKS5 answer."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            try:
                if context:
                    context.wrap_socket(sock, server_side=True).close()
                else:
                    sock.recv(1)
                    sock.sendall(b"\x05\xff\x00\x00\x00\x00")
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def test_the_pin_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    leaf = authority().ca.issue_cert(NAME, not_after=None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    with tls_server(context) as address:
        status, out, err = run_main(capsys, "cert", "--show", address)
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    pin = show_pin(pin_of(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())))
    assert (status, err) == (0, "")
    assert out.startswith(f"{pin}\n{NAME}: expires in ")
    assert out.endswith(f", on {certificate.not_valid_after_utc:%Y-%m-%d}\n")


def test_an_expired_one(capsys: pytest.CaptureFixture[str]) -> None:
    with tls_server(authority().server(expired=timedelta(days=3, hours=1))) as address:
        assert f"{NAME}: expired 3 days ago" in run_main(capsys, "cert", "--show", address)[1]


def test_a_server_without_tls(capsys: pytest.CaptureFixture[str]) -> None:
    with tls_server(None) as address:
        status, out, err = run_main(capsys, "cert", "--show", address)
    assert (status, out) == (1, "")
    assert err.startswith(f"chainsocks: {address}: it does not speak TLS as expected: ")
