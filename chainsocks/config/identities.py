"""Identities of clients, as rules and logs write them: a login and the kind of proof behind it.

``carol`` is one of ``[[users]]``, ``gssapi:carol@REALM`` a Kerberos principal, and ``ident:carol`` a user id that the
identd of a SOCKS4 client has confirmed. Without the kind, an identd that says ``carol@REALM`` would pass for that
principal.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from chainsocks.config.suggest import describe, suggest

__all__ = ["Proof", "identity_problem"]


class Proof(StrEnum):
    """What stands before the name of an identity that is not one of ``[[users]]``."""

    GSSAPI = "gssapi:"
    IDENT = "ident:"
    CERTIFICATE = "cert:"


def identity_problem(identity: str, users: Collection[str], *, gssapi: bool, ident: bool) -> str | None:
    """Say why no client can have an identity, and what to write; None when one can.

    `users` are the names of ``[[users]]``; `gssapi` and `ident` say whether clients can log in that way.
    """
    if identity in users:
        return None
    for proof, available in ((Proof.GSSAPI, gssapi), (Proof.IDENT, ident), (Proof.CERTIFICATE, False)):
        if identity.startswith(proof):
            return None if available else f"found {describe(identity)}, and no client can prove that: {_needed(proof)}"
    if gssapi and "@" in identity:
        return (
            f"found {describe(identity)}, which is none of [[users]]; write '{Proof.GSSAPI}{identity}' for a principal"
        )
    if ident and not users:
        return f"found {describe(identity)}, and there are no [[users]]; write '{Proof.IDENT}{identity}' for a user id"
    if not users:
        return "no client logs in: declare [[users]], or set ident or gssapi in [server]"
    return f"no user is called {describe(identity)}{suggest(identity, users)}"


def _needed(proof: Proof) -> str:
    if proof is Proof.CERTIFICATE:
        return "this version has no client certificates"
    return f"set {proof.removesuffix(':')} in [server]"
