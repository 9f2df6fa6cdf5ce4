"""Certificates that are made, and what is read of others."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from chainsocks.tools.certificates import make_certificate, read_certificate
from tests.certificates import authority


@pytest.mark.parametrize(
    ("name", "alternative"),
    [
        ("paris.example", x509.DNSName("paris.example")),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("Carol M", None),
        ("ü", None),
    ],
)
def test_what_is_made(name: str, alternative: object) -> None:
    made = make_certificate(name, 30)
    certificate = x509.load_pem_x509_certificate(made.pem)
    certificate.verify_directly_issued_by(certificate)
    [common] = certificate.subject
    assert common.value == name
    names = certificate.extensions
    if alternative is None:
        with pytest.raises(x509.ExtensionNotFound):
            names.get_extension_for_class(x509.SubjectAlternativeName)
    else:
        [found] = names.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found == alternative or str(found.value) == alternative
    assert made.certificate.names == (name,)
    assert timedelta(29) < made.certificate.expires - datetime.now(UTC) < timedelta(30)


def test_two_are_different() -> None:
    assert make_certificate("paris", 1).certificate.pin != make_certificate("paris", 1).certificate.pin


def test_reading() -> None:
    pem = authority().issue("lima.example", "192.0.2.1").cert_chain_pems[0].bytes()
    read = read_certificate(pem)
    assert read == read_certificate(ssl.PEM_cert_to_DER_cert(pem.decode()))
    assert set(read.names) == {"lima.example", "192.0.2.1"}
    with pytest.raises(ValueError, match=r"."):
        read_certificate(b"garbage")
