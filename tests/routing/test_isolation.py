"""The logins by which tor separates circuits: when they differ, when they must not, and that they give nothing away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Resolve, Udp
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import IsolationLogin, UsernamePassword
from chainsocks.routing.isolation import Circumstances, isolated, isolated_chain
from chainsocks.routing.rules import Caller

TOR = Hop("tor", HopProtocol.SOCKS5, Address("127.0.0.1", 9050), timeout=5, resolve=Resolve.LOCAL, tor=True)
PARIS = Hop("paris", HopProtocol.SOCKS5, Address("10.0.0.1", 1080), UsernamePassword(b"bob", b"pw"))
DNS = Address("9.9.9.9", 53)
KEY = bytes(32)
CAROL = Circumstances(KEY, Caller("192.0.2.1", b"carol"), Address("example.org", 443), b"session 1")


def login(isolate: Isolate, circumstances: Circumstances, hop: Hop = TOR) -> IsolationLogin:
    credentials = isolated(replace(hop, isolate=isolate), circumstances).credentials
    assert isinstance(credentials, IsolationLogin)
    return credentials


@pytest.mark.parametrize("hop", [TOR, PARIS], ids=str)
def test_a_hop_that_separates_nothing_stays_as_it_is(hop: Hop) -> None:
    assert isolated(hop, CAROL) is hop


def test_nothing_else_of_a_hop_changes() -> None:
    hop = isolated(replace(TOR, isolate=Isolate.USER), CAROL)
    assert replace(hop, credentials=None) == TOR


def test_the_hops_of_a_chain_that_separate() -> None:
    tor = replace(TOR, isolate=Isolate.USER)
    chain = isolated_chain(Chain(PARIS, tor, name="onion", dial=90, udp=Udp.REFUSE, resolver=DNS), CAROL)
    assert chain == Chain(PARIS, isolated(tor, CAROL), name="onion", dial=90, udp=Udp.REFUSE, resolver=DNS)
    assert not chain.isolates


ALIKE = {
    Isolate.SESSION: [],
    Isolate.USER: [
        replace(CAROL, session=b"session 2"),
        replace(CAROL, caller=Caller("192.0.2.2", b"carol")),
        replace(CAROL, destination=Address("example.net", 443)),
        replace(CAROL, destination=None),
    ],
    Isolate.CLIENT: [
        replace(CAROL, session=b"session 2"),
        replace(CAROL, caller=Caller("192.0.2.1", b"dave")),
        replace(CAROL, caller=Caller("::ffff:192.0.2.1")),
        replace(CAROL, destination=None),
    ],
    Isolate.DESTINATION: [
        replace(CAROL, session=b"session 2"),
        replace(CAROL, caller=Caller("192.0.2.2", b"dave")),
        replace(CAROL, destination=Address("example.org", 80)),
        replace(CAROL, destination=Address("EXAMPLE.org.", 443)),
    ],
}
APART = {
    Isolate.SESSION: [replace(CAROL, session=b"session 2")],
    Isolate.USER: [
        replace(CAROL, caller=Caller("192.0.2.1", b"dave")),
        replace(CAROL, caller=Caller("192.0.2.1", b"")),
        replace(CAROL, caller=Caller("192.0.2.1")),
    ],
    Isolate.CLIENT: [
        replace(CAROL, caller=Caller("192.0.2.2", b"carol")),
        replace(CAROL, caller=Caller("2001:db8::1", b"carol")),
        replace(CAROL, caller=Caller("", b"carol")),
    ],
    Isolate.DESTINATION: [
        replace(CAROL, destination=Address("example.net", 443)),
        replace(CAROL, destination=Address("192.0.2.80", 443)),
        replace(CAROL, destination=None),
    ],
}
ALL = [isolate for isolate in Isolate if isolate is not Isolate.OFF]


@pytest.mark.parametrize(("isolate", "other"), [(isolate, other) for isolate in ALL for other in ALIKE[isolate]])
def test_what_may_share_a_circuit(isolate: Isolate, other: Circumstances) -> None:
    assert login(isolate, other) == login(isolate, CAROL)


@pytest.mark.parametrize(("isolate", "other"), [(isolate, other) for isolate in ALL for other in APART[isolate]])
def test_what_must_not(isolate: Isolate, other: Circumstances) -> None:
    assert login(isolate, other).username != login(isolate, CAROL).username


@pytest.mark.parametrize(
    ("isolate", "one", "other"),
    [
        (Isolate.USER, Caller("192.0.2.1"), Caller("192.0.2.2")),
        (Isolate.CLIENT, Caller("", b"carol"), Caller("", b"dave")),
    ],
)
def test_unknown_users_and_clients_share_one_circuit(isolate: Isolate, one: Caller, other: Caller) -> None:
    assert login(isolate, replace(CAROL, caller=one)) == login(isolate, replace(CAROL, caller=other))


def test_datagrams_are_isolated_by_session() -> None:
    one, other = Circumstances(KEY), Circumstances(KEY)
    assert login(Isolate.DESTINATION, one) == login(Isolate.DESTINATION, one)
    assert login(Isolate.DESTINATION, one) != login(Isolate.DESTINATION, other)


@pytest.mark.parametrize("isolate", ALL)
def test_it_takes_the_key(isolate: Isolate) -> None:
    assert login(isolate, CAROL) == login(isolate, replace(CAROL))
    assert login(isolate, CAROL) != login(isolate, replace(CAROL, key=b"another"))


@pytest.mark.parametrize("isolate", ALL)
def test_hops_cannot_compare_notes(isolate: Isolate) -> None:
    assert login(isolate, CAROL) != login(isolate, CAROL, replace(TOR, address=Address("127.0.0.1", 9150)))
    others = [other for other in ALL if other is not isolate]
    for circumstances in (CAROL, replace(CAROL, caller=Caller())):
        assert login(isolate, circumstances) not in [login(other, circumstances) for other in others]


@pytest.mark.parametrize("isolate", ALL)
def test_a_login_is_fit_to_be_sent_and_says_nothing(isolate: Isolate) -> None:
    made = login(isolate, CAROL)
    for part in (made.username, made.password):
        assert len(part) == 32
        assert part.isalnum()  # and so never "<torS0X>", which tor reserves
    assert made.username != made.password
    for word in ("carol", "192", "example", str(KEY), made.username.decode()):
        assert word not in repr(made) + repr(CAROL)
