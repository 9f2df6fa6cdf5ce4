"""What this process has opened, on a clock of the test."""

from __future__ import annotations

import socket

from chainsocks.net.outgoing import Outgoing
from chainsocks.net.tcp import open_tcp
from chainsocks.protocol.address import Address, address_of
from tests.net.sockets import LOOPBACK

SOURCE, DESTINATION = Address("192.0.2.1", 1000), Address("192.0.2.80", 80)


def test_a_connection_is_known_for_some_seconds() -> None:
    now = 0.0
    outgoing = Outgoing(lambda: now)
    assert not outgoing.has(SOURCE, DESTINATION)
    outgoing.note(SOURCE.sockaddr, DESTINATION)
    for known in (True, True, False):
        assert outgoing.has(SOURCE, DESTINATION) is known
        assert not outgoing.has(SOURCE, Address("192.0.2.81", 80))
        assert not outgoing.has(Address("192.0.2.1", 1001), DESTINATION)
        now += 6
        if now == 6:
            outgoing.note(("192.0.2.1", 1001), Address("192.0.2.81", 80))


def test_what_is_old_is_forgotten() -> None:
    now = 0.0
    outgoing = Outgoing(lambda: now)
    for port in range(1000, 1010):
        outgoing.note(("192.0.2.1", port), DESTINATION)
        now += 5
    assert len(outgoing._connections) == 3


async def test_a_connection_is_noted_before_its_peer_can_act() -> None:
    class Noting(Outgoing):
        def note(self, source: tuple[str, int] | tuple[str, int, int, int], destination: Address) -> None:
            super().note(source, destination)
            noted.append(address_of(source))

    noted: list[Address] = []
    outgoing = Noting()
    with socket.create_server((LOOPBACK, 0)) as listening:
        destination = address_of(listening.getsockname())
        async with await open_tcp(destination, outgoing=outgoing):
            accepted, peer = listening.accept()
            accepted.close()
        assert noted == [address_of(peer)]
        assert outgoing.has(address_of(peer), destination)


def test_udp_sockets_are_known_while_they_are_open() -> None:
    outgoing = Outgoing()
    one, other = outgoing.note_udp(53), outgoing.note_udp(53)
    one()
    assert outgoing.has_udp(53)
    other()
    assert not outgoing.has_udp(53)
