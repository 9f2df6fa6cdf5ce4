"""The tor of this machine, at the first of its usual places that answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chainsocks.config import tor
from chainsocks.config.hops import parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.load import parse_config
from chainsocks.config.tor import find_tor
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address, address_of, parse_unix_address


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, socket.socket]]:
    """Sockets of the usual places, of which none listens yet."""
    path = tmp_path / "socks"
    with ExitStack() as stack:
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(path))
        found = {"unix": unix}
        addresses: list[Address] = [parse_unix_address(f"unix:{path}")]
        for name in ("first", "second"):
            sock = found[name] = stack.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            addresses.append(address_of(sock.getsockname()))
        monkeypatch.setattr(tor, "PLACES", tuple(addresses))
        yield found


@pytest.mark.parametrize(
    ("listening", "index"), [(("unix",), 0), (("unix", "first"), 0), (("first", "second"), 1), (("second",), 2)]
)
def test_the_first_place_that_answers_is_used(
    listening: tuple[str, ...], index: int, places: dict[str, socket.socket]
) -> None:
    for name in listening:
        places[name].listen()
    assert find_tor() == tor.PLACES[index]
    hop = parse_hop_url("tor")
    assert (hop.name, hop.protocol, hop.address, hop.tor) == ("tor", HopProtocol.SOCKS5, tor.PLACES[index], True)


def test_a_hop_may_be_the_word(places: dict[str, socket.socket]) -> None:
    places["unix"].listen()
    config = parse_config(
        '[hops]\nonion = { url = "tor", isolate = "user" }\nplain = "tor"\n[chains]\ndefault = ["onion"]'
    )
    assert str(config.hops["onion"].address) == str(tor.PLACES[0])
    assert config.hops["onion"].tor
    assert config.hops["plain"].name == "plain"


def test_without_a_tor_the_places_are_named(places: dict[str, socket.socket]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config('[hops]\ntor = "tor"')
    looked = ", ".join(map(str, tor.PLACES))
    assert str(caught.value) == (
        f"hops.tor: no tor listens on this machine, as far as is known (tried {looked}); start it, or write its URL"
    )
