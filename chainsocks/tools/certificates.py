"""Certificates: make one with its key, and say what one says. The package cryptography is in the extra ``tls``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chainsocks.config.tls import show_pin
from chainsocks.net.pins import pin_of

__all__ = ["Certificate", "Made", "make_certificate", "read_certificate"]

LONGEST_NAME = 64
"""Characters of a common name (RFC 5280 appendix A.1)."""

CLOCKS_DIFFER = timedelta(days=1)
"""A certificate is valid from so long before it is made."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says."""

    pin: str
    """As it is written."""
    names: tuple[str, ...]
    """The hosts that it is for; without any, the common names of its subject."""
    expires: datetime


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate that was made, and its key (PEM)."""

    key: bytes
    pem: bytes
    certificate: Certificate


def make_certificate(name: str, days: int) -> Made:
    """Make a key (ECDSA, P-256), and a certificate for a host or a client that it signs itself.

    It serves both sides of TLS. The other side accepts it by its pin, or trusts it as an authority.

    Raises:
        ValueError: no certificate can have this name.
    """
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name of a certificate has 1 to {LONGEST_NAME} printable characters")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if alternative := _alternative(name):
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Made(written, certificate.public_bytes(Encoding.PEM), _described(certificate))


def _alternative(name: str) -> x509.GeneralName | None:
    """Return a name as TLS compares it with a host; None if it cannot be a host."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    return None if not name.isascii() or " " in name else x509.DNSName(name)


def read_certificate(data: bytes) -> Certificate:
    """Read a certificate: DER, or the first one of a PEM file.

    Raises:
        ValueError: there is none.
    """
    if b"-----BEGIN " in data:
        return _described(x509.load_pem_x509_certificate(data))
    return _described(x509.load_der_x509_certificate(data))


def _described(certificate: x509.Certificate) -> Certificate:
    pin = show_pin(pin_of(certificate.public_bytes(Encoding.DER)))
    names: list[str] = []
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = [str(getattr(each, "value", each)) for each in extension.value]
    except (x509.ExtensionNotFound, ValueError):
        pass
    subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = names or [str(each.value) for each in subject]
    return Certificate(pin, tuple(names), certificate.not_valid_after_utc)
