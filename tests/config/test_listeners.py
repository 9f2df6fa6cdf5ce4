"""Listeners as values."""

from __future__ import annotations

import dataclasses

import pytest

from chainsocks.config.hops import NamesOnly
from chainsocks.config.listeners import ListenAddress, Listener, ListenerKind, UnixPath, is_loopback
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
