"""TLS at a hop, as it is written, and the context that comes of it."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path

import pytest

from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.load import read_file
from chainsocks.config.tls import Tls, context_of, parse_pin, show_pin
from chainsocks.errors import ConfigError
from tests.certificates import authority

PIN = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def hop_of(folder: Path, written: str) -> Hop:
    (folder / "c.toml").write_text(f"[hops]\nparis = {written}\n")
    return read_file(folder / "c.toml").config.hops["paris"]


@pytest.mark.parametrize(
    ("url", "protocol", "port"),
    [
        ("https://paris.example", HopProtocol.HTTP, 443),
        ("HTTPS://a:b@paris.example:8443", HopProtocol.HTTP, 8443),
        ("socks5+tls://paris.example", HopProtocol.SOCKS5, 1080),
        ("socks4a+tls://paris.example", HopProtocol.SOCKS4A, 1080),
        ("socks4+tls://paris.example", HopProtocol.SOCKS4, 1080),
    ],
)
def test_schemes(url: str, protocol: HopProtocol, port: int) -> None:
    hop = parse_hop_url(url)
    assert (hop.protocol, hop.address.port, hop.tls) == (protocol, port, Tls())
    assert url.lower().startswith(f"{hop.scheme}://")
    assert hop.carries_no_udp


def test_a_hop_with_tls_is_another_one_than_without() -> None:
    with_tls, without = parse_hop_url("socks5+tls://x:1080"), parse_hop_url("socks5://x:1080")
    assert with_tls.identity != without.identity
    assert pickle.loads(pickle.dumps(with_tls)).identity == with_tls.identity


def test_every_key(tmp_path: Path) -> None:
    ca, server = authority().write(tmp_path)
    hop = hop_of(
        tmp_path,
        f'{{ url = "socks5://x", tls = {{ name = "lima.example", ca = "{ca.name}", pin = "{PIN}", '
        f'client_cert = "{server}", alpn = ["a", "b"] }} }}',
    )
    assert hop.tls
    assert (hop.tls.name, hop.tls.ca, hop.tls.client_cert) == ("lima.example", str(ca), str(server))
    assert (hop.tls.pins, hop.tls.alpn) == ((parse_pin(PIN),), ("a", "b"))
    context = context_of(hop.tls)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)  # the pin decides


def test_without_a_pin_everything_is_verified(tmp_path: Path) -> None:
    ca, _ = authority().write(tmp_path)
    for tls in ("true", f'{{ ca = "{ca}" }}', "{}"):
        made = hop_of(tmp_path, f'{{ url = "socks5://x", tls = {tls} }}').tls
        assert made
        context = context_of(made)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    ca, _ = authority().write(tmp_path)
    written = f'{{ url = "socks5://x", tls = {{ ca = "{ca}" }} }}'
    before = hop_of(tmp_path, written).tls
    assert before == hop_of(tmp_path, written).tls
    ca.write_text(ca.read_text() * 2)
    after = hop_of(tmp_path, written).tls
    assert before
    assert after
    assert context_of(before) is not context_of(after)


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ("false", "hops.paris.tls: found false, expected true or a table"),
        ("5", "hops.paris.tls: expected true or a table, found 5"),
        ('{ ca = "missing.pem" }', "ca: "),
        ('{ ca = "garbage.pem" }', "is not what is expected, PEM: "),
        ('{ client_cert = "ca.pem" }', "client_cert: "),
        ('{ client_key = "server.pem" }', "client_key needs client_cert"),
        ('{ pin = "sha256/short" }', 'expected "sha256/" and 44 characters of base64'),
        ('{ pin = "hunter2" }', "expected "),
        ('{ name = "" }', "name"),
        ("{ nam = 5 }", "did you mean 'name'?"),
    ],
)
def test_what_is_wrong(tmp_path: Path, tls: str, problem: str) -> None:
    authority().write(tmp_path)
    (tmp_path / "garbage.pem").write_text("no certificate")
    with pytest.raises(ConfigError) as error:
        hop_of(tmp_path, f'{{ url = "socks5://x", tls = {tls} }}')
    assert problem in str(error.value)
    assert "hunter2" not in str(error.value)


def test_pins_are_those_of_curl() -> None:
    assert parse_pin(PIN.replace("sha256/", "sha256//")) == parse_pin(PIN)
    assert show_pin(parse_pin(PIN)) == PIN
