"""The pin of a certificate, by the package cryptography, which is in the extra ``tls``."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["pin_of"]

_KEPT = 256
"""Certificates whose pins are remembered: a hop shows the same one to each connection."""


@lru_cache(_KEPT)
def pin_of(certificate: bytes) -> bytes:
    """Return the pin of a certificate (DER): the SHA-256 of its public key (RFC 7469 section 2.4).

    Raises:
        ValueError: it is no certificate.
    """
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
