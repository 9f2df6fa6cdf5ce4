"""Optional dependencies: a configuration that needs one loads it while it is checked."""

from __future__ import annotations

import importlib

__all__ = ["DNS", "GSSAPI", "PLOT", "require"]

DNS = "dns.message", "dns"
"""The module that a resolver needs (`chainsocks.chain.dns_messages`), and the extra that installs it."""

GSSAPI = "gssapi", "gssapi"
"""The module that GSSAPI needs (`chainsocks.gss.kerberos`), and its extra."""

PLOT = "matplotlib.figure", "plot"
"""The module that the charts of `chainsocks bench` need (`chainsocks.tools.bench.plot`), and its extra."""


def require(module: str, extra: str) -> None:
    """Import a module of an optional package.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise ValueError(f"an optional package is not installed: pip install 'chainsocks[{extra}]'") from None
