"""The two roots of the exception tree that the wire itself needs.

They stand on the ground floor so that nothing here imports upward; `chainsocks.errors` draws the whole tree
and re-exports them.
"""

from __future__ import annotations

__all__ = ["ChainsocksError", "LoginRefused", "ProtocolError"]


class ChainsocksError(Exception):
    """The root of every exception that chainsocks raises on purpose."""


class ProtocolError(ChainsocksError):
    """The peer said something that SOCKS does not allow, or nothing we can go on with."""


class LoginRefused(ProtocolError):
    """The proxy we talk to wants other credentials than ours, or none of the methods we offered."""
