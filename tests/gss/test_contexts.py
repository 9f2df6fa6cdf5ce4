"""Where a mechanism comes from, and what is said when there is none."""

from __future__ import annotations

import sys

import pytest

from chainsocks.errors import ChainsocksError, GssError
from chainsocks.gss.contexts import mechanism
from tests.e2e.programs import find_module


def test_the_mechanism_is_kerberos() -> None:
    find_module("gssapi", "libkrb5-dev, then pip install gssapi")
    assert mechanism() is sys.modules["chainsocks.gss.kerberos"]


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "chainsocks.gss.kerberos", raising=False)
    monkeypatch.setitem(sys.modules, "gssapi", None)
    with pytest.raises(GssError, match=r"GSSAPI is not available .*; pip install '\.\[gssapi\]'") as error:
        mechanism()
    assert isinstance(error.value, ChainsocksError)
