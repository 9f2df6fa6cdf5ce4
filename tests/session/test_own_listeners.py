"""The server's own listeners: which addresses lead back to them, and which hops."""

from __future__ import annotations

import pytest

from chainsocks.protocol.address import Address
from chainsocks.session import own_listeners
from chainsocks.session.own_listeners import OwnListeners, hops_that_lead_back
from tests.config.files import read

OPEN = "[server]\nopen = true\nlisten = ['0.0.0.0:1080']\n"
OWN = "198.51.100.7"


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own address."""
    monkeypatch.setattr(own_listeners, "is_own", lambda host: host == OWN)


class TestOwnListeners:
    @pytest.mark.parametrize(
        ("listening", "destination", "covered"),
        [
            ("127.0.0.1", "127.0.0.1", True),
            ("127.0.0.1", "127.0.0.2", False),
            ("127.0.0.1", "0.0.0.0", True),
            ("127.0.0.1", "::ffff:127.0.0.1", True),
            ("0.0.0.0", "127.0.0.9", True),
            ("0.0.0.0", OWN, True),
            ("0.0.0.0", "192.0.2.80", False),
            ("::", "::1", True),
            ("::1", "::", True),
            (OWN, OWN, True),
            (OWN, "127.0.0.1", False),
        ],
    )
    def test_which_addresses_lead_back(self, listening: str, destination: str, covered: bool) -> None:  # noqa: FBT001
        own = OwnListeners()
        own.add(Address(listening, 1080))
        assert own.covers(Address(destination, 1080)) is covered
        assert not own.covers(Address(destination, 1081))
        own.remove(Address(listening, 1080))
        assert not own.covers(Address(destination, 1080))

    @pytest.mark.parametrize("hop", ["127.0.0.1", "localhost", "0.0.0.0", "[::]", OWN, "127.0.0.5"])
    def test_hops_that_lead_back_are_found(self, hop: str) -> None:
        text = f"{OPEN}[hops]\na = 'socks5://{hop}'\nb = 'socks5://192.0.2.1'\n[chains]\ndefault = "
        [problem] = hops_that_lead_back(read(f"{text}['a', 'b']\n"))
        assert problem.path == "hops.a"
        assert "where this server listens" in problem.message
        assert list(hops_that_lead_back(read(f"{text}['b', 'a']\n"))) == [], "there it is hop b's own"
        assert list(hops_that_lead_back(read(f"{text}['b']\n"))) == []
