"""Identities in rules: the proof behind a name is part of it."""

from __future__ import annotations

import pytest

from chainsocks.config.identities import identity_problem

USERS = ["carol", "dave@example.org"]


@pytest.mark.parametrize(
    ("identity", "users", "gssapi", "ident", "problem"),
    [
        ("carol", USERS, False, False, None),
        ("dave@example.org", USERS, True, True, None),
        ("gssapi:carol@EXAMPLE.ORG", [], True, False, None),
        ("ident:carol", [], False, True, None),
        ("ident:carol@EXAMPLE.ORG", USERS, True, True, None),
        ("carol@EXAMPLE.ORG", USERS, True, True, "write 'gssapi:carol@EXAMPLE.ORG' for a principal"),
        ("carol@EXAMPLE.ORG", [], True, False, "write 'gssapi:carol@EXAMPLE.ORG' for a principal"),
        ("carol", [], False, True, "write 'ident:carol' for a user id"),
        ("gssapi:carol@EXAMPLE.ORG", USERS, False, True, "set gssapi in [server]"),
        ("ident:carol", USERS, True, False, "set ident in [server]"),
        ("cert:carol", USERS, True, True, "this version has no client certificates"),
        ("carl", USERS, False, False, "did you mean 'carol'?"),
        ("carol", [], False, False, "no client logs in: declare [[users]]"),
    ],
)
def test_which_identities_a_client_can_have(
    identity: str,
    users: list[str],
    gssapi: bool,  # noqa: FBT001
    ident: bool,  # noqa: FBT001
    problem: str | None,
) -> None:
    found = identity_problem(identity, users, gssapi=gssapi, ident=ident)
    assert found is None if problem is None else found is not None and problem in found
