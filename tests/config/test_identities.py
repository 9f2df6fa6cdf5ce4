"""Identities in rules: the proof behind a name is part of it."""

from __future__ import annotations

import pytest

from chainsocks.config.identities import Proof, identity_problem

USERS = ["carol", "dave@example.org"]
GSSAPI, IDENT, CERTIFICATE = Proof


@pytest.mark.parametrize(
    ("identity", "users", "proofs", "problem"),
    [
        ("carol", USERS, set(), None),
        ("dave@example.org", USERS, {GSSAPI, IDENT}, None),
        ("gssapi:carol@EXAMPLE.ORG", [], {GSSAPI}, None),
        ("ident:carol", [], {IDENT}, None),
        ("ident:carol@EXAMPLE.ORG", USERS, {GSSAPI, IDENT}, None),
        ("carol@EXAMPLE.ORG", USERS, {GSSAPI, IDENT}, "write 'gssapi:carol@EXAMPLE.ORG' for a principal"),
        ("carol@EXAMPLE.ORG", [], {GSSAPI}, "write 'gssapi:carol@EXAMPLE.ORG' for a principal"),
        ("carol", [], {IDENT}, "write 'ident:carol' for a user id"),
        ("gssapi:carol@EXAMPLE.ORG", USERS, {IDENT}, "set gssapi in [server]"),
        ("ident:carol", USERS, {GSSAPI}, "set ident in [server]"),
        ("cert:carol", USERS, {GSSAPI, IDENT}, "give a listener tls with client_ca"),
        ("cert:carol", [], {CERTIFICATE}, None),
        ("carol", [], {CERTIFICATE}, "write 'cert:carol' for the name in a certificate"),
        ("carl", USERS, set(), "did you mean 'carol'?"),
        ("carol", [], set(), "no client logs in: declare [[users]]"),
    ],
)
def test_which_identities_a_client_can_have(
    identity: str,
    users: list[str],
    proofs: set[Proof],
    problem: str | None,
) -> None:
    found = identity_problem(identity, users, proofs)
    assert found is None if problem is None else found is not None and problem in found
