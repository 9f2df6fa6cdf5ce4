"""Datagrams through a chain: `open_udp`.

The server's code opens the associations (`chainsocks.chain.associate`) and says which datagrams to accept
(`chainsocks.datagrams`).
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable, Sequence

import anyio
import anyio.lowlevel
from anyio import BrokenResourceError, ClosedResourceError
from anyio.abc import ByteStream, UDPSocket

from chainsocks.chain.associate import Association, associate
from chainsocks.client.call import Call
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Resolve, UdpFilter
from chainsocks.config.idn import destination_of
from chainsocks.config.models import Timeouts
from chainsocks.datagrams import Candidates, DropDatagram, Recent, Tunnel, wait_for_end
from chainsocks.egress import Egress, Family
from chainsocks.errors import Cause, ConnectError, DialTimeout, Place, RequestRefused, Step
from chainsocks.network import Network
from chainsocks.protocol.address import Address, AddressType, HostLike, PortLike, SockAddr, canonical
from chainsocks.protocol.datagram import decode_header, encode_header
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.messages import ReplyCode
from chainsocks.sockets import MAX_DATAGRAM, udp_socket

__all__ = ["UDPAssociation", "open_udp"]

REMEMBERED = 1024
"""Destinations that are kept at least, so that they may reply, and names whose addresses are kept at least."""


async def open_udp(
    *,
    chain: Chain = DIRECT,
    timeout: float | None = None,
    timeouts: Timeouts | None = None,
    isolation: str | None = None,
) -> UDPAssociation:
    """Open a UDP association at every hop of `chain`; without hops, a socket.

    `timeout` is the limit of all of it, in seconds, beside those of `timeouts`; `isolation` is as in `connect_tcp`.

    *Closing*: the caller closes the association. Nothing is left open when this raises, or is cancelled.

    Raises:
        DialError: one of its subclasses; it names the hop, the step, the time spent and the limit.
        RequestRefused: the chain carries no UDP, see `chainsocks.config.chains.Udp`.
    """
    call = Call(chain, timeouts, timeout, isolation=isolation)
    chain, dialer = call.chain, call.dialer
    if problem := chain.carries_no_udp:
        raise RequestRefused(problem, ReplyCode.COMMAND_NOT_SUPPORTED)
    _, association = await dialer.run(chain, associate)
    try:
        hops = association.hops
        local = not hops or hops[-1].resolve is Resolve.LOCAL
        egress = hops[0].egress if hops else chain.egress
        resolve = dialer.timeouts.resolve if local else None
        return UDPAssociation(association, dialer.network, resolve, egress, chain.family, chain.udp_filter)
    except BaseException:
        await _close_all(association.streams.values())
        raise


class UDPAssociation(UDPSocket):
    """Datagrams to any destination, and replies, through a chain or directly: an anyio ``UDPSocket``.

    `open_udp` makes it.

    Directly, replies are accepted from addresses that something was sent to lately, or as `Chain.udp_filter` has it;
    through a chain, from its last hop. The association ends with the TCP connection to any hop.
    """

    def __init__(
        self,
        association: Association,
        network: Network,
        resolve: float | None,
        egress: Egress | None = None,
        family: Family | None = None,
        udp_filter: UdpFilter = UdpFilter.ADDRESS_AND_PORT,
    ) -> None:
        self._family = family
        self._filter = udp_filter
        self._hosts = Recent[str, bool](REMEMBERED)
        self._streams = association.streams
        self._network = network
        self._resolve = resolve
        self._tunnel = Tunnel(association.relays) if association.relays else None
        self._contacted = Recent[tuple[str, int], Address](REMEMBERED)
        self._names = Recent[Address, Candidates](REMEMBERED)
        self._candidates = Recent[Address, Candidates](REMEMBERED)  # by each of the addresses
        self._socket = _open_socket(egress, association.relays)

    async def sendto(self, data: bytes, host: HostLike, port: PortLike) -> None:
        """Send one datagram to a host and a port. The last hop resolves names.

        Without hops, or if that hop is configured so, they are resolved locally, and their addresses remembered.

        Raises:
            DialError: the name has no address.
            OSError: the datagram cannot leave.
            ValueError: `host` or `port` cannot be part of a SOCKS request.
        """
        destination = canonical(destination_of(host, port))
        if self._resolve is None or destination.type is not AddressType.DOMAINNAME:
            await self._send_to(data, destination)
            return
        candidates = await self._candidates_of(destination, self._resolve)
        failure: OSError | None = None
        for address in candidates.in_turn(self._network.now()):
            self._candidates[address] = candidates
            try:
                await self._send_to(data, address)
            except OSError as error:
                failure = failure or error
            else:
                return
        if failure:
            raise failure

    async def send(self, item: tuple[bytes, tuple[HostLike, PortLike]]) -> None:
        """Send a datagram, given with its host and port, as `sendto` does."""
        data, (host, port) = item
        await self.sendto(data, host, port)

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        """Return the next datagram, and the host and port that it came from. One task at a time may wait here.

        Raises:
            BrokenResourceError: a hop has ended its association.
            ClosedResourceError: the association was closed.
        """
        while True:
            await anyio.lowlevel.checkpoint()  # a flood of datagrams, to drop or not, must not hold up other tasks
            self._check_open()
            try:
                data, name = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                await self._wait()
                continue
            source = (canonical(Address(name[0], name[1])).host, name[1])
            if reply := self._unwrap(data, source):
                payload, origin = reply
                address = canonical(origin)
                if candidates := self._candidates.peek(address):
                    candidates.note_reply(address)
                return payload, (origin.host, origin.port)

    async def aclose(self) -> None:
        """Close the socket, and the connections to the hops."""
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()
        await _close_all(self._streams.values())

    @property
    def _raw_socket(self) -> socket.socket:
        return self._socket

    def _check_open(self) -> None:
        if self._socket.fileno() < 0:
            raise ClosedResourceError

    def _unwrap(self, data: bytes, source: tuple[str, int]) -> tuple[bytes, Address] | None:
        """Return the payload and its origin; None for a datagram to drop."""
        if self._tunnel is None:
            origin = self._contacted.peek(source)
            if origin is None and self._lets_in(source[0]):
                origin = Address(*source)
            return (data, origin) if origin else None
        try:
            inner, header = self._tunnel.unwrap(data, source)
            return inner[header:], decode_header(inner).address
        except (DropDatagram, ProtocolError):
            return None

    def _lets_in(self, host: str) -> bool:
        """Whether the filter lets datagrams in from a host, whatever their port."""
        known = self._hosts.peek(host) or False
        return self._filter is UdpFilter.ANY or (self._filter is UdpFilter.ADDRESS and known)

    async def _send_to(self, data: bytes, destination: Address) -> None:
        if self._tunnel:
            await self._send(self._tunnel.wrap(encode_header(destination) + data), self._tunnel.to)
        else:
            place = (destination.host, destination.port)
            self._contacted[place] = destination
            self._hosts[destination.host] = True
            await self._send(data, destination.sockaddr)

    async def _send(self, datagram: bytes, to: SockAddr) -> None:
        if self._socket.family is socket.AF_INET6 and ":" not in to[0]:
            to = f"::ffff:{to[0]}", to[1]
        while True:
            self._check_open()
            try:
                self._socket.sendto(datagram, to)
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            else:
                return

    async def _wait(self) -> None:
        """Wait for a datagram, or for the end of an association."""
        ended: list[str] = []

        async def watch(name: str, stream: ByteStream) -> None:
            with contextlib.suppress(ClosedResourceError):
                await wait_for_end(stream)
            ended.append(name)
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for name, stream in self._streams.items():
                group.start_soon(watch, name, stream)
            with contextlib.suppress(ClosedResourceError):
                await anyio.wait_readable(self._socket)
            group.cancel_scope.cancel()
        if ended:
            self._check_open()
            raise BrokenResourceError(f"hop {ended[0]} ended its association")

    async def _candidates_of(self, name: Address, limit: float) -> Candidates:
        """Return the addresses of a name, looked up once."""
        candidates = self._names.get(name)
        if candidates is None:
            candidates = self._names[name] = Candidates(await self._look_up(name, limit))
        return candidates

    async def _look_up(self, name: Address, limit: float) -> list[Address]:
        place, began = Place(None, name, Step.RESOLVE), self._network.now()
        with self._network.open_scope(began + limit):
            problem = "it has no address"
            try:
                found = await self._network.resolve(name)
                if found := self._family.arrange(found) if self._family else found:
                    return found
            except OSError as error:
                problem = error.strerror or str(error)
            elapsed = self._network.now() - began
            cause = Cause.NAME_NOT_FOUND
            raise ConnectError(place, problem, cause, elapsed=elapsed, limit=limit, at_destination=True)
        raise DialTimeout(place, "no answer", Cause.TIMED_OUT, elapsed=limit, limit=limit, at_destination=True)


def _open_socket(egress: Egress | None, relays: Sequence[Address]) -> socket.socket:
    """Open a socket for IPv6 and IPv4, or for IPv4 on systems without IPv6.

    One that has a source is for the family of that: of the first hop's relay, or without hops of the first source.
    """
    if egress and isinstance(egress.source, tuple) and egress.source:
        source = egress.source_for(relays[0]) if relays else egress.source[0]
        if source is None:
            raise OSError(errno.EADDRNOTAVAIL, f"{egress} is of another family than {relays[0].host}")
        return udp_socket(source.zoned, egress=egress)
    try:
        return udp_socket("::", egress=egress, ipv6_only=False)
    except OSError:
        return udp_socket("0.0.0.0", egress=egress)


async def _close_all(streams: Iterable[ByteStream]) -> None:
    async with contextlib.AsyncExitStack() as stack:  # so that a failing close does not skip the others
        for stream in streams:
            stack.push_async_callback(anyio.aclose_forcefully, stream)
