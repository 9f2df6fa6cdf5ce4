"""The interface of GSS-API security contexts (RFC 2743), for the rest of the program.

`chainsocks.gss.kerberos` implements it with the package ``gssapi``, an optional extra. It is loaded with the first
context.
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
        """Whether both sides are authenticated."""

    async def step(self, token: bytes) -> bytes:
        """Process the peer's token (empty at the start); return the token for the peer, which may be empty.

        It may wait for the network or the disk, and can be cancelled.

        Raises:
            GssError: the context cannot be completed.
        """

    def wrap(self, data: bytes, protection: Protection) -> bytes:
        """Return a message with `protection` added.

        Raises:
            GssError: the context does not support that, or has expired.
        """

    def unwrap(self, token: bytes, protection: Protection) -> bytes:
        """Return the message in a token, which must have at least this `protection`.

        Raises:
            GssError: it has less, or the token was changed, repeated or reordered.
        """


class Acceptor(Context, Protocol):
    """The accepting side: the server's."""

    @property
    def principal(self) -> str:
        """The name of the peer, once the context is `complete`."""

    @property
    def service(self) -> str:
        """The service that the peer asked for: ``rcmd`` of ``rcmd/proxy.example.org@EXAMPLE.ORG``."""


class Mechanism(Protocol):
    """Makes contexts."""

    def initiate(self, login: Gssapi, host: str) -> Context:
        """Start a context with the service at `host`."""

    def accept(self, keytab: str | None) -> Acceptor:
        """Make the accepting side of a context, with the keys of `keytab` (the system's for None)."""


def mechanism() -> Mechanism:
    """Return the mechanism, which is Kerberos.

    Raises:
        GssError: the package ``gssapi`` is not installed, or finds no Kerberos.
    """
    try:
        return cast(Mechanism, import_module("chainsocks.gss.kerberos"))
    except ImportError as error:
        raise GssError(
            f"GSSAPI is not available ({error}); pip install '.[gssapi]' in the folder with pyproject.toml"
        ) from None
