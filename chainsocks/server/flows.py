"""Datagrams of clients that use no SOCKS: to a tunnel, or handed over by nftables. A flow is what one client sends.

::

    client ─ UDP ─> listener ─ flow ─ association: directly, or through all hops ─> destination
           <─ UDP from where it had sent to ─┘

1. A client is an address and a port. Each flow is a session with the command UDP_ASSOCIATE: rules, limits, deadlines
   and log are those of any other. It ends when nothing has come for `udp_idle`, and the next datagram begins another.
2. Of several workers, one has all flows: they share the socket, and a flow that is spread over them would have several
   addresses at its destination. There are `MOST` flows at a time, shared out among addresses as sessions are
   (`chainsocks.shares`). A datagram without a flow is dropped.
3. A flow whose session did not open is followed by none for `PAUSE` seconds: what its client sends is dropped, so that
   the log has one line and not one for each datagram.
4. Answers leave from the address that the client has sent to. With tproxy that is any address, and a socket for each.
5. A datagram that was sent to a tproxy listener itself was not handed over, and would lead back to it. One that this
   server has sent itself came back to it. Both are dropped, and the log names them.
"""

from __future__ import annotations

import logging
import math
import socket
from collections import OrderedDict
from collections.abc import Callable

import trio

from chainsocks.config.listeners import Listener, ListenerKind
from chainsocks.net.arrivals import Arrival, answering_socket, send_answer, take_arrivals
from chainsocks.network import OnDatagram
from chainsocks.protocol.address import UNSPECIFIED, Address, AddressType, SockAddr
from chainsocks.protocol.datagram import decode_header, encode_header, header_size
from chainsocks.server.silent_client import SilentClient
from chainsocks.session.connection import Connection
from chainsocks.session.own_listeners import OwnListeners
from chainsocks.shares import Shares, client_of, reserve_of

__all__ = ["EARLY", "MOST", "PAUSE", "Flows"]

log = logging.getLogger("chainsocks.server")

MOST = 1024
EARLY = 32
"""Datagrams of a flow that wait while its way is dialled; further ones are dropped."""

PAUSE = 5
"""Seconds without a new flow for a client whose last one did not open."""

_PAUSED, _SOURCES = 4096, 1024
_QUIET = 60


class _Flow:
    """The datagrams of one client, with headers, as a `DatagramSocket`. `answer` passes one back to it."""

    def __init__(self, client: Address, here: Address, answer: Callable[[bytes, Address], bool]) -> None:
        self.address = here
        self._answer = answer
        self._client = client.host, client.port
        self._early: list[bytes] = []
        self._on_datagram: OnDatagram | None = None
        self._over = trio.Event()
        self._error: Exception | None = None
        self.has_opened = False

    def take(self, data: bytes, header: bytes) -> None:
        """Pass a datagram of the client on, or keep it until the way is open."""
        if self._on_datagram is None:
            if len(self._early) < EARLY and not self.has_opened:
                self._early.append(header + data)
            return
        try:
            self._on_datagram(header + data, self._client)
        except Exception as error:  # noqa: BLE001  (raised again by `run`; here it would end the listener)
            self._on_datagram, self._error = None, error
            self._over.set()

    def send(self, data: bytes, to: SockAddr) -> bool:
        """Send a datagram to the client, without its header."""
        return self._answer(data[header_size(data) :], decode_header(data).address)

    async def run(self, on_datagram: OnDatagram) -> None:
        """Pass on what comes, until cancelled."""
        self.has_opened = True
        self._on_datagram = on_datagram
        early, self._early = self._early, []
        try:
            for each in early:
                on_datagram(each, self._client)
            await self._over.wait()
        finally:
            self._on_datagram = None
        if self._error:
            raise self._error

    def close(self) -> None:
        """Nothing to close: the socket is that of the listener."""


class Flows:
    """See the module.

    `begin` begins the session of a flow, which closes its client, or returns False if there is no place for that.
    """

    def __init__(self, begin: Callable[[Connection, SilentClient], bool], own: OwnListeners) -> None:
        self._begin = begin
        self._own = own
        self._shares = Shares(MOST, reserve_of(MOST))
        self._warned_at = -math.inf

    async def serve(self, sock: socket.socket, terms: Callable[[], Listener]) -> None:
        """Take what comes to a UDP socket on `terms`, until cancelled."""
        with _Port(sock, terms, self) as port:
            await take_arrivals(sock, port.take)

    def leads_back(self, arrival: Arrival) -> bool:
        """Whether a datagram was sent to a listener of ours, and says so in the log from time to time."""
        if not self._own.take_datagrams_at(arrival.here):
            return False
        self._warn(
            "a datagram was sent to %s itself, and not handed over to it: it would lead back to it", arrival.here
        )
        return True

    def comes_back(self, arrival: Arrival) -> bool:
        """Whether this server has sent a datagram itself, and says so in the log from time to time."""
        if not self._own.sent_from(arrival.client):
            return False
        what = "a datagram of this server to %s came back to it: the rules of nftables have to leave out what it sends"
        self._warn(what, arrival.here)
        return True

    def open(self, connection: Connection, client: SilentClient) -> bool:
        """Begin the session of a flow, if there is a share and a place for it."""
        account = client_of(connection.host)
        if not self._shares.allows(account):
            self._warn("%d flows of datagrams: those of clients that have most of them are dropped", self._shares.taken)
            return False
        if not self._begin(connection, client):
            return False
        self._shares.take(account)
        return True

    def give_back(self, host: str) -> None:
        """Note that a flow has ended."""
        self._shares.give_back(client_of(host))

    def _warn(self, text: str, subject: object) -> None:
        now = trio.current_time()
        if now >= self._warned_at + _QUIET:
            self._warned_at = now
            log.warning(text, subject)


class _Port:
    """One UDP socket of a listener, and its flows."""

    def __init__(self, sock: socket.socket, terms: Callable[[], Listener], flows: Flows) -> None:
        self._socket = sock
        self._terms = terms
        self._all = flows
        self._flows: dict[tuple[Address, Address], _Flow] = {}
        self._paused = OrderedDict[tuple[Address, Address], float]()
        self._sources = OrderedDict[Address, socket.socket]()

    def __enter__(self) -> _Port:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._sources.values():
            source.close()

    def take(self, arrival: Arrival) -> None:
        """Give a datagram to its flow, which may begin with it."""
        listener = self._terms()
        target = listener.target or arrival.here
        key = arrival.client, (arrival.here if listener.target else UNSPECIFIED)
        if listener.kind is ListenerKind.TPROXY and self._all.leads_back(arrival):
            return
        if flow := self._flows.get(key) or self._open(key, arrival, listener):
            flow.take(arrival.data, encode_header(target))

    def _open(self, key: tuple[Address, Address], arrival: Arrival, listener: Listener) -> _Flow | None:
        if self._is_paused(key):
            return None
        if listener.kind is ListenerKind.TPROXY and self._all.comes_back(arrival):
            self._pause(key)
            return None
        client, host = arrival.client, arrival.client.zoned

        def answer(data: bytes, source: Address) -> bool:
            if listener.target:
                return send_answer(self._socket, data, arrival)
            return self._answer_from(source, data, client)

        def closed() -> None:
            self._all.give_back(host)
            del self._flows[key]
            if not flow.has_opened:
                self._pause(key)

        flow = _Flow(client, arrival.here, answer)
        silent = SilentClient(closed, (client.sockaddr, arrival.here.sockaddr))
        target = listener.target or UNSPECIFIED
        if not self._all.open(Connection(silent, str(client), host, listener, None, target, flow), silent):
            return None
        self._flows[key] = flow
        return flow

    def _is_paused(self, key: tuple[Address, Address]) -> bool:
        return trio.current_time() < self._paused.get(key, -math.inf)

    def _pause(self, key: tuple[Address, Address]) -> None:
        self._paused.pop(key, None)
        self._paused[key] = trio.current_time() + PAUSE
        while len(self._paused) > _PAUSED:
            self._paused.popitem(last=False)

    def _answer_from(self, source: Address, data: bytes, client: Address) -> bool:
        """Send a datagram to a client as if it came from `source`."""
        if source.type is AddressType.DOMAINNAME:
            return False
        try:
            sock = self._sources.get(source)
            if sock is None:
                sock = self._sources[source] = answering_socket(source)
                if len(self._sources) > _SOURCES:
                    self._sources.popitem(last=False)[1].close()
            else:
                self._sources.move_to_end(source)
            sock.sendto(data, client.sockaddr)
        except OSError as error:
            log.debug("= datagrams: no answer from %s: %s", source, error.strerror)
            return False
        return True
