"""Optional dependencies: a configuration that needs one loads it while it is checked."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

__all__ = ["DNS", "GSSAPI", "PLOT", "TLS", "WEB", "require", "require_installed"]

DNS = "dns.message", "dns"
"""The module that a resolver needs (`chainsocks.chain.dns_messages`), and the extra that installs it."""

GSSAPI = "gssapi", "gssapi"
"""The module that GSSAPI needs (`chainsocks.gss.kerberos`), and its extra."""

PLOT = "matplotlib.figure", "plot"
"""The module that the charts of `chainsocks bench` need (`chainsocks.tools.bench.plot`), and its extra."""

TLS = "cryptography.x509", "tls"
"""The module that pins of certificates need (`chainsocks.net.pins`), and its extra."""

WEB = ("hypercorn", "starlette", "prometheus_client"), "web"
"""The packages that the web server needs (`chainsocks.web`), and their extra. Its own process loads them."""


_MISSING = "this needs the extra {0}, which is not installed: pip install '.[{0}]' in the folder with pyproject.toml"


def require(module: str, extra: str) -> None:
    """Import a module of an optional package.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise ValueError(_MISSING.format(extra)) from None


def require_installed(packages: Sequence[str], extra: str) -> None:
    """Check that optional packages can be imported, without doing so.

    Raises:
        ValueError: as `require`.
    """
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise ValueError(_MISSING.format(extra))
