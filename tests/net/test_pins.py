"""The pin of a certificate: the same as OpenSSL's tools make it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import ssl
import subprocess

import pytest

from chainsocks.config.tls import show_pin
from chainsocks.net.pins import pin_of
from tests.certificates import authority


@pytest.mark.skipif(shutil.which("openssl") is None, reason="NOT TESTED: there is no openssl here")
def test_it_is_that_of_openssl() -> None:
    pem = authority().issue().cert_chain_pems[0].bytes()
    key = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=pem, capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key, capture_output=True, check=True)
    pin = base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()
    assert show_pin(pin_of(ssl.PEM_cert_to_DER_cert(pem.decode()))) == f"sha256/{pin}"


def test_what_is_no_certificate() -> None:
    with pytest.raises(ValueError, match="parsing"):
        pin_of(b"garbage")
