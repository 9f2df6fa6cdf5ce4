"""Optional dependencies: there, or a line that says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chainsocks.config.extras import DNS, GSSAPI, PLOT, WEB, require, require_installed
from tests.config.files import complaint_of

MISSING = "this needs the extra dns, which is not installed: pip install '.[dns]' in the folder with pyproject.toml"


def test_what_is_installed_is_loaded() -> None:
    script = "import sys; from chainsocks.config.extras import *; require(*DNS); assert 'dns.message' in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.message", None)
    assert complaint_of(require, *DNS) == MISSING
    monkeypatch.setitem(sys.modules, "gssapi", None)
    assert complaint_of(require, *GSSAPI) == MISSING.replace("dns", "gssapi")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert complaint_of(require, *PLOT) == MISSING.replace("dns", "plot")


def test_a_package_can_be_asked_for_without_loading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = {*sys.modules}
    require_installed(("pyftpdlib",), "test")
    assert {*sys.modules} - loaded == set()
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert complaint_of(require_installed, *WEB) == MISSING.replace("dns", "web")
