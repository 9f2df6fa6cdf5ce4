"""Listeners as values."""

from __future__ import annotations

import dataclasses

import pytest

from chainsocks.config.choices import NamesOnly
from chainsocks.config.listeners import (
    ListenAddress,
    Listener,
    ListenerKind,
    Senders,
    UnixPath,
    is_loopback,
    parse_sender,
)
from chainsocks.protocol.address import Address

HOME, SOCKET = Address("127.0.0.1", 1080), UnixPath("/run/chainsocks.sock")


def test_a_listener_has_socks_clients_that_may_name_ip_addresses() -> None:
    assert Listener(HOME) == Listener(HOME, kind=ListenerKind.SOCKS, names_only=NamesOnly.OFF)


@pytest.mark.parametrize(("address", "shown"), [(HOME, "127.0.0.1:1080"), (SOCKET, "unix:/run/chainsocks.sock")])
def test_a_listener_is_shown_as_its_address_is_written(address: ListenAddress, shown: str) -> None:
    assert str(address) == str(Listener(address, names_only=NamesOnly.REFUSE)) == shown


def test_listeners_are_compared_by_all_that_holds_for_them() -> None:
    assert len({Listener(HOME), Listener(HOME), Listener(HOME, names_only=NamesOnly.WARN), Listener(SOCKET)}) == 3


@pytest.mark.parametrize("value", [Listener(HOME), SOCKET], ids=lambda value: type(value).__name__)
def test_listeners_are_frozen(value: Listener | UnixPath) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        (HOME, True),
        (Address("127.255.255.254", 1080), True),
        (Address("::1", 1080), True),
        (Address("localhost", 1080), True),
        (SOCKET, True),
        (Address("0.0.0.0", 1080), False),
        (Address("::", 1080), False),
        (Address("10.0.0.1", 1080), False),
        (Address("128.0.0.1", 1080), False),
        (Address("fe80::1", 1080), False),
        (Address("localhost.example", 1080), False),
        (Address("127.0.0.1.example", 1080), False),
    ],
    ids=str,
)
def test_the_addresses_that_only_this_machine_can_reach(address: ListenAddress, loopback: bool) -> None:  # noqa: FBT001
    assert is_loopback(address) is loopback


@pytest.mark.parametrize("address", [HOME, SOCKET, Address("192.0.2.1", 1080)], ids=str)
def test_clients_of_load_balancers_may_be_anywhere(address: ListenAddress) -> None:
    assert Listener(address).is_local is is_loopback(address)
    assert not Listener(address, proxy_protocol=Senders(unix=True)).is_local


def test_clients_that_are_redirected_are_not_at_home() -> None:
    assert Listener(HOME).is_home
    redirect = Listener(HOME, kind=ListenerKind.REDIRECT)
    assert redirect.is_local
    assert not redirect.is_home


@pytest.mark.parametrize(
    ("texts", "host", "included"),
    [
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["10.0.0.0/8"], "2001:db8::1", False),
        (["10.0.0.0/8"], "", False),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
        (["fe80::/10"], "fe80::1%2", True),
        (["10.0.0.4-10.0.0.6"], "10.0.0.6", True),
        (["10.0.0.4-10.0.0.6"], "10.0.0.7", False),
        (["unix"], "", True),
        (["unix"], "10.0.0.1", False),
    ],
)
def test_from_where_load_balancers_connect(texts: list[str], host: str, *, included: bool) -> None:
    senders = sum(map(parse_sender, texts), Senders())
    assert senders.include(host) is included


def test_load_balancers_are_shown_as_they_are_written() -> None:
    senders = sum(map(parse_sender, ["10.0.0.0/8", "unix", "192.0.2.1"]), Senders())
    assert str(senders) == "10.0.0.0/8, 192.0.2.1/32, unix"
