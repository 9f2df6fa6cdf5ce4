"""What a private log says of values that may name a client, a user or a destination."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chainsocks.chain.trip import CONNECT
from chainsocks.errors import (
    Cause,
    ConnectError,
    DialTimeout,
    End,
    GssError,
    HopRefused,
    NotFoundError,
    Place,
    ProtocolError,
    RequestRefused,
)
from chainsocks.observe.privacy import is_private, private, set_private, shown
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State

CANARY = "canary.example"
HOP = Place("osaka", Address("10.0.0.2", 1080), State.REQUEST, 2, 3)
END = Place(None, Address(CANARY, 443), CONNECT)
RESOLVER = Place(None, Address("9.9.9.9", 53), CONNECT, end=End.RESOLVER)
REFUSED = ConnectError(END, f"{CANARY} refused", Cause.CONNECTION_REFUSED, elapsed=0.1, limit=10, at_destination=True)


@pytest.fixture
def full_privacy() -> Iterator[None]:
    set_private(True)
    yield
    set_private(False)


@pytest.mark.usefixtures("full_privacy")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (HOP, "hop osaka (2 of 3) at 10.0.0.2:1080, request"),
        (END, "destination, TCP connect"),
        (RESOLVER, "resolver 9.9.9.9:53, TCP connect"),
        (REFUSED, "destination, TCP connect: connection refused (0.10 s of 10 s)"),
        (
            DialTimeout(
                HOP, f"on the way to {CANARY}", Cause.TIMED_OUT, elapsed=5, limit=float("inf"), earlier=[REFUSED]
            ),
            "hop osaka (2 of 3) at 10.0.0.2:1080, request: timed out (5.00 s without a limit)"
            "; before that, destination, TCP connect: connection refused (0.10 s of 10 s)",
        ),
        (
            HopRefused(HOP, f"no {CANARY}", Cause.REFUSED, code=4, elapsed=1, limit=10),
            "hop osaka (2 of 3) at 10.0.0.2:1080, request: refused, reply 04 (1.00 s of 10 s)",
        ),
        (RequestRefused("rule 3 says no", 2), "rule 3 says no"),
        (RequestRefused(f"no address for {CANARY}", 4, discreet="no address"), "no address"),
        (ProtocolError(f"looks like HTTP ('GET {CANARY}')", Cause.HTTP_REQUEST), "http request"),
        (NotFoundError(f"{CANARY}: NXDOMAIN", Cause.NAME_NOT_FOUND), "name not found"),
        (GssError(f"carol@{CANARY}"), "gssapi failed"),
        (OSError(2, "No such file", CANARY), "No such file"),
        (KeyError(CANARY), "KeyError"),
        (Address(CANARY, 80), "Address"),
        ("a text of the program", "a text of the program"),
    ],
)
def test_a_private_log_names_no_destination(value: object, text: str) -> None:
    assert shown(value) == text
    assert CANARY not in text
    assert is_private()


@pytest.mark.usefixtures("full_privacy")
def test_a_private_text_is_left_out() -> None:
    assert (private(CANARY), private(CANARY, "a destination")) == ("-", "a destination")


def test_otherwise_everything_is_shown() -> None:
    assert shown(REFUSED) == f"destination {CANARY}:443, TCP connect: {CANARY} refused (0.10 s of 10 s)"
    assert (private(CANARY), shown(END), is_private()) == (CANARY, str(END), False)
