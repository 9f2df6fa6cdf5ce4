"""Datagrams of clients at one UDP port, each with the address of ours that it was sent to; answers leave from there.

A machine has several addresses, and a socket for all of them answers from the one that the route suggests. A client
that has asked another one drops such an answer. Linux tells the address (ip(7), RFC 3542 section 6.2); elsewhere the
route decides.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn, cast

import trio

from chainsocks.protocol.address import Address, AddressType, SockAddr, address_of
from chainsocks.sockets import MAX_DATAGRAM

__all__ = [
    "Arrival",
    "answering_socket",
    "be_transparent",
    "receive_arrival",
    "send_answer",
    "take_arrivals",
    "tell_arrival",
]

log = logging.getLogger("chainsocks.server")

BATCH = 32
"""Datagrams that are taken before other tasks have their turn."""

_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50
_IP_ORIGDSTADDR, _IPV6_ORIGDSTADDR = 20, 74
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
"""Linux's numbers; the socket module does not name all of them."""

_ROOM = 128
"""Bytes for what the kernel tells of a datagram."""

_Told = list[tuple[int, int, bytes]]


class Arrival(NamedTuple):
    """A datagram, and both of its ends."""

    data: bytes
    client: Address
    here: Address
    """Where it was sent to; with an unspecified host where the system does not tell."""
    answer_from: _Told
    """What has an answer leave from there; for `send_answer`."""


def tell_arrival(sock: socket.socket) -> None:
    """Have the kernel tell of each datagram of a UDP socket which address it was sent to, where it can."""
    if sys.platform != "linux":
        return
    if sock.family is socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def be_transparent(sock: socket.socket) -> None:
    """Have a socket be one for addresses that the machine does not have.

    Datagrams tell which one they were sent to, with the port (nftables, tproxy).

    Raises:
        OSError: that takes CAP_NET_ADMIN.
    """
    is_ipv6 = sock.family is socket.AF_INET6
    level = socket.IPPROTO_IPV6 if is_ipv6 else socket.IPPROTO_IP
    sock.setsockopt(level, _IPV6_TRANSPARENT if is_ipv6 else _IP_TRANSPARENT, 1)
    if sock.type is socket.SOCK_DGRAM:
        sock.setsockopt(level, _IPV6_ORIGDSTADDR if is_ipv6 else _IP_ORIGDSTADDR, 1)


def answering_socket(source: Address) -> socket.socket:
    """Return a UDP socket that sends from any address, to answer as if from there; the caller closes it.

    Raises:
        OSError: that takes CAP_NET_ADMIN.
    """
    sock = socket.socket(
        socket.AF_INET6 if source.type is AddressType.IPV6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        be_transparent(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # another worker may answer from there, too
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # it only sends
        sock.bind(source.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def receive_arrival(sock: socket.socket) -> Arrival:
    """Receive a datagram.

    Raises:
        OSError: there is none; or an ICMP error about an earlier answer has come.
    """
    if sys.platform == "win32":
        data, client = sock.recvfrom(MAX_DATAGRAM)
        return Arrival(data, address_of(client), address_of(sock.getsockname()), [])
    data, told, _, client = sock.recvmsg(MAX_DATAGRAM, _ROOM)
    here, answer_from = address_of(sock.getsockname()), cast(_Told, [])
    original: Address | None = None
    for level, kind, info in told:
        if (level, kind) == (socket.IPPROTO_IP, _IP_ORIGDSTADDR):
            original = Address(socket.inet_ntoa(info[4:8]), int.from_bytes(info[2:4], "big"))
        elif (level, kind) == (socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR):
            original = Address(socket.inet_ntop(socket.AF_INET6, info[8:24]), int.from_bytes(info[2:4], "big"))
        elif (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            ours, addressed = info[4:8], info[8:12]
            here = Address(socket.inet_ntoa(addressed), here.port)
            answer_from = [(level, kind, bytes(4) + ours + bytes(4))]
        elif (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and info[0] != 0xFF:  # not multicast
            here = Address(socket.inet_ntop(socket.AF_INET6, info[:16]), here.port)
            ours, index = info[:16], info[16:]
            if not (ours[0] == 0xFE and ours[1] & 0xC0 == 0x80):  # only a link-local one needs its interface
                index = bytes(4)
            answer_from = [(level, kind, ours + index)]
    return Arrival(data, address_of(cast(SockAddr, client)), original or here, answer_from)


async def take_arrivals(sock: socket.socket, take: Callable[[Arrival], None]) -> NoReturn:
    """Call `take` with each datagram that comes to a UDP socket, until cancelled."""
    while True:
        for _ in range(BATCH):
            try:
                arrival = receive_arrival(sock)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(sock)
            except OSError as error:  # of an earlier answer: its client is gone
                log.debug("= datagrams: %s", error.strerror)
            else:
                take(arrival)
        await trio.lowlevel.checkpoint()


def send_answer(sock: socket.socket, data: bytes, arrival: Arrival) -> bool:
    """Send a datagram back to the client of another one; return False if the kernel did not take it."""
    try:
        if sys.platform == "win32" or not arrival.answer_from:
            sock.sendto(data, arrival.client.sockaddr)
        else:
            sock.sendmsg([data], arrival.answer_from, 0, arrival.client.sockaddr)
    except OSError:  # no room, no route, too large, not allowed: this one is lost, and its client asks again
        return False
    return True
