"""Optional dependencies: what a configuration asks for has to be there, and is loaded before it is needed."""

from __future__ import annotations

import importlib

__all__ = ["DNS", "GSSAPI", "PLOT", "require"]

DNS = "dns.message", "dns"
"""What a resolver takes (`chainsocks.chain.dns_messages`): a module, and the extra that it comes with."""

GSSAPI = "gssapi", "gssapi"
"""What it takes to prove who somebody is by Kerberos (`chainsocks.gss.kerberos`)."""

PLOT = "matplotlib.figure", "plot"
"""What the charts of `chainsocks bench` need (`chainsocks.tools.bench.plot`)."""


def require(module: str, extra: str) -> None:
    """Load a module of a package that comes with one of our extras; loading it again costs nothing.

    Raises:
        ValueError: it is not installed; the message says how to install it.
    """
    try:
        importlib.import_module(module)
    except ImportError:
        raise ValueError(f"this takes more than is installed: pip install 'chainsocks[{extra}]'") from None
