"""The server's own listeners: which addresses lead back to them, and which hops."""

from __future__ import annotations

import pytest

from chainsocks.net.outgoing import Outgoing
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

    def test_udp_ports_are_addresses_of_their_own(self) -> None:
        own = OwnListeners()
        own.add(Address("127.0.0.1", 1080))
        assert not OwnListeners().has_datagrams
        assert not own.take_datagrams_at(Address("127.0.0.1", 53))
        own.for_datagrams.add(Address("127.0.0.1", 53))
        assert own.has_datagrams
        assert own.take_datagrams_at(Address("127.0.0.1", 53))
        assert not own.take_datagrams_at(Address("localhost", 53)), "a name is not looked up"
        assert not own.take_datagrams_at(Address("127.0.0.1", 1080))
        assert not own.are_at(Address("127.0.0.1", 53))

    def test_what_the_server_has_opened_itself(self) -> None:
        own, here, there = OwnListeners(), Address(OWN, 4000), Address("192.0.2.80", 443)
        assert not own.made(here, there)
        assert not own.sent_from(here)
        own.outgoing = Outgoing()
        own.outgoing.note((OWN, 4000), there)
        closed = own.outgoing.note_udp(4000)
        assert own.made(here, there)
        assert not own.made(here, Address("192.0.2.81", 443))
        assert own.sent_from(here)
        assert not own.sent_from(Address(OWN, 4001))
        assert not own.sent_from(Address("198.51.100.8", 4000)), "another machine's"
        closed()
        assert not own.sent_from(here)

    def test_a_hop_at_the_unix_socket_of_a_listener_leads_back(self) -> None:
        text = "[server]\nlisten = ['unix:/run/ours']\n[hops]\na = 'socks5://unix:/run/{}'\n[chains]\ndefault = ['a']\n"
        [problem] = hops_that_lead_back(read(text.format("ours")))
        assert problem.path == "hops.a"
        assert "this server listens on" in problem.message
        assert list(hops_that_lead_back(read(text.format("theirs")))) == []

    @pytest.mark.parametrize("hop", ["127.0.0.1", "localhost", "0.0.0.0", "[::]", OWN, "127.0.0.5"])
    def test_hops_that_lead_back_are_found(self, hop: str) -> None:
        text = f"{OPEN}[hops]\na = 'socks5://{hop}'\nb = 'socks5://192.0.2.1'\n[chains]\ndefault = "
        [problem] = hops_that_lead_back(read(f"{text}['a', 'b']\n"))
        assert problem.path == "hops.a"
        assert "where this server listens" in problem.message
        assert list(hops_that_lead_back(read(f"{text}['b', 'a']\n"))) == [], "there it is hop b's own"
        assert list(hops_that_lead_back(read(f"{text}['b']\n"))) == []
