"""The circuits of the library's calls."""

from __future__ import annotations

import pytest

from chainsocks.client.isolation import own_circuit
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address

TOR = Address("127.0.0.1", 9050)
SITE, OTHER = Address("example.org", 443), Address("example.net", 443)


def chain(isolate: Isolate) -> Chain:
    return Chain(Hop("tor", HopProtocol.SOCKS5, TOR, isolate=isolate))


def test_a_chain_that_separates_nothing_stays_as_it_is() -> None:
    plain = chain(Isolate.OFF)
    assert own_circuit(plain, SITE) is plain


def test_every_call_is_a_session() -> None:
    assert own_circuit(chain(Isolate.SESSION), SITE) != own_circuit(chain(Isolate.SESSION), SITE)
    assert own_circuit(chain(Isolate.DESTINATION)) != own_circuit(chain(Isolate.DESTINATION))


def test_there_are_destinations() -> None:
    assert own_circuit(chain(Isolate.DESTINATION), SITE) == own_circuit(chain(Isolate.DESTINATION), SITE)
    assert own_circuit(chain(Isolate.DESTINATION), SITE) != own_circuit(chain(Isolate.DESTINATION), OTHER)


def test_there_is_one_user_and_one_client() -> None:
    for isolate in (Isolate.USER, Isolate.CLIENT):
        assert own_circuit(chain(isolate), SITE) == own_circuit(chain(isolate), OTHER)


@pytest.mark.parametrize("isolate", [Isolate.SESSION, Isolate.USER, Isolate.CLIENT, Isolate.DESTINATION])
def test_calls_of_one_text_share_a_circuit(isolate: Isolate) -> None:
    one = own_circuit(chain(isolate), SITE, "account-7")
    assert one == own_circuit(chain(isolate), SITE, "account-7")
    assert one != own_circuit(chain(isolate), SITE, "account-8")
    assert one != own_circuit(chain(isolate), SITE)
    assert (one == own_circuit(chain(isolate), OTHER, "account-7")) is (isolate is not Isolate.DESTINATION)


@pytest.mark.parametrize("isolation", [7, b"account", True])
def test_what_is_no_text(isolation: object) -> None:
    with pytest.raises(ValueError, match=r"isolation is .*; write a text"):
        own_circuit(chain(Isolate.SESSION), SITE, isolation)  # type: ignore[arg-type]
