"""Identities of clients, as rules and logs write them: a login and the kind of proof behind it.

``carol`` is one of ``[[users]]``, ``gssapi:carol@REALM`` a Kerberos principal, ``ident:carol`` a user id that the
identd of a SOCKS4 client has confirmed, and ``cert:carol`` the name in a client's certificate. Without the kind, an
identd that says ``carol@REALM`` would pass for that principal.
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


_NEEDED = {
    Proof.GSSAPI: "set gssapi in [server]",
    Proof.IDENT: "set ident in [server]",
    Proof.CERTIFICATE: "give a listener tls with client_ca",
}


def identity_problem(identity: str, users: Collection[str], proofs: Collection[Proof]) -> str | None:
    """Say why no client can have an identity, and what to write; None when one can.

    `users` are the names of ``[[users]]``; `proofs` are those that clients can give.
    """
    if identity in users:
        return None
    for proof in Proof:
        if identity.startswith(proof):
            can = proof in proofs
            return None if can else f"found {describe(identity)}, and no client can prove that: {_NEEDED[proof]}"
    if Proof.GSSAPI in proofs and "@" in identity:
        return (
            f"found {describe(identity)}, which is none of [[users]]; write '{Proof.GSSAPI}{identity}' for a principal"
        )
    for proof, named in ((Proof.IDENT, "a user id"), (Proof.CERTIFICATE, "the name in a certificate")):
        if proof in proofs and not users:
            return f"found {describe(identity)}, and there are no [[users]]; write '{proof}{identity}' for {named}"
    if not users:
        return "no client logs in: declare [[users]], or set ident or gssapi in [server]"
    return f"no user is called {describe(identity)}{suggest(identity, users)}"
