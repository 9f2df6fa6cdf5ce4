"""Where the web server listens, and when it is safe that others reach it."""

from __future__ import annotations

import pytest

from chainsocks.config.web import Web
from chainsocks.protocol.address import Address


@pytest.mark.parametrize(
    ("listen", "is_exposed"),
    [(None, False), (Address("127.0.0.1", 9090), False), (Address("::1", 9090), False), (Address("0.0.0.0", 1), True)],
)
def test_it_is_exposed_beyond_loopback(listen: Address | None, *, is_exposed: bool) -> None:
    assert Web(listen).is_exposed is is_exposed


def test_the_token_is_not_shown() -> None:
    assert "sesame" not in repr(Web(token=b"open sesame"))
