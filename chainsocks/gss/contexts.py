"""GSS-API contexts as the rest of the program sees them, whoever does the cryptography.

The one who does is `chainsocks.gss.kerberos`, on the package ``gssapi``, which is an optional extra: it is loaded for
the first context, and never for those who use none.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from chainsocks.errors import GssError
from chainsocks.protocol.gssapi import Gssapi, Protection

__all__ = ["Acceptor", "Context", "Mechanism", "mechanism"]


class Context(Protocol):
    """One side of a security context."""

    @property
    def complete(self) -> bool:
        """Whether both sides know each other."""

    async def step(self, token: bytes) -> bytes:
        """Go on with the peer's token, empty at the start, and return the one for the peer, which may be empty.

        It may wait for the network or for the disk, and can be cancelled.

        Raises:
            GssError: there will be no context.
        """

    def wrap(self, data: bytes, protection: Protection) -> bytes:
        """Encapsulate a message.

        Raises:
            GssError: the context cannot do that, or not any more.
        """

    def unwrap(self, token: bytes, protection: Protection) -> bytes:
        """Return what is in a capsule that has at least this `protection`.

        Raises:
            GssError: it has not, or it was changed, repeated or moved on its way.
        """


class Acceptor(Context, Protocol):
    """The side that was called."""

    @property
    def principal(self) -> str:
        """Who the peer is, once the context is `complete`."""

    @property
    def service(self) -> str:
        """What the peer wanted to reach: ``rcmd`` of ``rcmd/proxy.example.org@EXAMPLE.ORG``."""


class Mechanism(Protocol):
    """What makes contexts."""

    def initiate(self, login: Gssapi, host: str) -> Context:
        """Begin a context with a service at `host`."""

    def accept(self, keytab: str | None) -> Acceptor:
        """Wait for a context with whoever calls one of the services in a keytab, the system's where it is None."""


def mechanism() -> Mechanism:
    """Return Kerberos.

    Raises:
        GssError: the package ``gssapi`` is not there, or finds no Kerberos.
    """
    try:
        return cast(Mechanism, import_module("chainsocks.gss.kerberos"))
    except ImportError as error:
        raise GssError(f"GSSAPI is not there ({error}); pip install 'chainsocks[gssapi]'") from None
