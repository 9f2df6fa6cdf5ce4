"""TLS at a hop and at a listener, as it is written, and the context that comes of it."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives import serialization

from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.load import Loaded, read_file
from chainsocks.config.models import Config
from chainsocks.config.tls import Tls, context_of, listener_context_of, parse_pin, show_pin
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


# --- listeners


def listening(folder: Path, tls: str, address: str = "127.0.0.1:1443", more: str = "") -> Loaded:
    (folder / "c.toml").write_text(f'[server]\nlisten = {{ address = "{address}", tls = {tls} }}\n{more}')
    return read_file(folder / "c.toml")


def context_at(config: Config) -> ssl.SSLContext:
    [listener] = config.server.listen
    assert listener.tls
    return listener_context_of(listener.tls)


def test_a_listener(tmp_path: Path) -> None:
    authority().write(tmp_path)
    without = listening(tmp_path, '{ cert = "server.pem" }').config
    assert context_at(without).verify_mode is ssl.CERT_NONE
    both = listening(tmp_path, '{ cert = "server.pem", client_ca = "ca.pem" }').config
    assert context_at(both).verify_mode is ssl.CERT_REQUIRED
    assert pickle.loads(pickle.dumps(both.server)) == both.server != without.server


def test_a_listener_whose_certificate_has_changed_is_another_one(tmp_path: Path) -> None:
    _, server = authority().write(tmp_path)
    before = listening(tmp_path, '{ cert = "server.pem" }').config
    assert before.server == listening(tmp_path, '{ cert = "server.pem" }').config.server
    server.write_text(server.read_text() + "\n")
    after = listening(tmp_path, '{ cert = "server.pem" }').config
    assert before.server != after.server
    assert context_at(before) is not context_at(after)


@pytest.mark.parametrize("with_key", [True, False])
def test_a_key_that_everyone_can_read(with_key: bool) -> None:  # noqa: FBT001
    with TemporaryDirectory() as name:  # unlike `tmp_path`, it is in no folder that is closed to others
        folder = Path(name)
        folder.chmod(0o711)
        _, server = authority().write(folder)
        (folder / "key.pem").write_bytes(server.read_bytes())
        key = folder / "key.pem" if with_key else server
        tls = '{ cert = "server.pem", key = "key.pem" }' if with_key else '{ cert = "server.pem" }'
        for mode, warns in ((0o604, True), (0o600, False)):
            key.chmod(mode)
            warnings = " ".join(map(str, listening(folder, tls).warnings))
            assert (f"every user of this machine can read the key: chmod o= {key}" in warnings) is warns


def test_with_client_certificates_it_is_no_open_proxy(tmp_path: Path) -> None:
    authority().write(tmp_path)
    with pytest.raises(ConfigError, match="no login is required"):
        listening(tmp_path, '{ cert = "server.pem" }', "0.0.0.0:1443")
    assert listening(tmp_path, '{ cert = "server.pem", client_ca = "ca.pem" }', "0.0.0.0:1443").config


def test_an_identity_needs_client_certificates(tmp_path: Path) -> None:
    authority().write(tmp_path)
    rule = '[[rules]]\nusers = "cert:carol"\nchain = "direct"\n'
    with pytest.raises(ConfigError, match="give a listener tls with client_ca"):
        listening(tmp_path, '{ cert = "server.pem" }', more=rule)
    assert listening(tmp_path, '{ cert = "server.pem", client_ca = "ca.pem" }', more=rule).config


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ("true", "listen.tls: "),
        ("{}", "listen.tls.cert: this key is missing"),
        ('{ cert = "missing.pem" }', "cert: "),
        ('{ cert = "garbage.pem" }', "is not what is expected, PEM: "),
        ('{ cert = "ca.pem" }', "cert: "),
        ('{ cert = "ca.pem", key = "server.pem" }', "cert: the key is not the one of the certificate in "),
        ('{ cert = "server.pem", client_ca = "garbage.pem" }', "client_ca: "),
        ('{ cert = "server.pem", key = "locked.pem" }', "key: it is encrypted, and there is no place for its password"),
        ('{ cert = "server.pem", clientca = "ca.pem" }', "did you mean 'client_ca'?"),
    ],
)
def test_what_is_wrong_with_a_listener(tmp_path: Path, tls: str, problem: str) -> None:
    authority().write(tmp_path)
    (tmp_path / "garbage.pem").write_text("no certificate")
    (tmp_path / "locked.pem").write_bytes(locked_key())
    with pytest.raises(ConfigError) as error:
        listening(tmp_path, tls)
    assert problem in str(error.value)


def locked_key() -> bytes:
    key = serialization.load_pem_private_key(authority().issue().private_key_pem.bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
