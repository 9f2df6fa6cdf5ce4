"""What leaves a network namespace by its link, captured packet by packet."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.namespaces import Link
from tests.e2e.programs import PATIENCE

__all__ = ["captured"]

_ALL = 3  # ETH_P_ALL
_SETUP = {*range(133, 138), 143, 130, 131}  # of ICMPv6: neighbours, routers, groups
_END = ("203.0.113.99", 9)


def _describe(packet: bytes) -> str:
    """Say what left: the protocol and where to; nothing of what sets up a link."""
    kind, *_ = struct.unpack_from(">H", packet, 12)
    if kind == 0x0806:
        return ""
    if kind == 0x86DD:
        number, target = packet[20], ipaddress.ip_address(packet[38:54])
        hop_by_hop = number == 0 and packet[54] == 58
        if (number == 58 and packet[54] in _SETUP) or (hop_by_hop and packet[62] in _SETUP):
            return ""
        return f"IPv6 {number} {target}"
    target, start = ipaddress.ip_address(packet[30:34]), 14 + (packet[14] & 15) * 4
    [port] = struct.unpack_from(">H", packet, start + 2)
    return f"{ {6: 'TCP', 17: 'UDP'}.get(packet[23], packet[23]) } {target}:{port}"


@contextmanager
def captured(link: Link) -> Iterator[set[str]]:
    """Capture what comes from the namespace, until a last packet, as texts like ``TCP 192.0.2.1:80``.

    The namespace needs a default route to the other end of the link, for what leaks to be seen.
    """
    seen: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:  # of no interface until it is bound
        sock.bind((link.name, _ALL))
        sock.settimeout(PATIENCE)

        def receive() -> None:
            while True:
                try:
                    packet, (_, _, direction, *_) = sock.recvfrom(65536)
                except TimeoutError:
                    if ending.is_set():
                        return
                    continue
                if direction == socket.PACKET_OUTGOING:
                    continue
                if (said := _describe(packet)) == "UDP {}:{}".format(*_END):
                    return
                seen.add(said)

        ending = threading.Event()
        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield seen
        finally:
            link.run_there(_send_the_last)
            ending.set()
            thread.join(2 * PATIENCE)
    assert not thread.is_alive()
    seen.discard("")


def _send_the_last() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"end", _END)
