"""How the load reaches the far end: directly, through one proxy, or through a chain of them.

1. Each hop's handshake is run message by message, each after the answer to the one before.
2. The first session through a hop records its handshake. Later ones repeat the messages while the answers look the
   same: a handshake takes 12 us of CPU, which made a session a fifth dearer for the load (79 us, then 94 us).
3. Every step has a deadline, and every failure names the hop and the step, as in the dial (`chainsocks.chain.trip`).
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import cycle

from chainsocks.chain.connect_errors import explain_connect_error
from chainsocks.chain.legs import Leg, legs, open_handshake
from chainsocks.chain.trip import CONNECT, RESOLVE
from chainsocks.config.hops import Hop
from chainsocks.config.listeners import is_loopback
from chainsocks.config.models import Timeouts
from chainsocks.errors import (
    Cause,
    ChainsocksError,
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    Step,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.errors import LoginRefused, ProtocolError
from chainsocks.protocol.handshake import ClientHandshake, State
from chainsocks.sockets import local_address
from chainsocks.tools.bench.loop import NEXT_IN, NEXT_OUT, Expired, Loop
from chainsocks.tools.bench.target import LOOPBACK

__all__ = ["BenchError", "Opening", "Route", "Way", "local_host", "warm_up"]

Opening = Generator[None, int, tuple[socket.socket, bytes]]
"""Part of a task, which opens a session. It returns the socket, attached for `NEXT_IN`, and bytes received already."""

ANSWER = 4096
"""Bytes to read at once of a hop's answer."""


class BenchError(ChainsocksError):
    """Something could not be measured."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the far end: a name for people, and its hops. The direct connection has none."""

    name: str
    hops: tuple[Hop, ...] = ()
    timeouts: Timeouts = field(default=Timeouts(), repr=False)
    """Limits for the connect and for each hop."""
    behind: tuple[Hop, ...] = ()
    """The hops behind a front server of ours, which is the only one of `hops` then."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A message to a hop, and the answer of the session that recorded it."""

    step: State
    message: bytes
    answer: bytes

    def expects(self, answer: bytes) -> bool:
        """Tell whether an answer means the same: its length is equal, and so are version and status."""
        return len(answer) == len(self.answer) and answer[:2] == self.answer[:2]


@dataclass(slots=True)
class _Script:
    """A leg, and its handshake once that was recorded: complete, granted, and each answer in one piece."""

    leg: Leg
    lines: list[_Line] = field(default_factory=list)

    def resume(self, number: int) -> ClientHandshake:
        """Return a handshake that has sent the message of line `number`, if there is one, and waits for the answer."""
        handshake = open_handshake(self.leg.hop, self.leg.target)
        for line in self.lines[:number]:
            handshake.data_to_send()
            handshake.receive_data(line.answer)
        if self.lines:
            handshake.data_to_send()
        return handshake


class Route:
    """A way to `destination`, with everything worked out that is the same for each session.

    Raises:
        ConnectError: the name of the first hop has no address.
        UnsupportedAddress: a hop's protocol cannot carry the address of the next hop or of the destination.
    """

    def __init__(self, way: Way, destination: Address) -> None:
        self.way = way
        self._destination = destination
        self._legs = legs(way.hops, destination)
        self._first = self._legs[0] if self._legs else None
        self._scripts = [_Script(leg) for leg in self._legs]
        for leg in self._legs:
            if problem := leg.hop.cannot_carry(leg.target):
                raise self._error(UnsupportedAddress, leg, State.REQUEST, problem, Cause.UNSUPPORTED_ADDRESS)
        self._family, self._address = self._look_up(way.hops[0].address if way.hops else destination)
        # Ports of short sessions stay in TIME_WAIT. On loopback, sessions can be faster than ports become free.
        on_loopback = self._family == socket.AF_INET and str(self._address[0]).startswith("127.")
        self._spare_hosts = cycle(f"127.{number}.0.1" for number in range(1, 250)) if on_loopback else None

    @property
    def patience(self) -> float:
        """Seconds that one exchange on an open session may take: the limit for one hop."""
        return self.way.timeouts.hop

    def open(self, loop: Loop) -> Opening:
        """Open a session, in a task of `loop`. The caller closes the socket, through the loop.

        Raises:
            DialError: the session could not be opened; its socket is closed.
        """
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            trailing = b""
            yield from self._connect(sock, loop)
            for script in self._scripts:
                trailing = yield from self._negotiate(script, trailing, sock, loop)
        except BaseException:
            loop.close(sock)
            raise
        return sock, trailing

    def _connect(self, sock: socket.socket, loop: Loop) -> Generator[None, int, None]:
        loop.allow(self.way.timeouts.connect)
        began = time.monotonic()
        number = sock.connect_ex(self._address)
        if number == errno.EADDRNOTAVAIL and self._spare_hosts:
            sock.bind((next(self._spare_hosts), 0))
            number = sock.connect_ex(self._address)
        try:
            if number == errno.EINPROGRESS and not _is_connected(sock):
                loop.attach(sock, NEXT_OUT)
                yield
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                loop.expect(sock, NEXT_IN)
            elif number in (0, errno.EINPROGRESS):
                number = 0
                loop.attach(sock, NEXT_IN)
        except Expired:
            raise self._error(DialTimeout, self._first, CONNECT, "no answer", Cause.TIMED_OUT, began) from None
        if number:
            problem, cause = explain_connect_error(OSError(number, ""))
            if number == errno.EADDRNOTAVAIL:
                problem += "; this machine has no port left for so many short sessions: wait a minute"
            raise self._error(ConnectError, self._first, CONNECT, problem, cause, began)

    def _negotiate(self, script: _Script, early: bytes, sock: socket.socket, loop: Loop) -> Generator[None, int, bytes]:
        """Have one hop connect to the target of its leg; return the bytes behind its reply.

        `early` are the bytes behind the reply of the previous hop; there must be none.
        """
        leg, began, step = script.leg, time.monotonic(), State.REQUEST
        loop.allow(self._limit(leg))
        if early:
            problem = f"the hop before sent {len(early)} bytes behind its reply"
            raise self._error(HopProtocolError, leg, script.resume(0).step, problem, Cause.UNSOLICITED)
        try:
            for number, line in enumerate(script.lines):
                step = line.step
                sock.send(line.message)
                answer = yield from _receive(sock)
                if not line.expects(answer):
                    handshake = script.resume(number)
                    handshake.receive_data(answer)
                    break
            else:
                if script.lines:
                    return b""
                handshake = script.resume(0)
            lines = []
            while not handshake.done:
                step = handshake.step
                if message := handshake.data_to_send():
                    sock.send(message)
                answer = yield from _receive(sock)
                handshake.receive_data(answer)
                lines.append(_Line(step, message, answer))
        except Expired:
            problem = f"no complete answer on the way to {leg.target}"
            raise self._error(DialTimeout, leg, step, problem, Cause.TIMED_OUT, began) from None
        except LoginRefused as error:
            raise self._error(HopAuthenticationError, leg, step, str(error), error.cause, began) from None
        except ProtocolError as error:
            raise self._error(HopProtocolError, leg, step, str(error), error.cause, began) from None
        except OSError:
            raise self._error(HopProtocolError, leg, step, "the connection was reset", Cause.RESET, began) from None
        if not handshake.reply.succeeded:
            target = leg.next.name if leg.next else "the far end of the measurement"
            problem = f"it could not reach {target} at {leg.target}, it says: {handshake.reply.described}"
            cause, code = Cause.NEXT_NOT_REACHED if leg.next else Cause.REFUSED, handshake.reply.code
            place, elapsed = self._place(leg, State.REQUEST), time.monotonic() - began
            raise HopRefused(place, problem, cause, code=code, elapsed=elapsed, limit=self._limit(leg))
        if not script.lines and not handshake.trailing_data and all(line.message for line in lines):
            script.lines += lines
        return handshake.trailing_data

    def _look_up(self, address: Address) -> tuple[int, tuple[object, ...]]:
        began = time.monotonic()
        try:
            family, _, _, _, found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            problem = f"no address for {address.host}: {error.strerror or error}"
            raise self._error(ConnectError, self._first, RESOLVE, problem, Cause.NAME_NOT_FOUND, began) from None
        return family, found

    def _error(
        self,
        kind: type[DialError],
        leg: Leg | None,
        step: State | Step,
        problem: str,
        cause: Cause,
        began: float | None = None,
    ) -> DialError:
        elapsed = 0 if began is None else time.monotonic() - began
        limit, place = self._limit(leg, step), self._place(leg, step)
        return kind(place, problem, cause, elapsed=elapsed, limit=limit, at_destination=leg is None)

    def _place(self, leg: Leg | None, step: State | Step) -> Place:
        if leg is None:
            return Place(None, self._destination, step)
        return Place(leg.hop.name, leg.hop.address, step, leg.position, len(self._legs))

    def _limit(self, leg: Leg | None, step: State | Step = State.REQUEST) -> float:
        timeouts = self.way.timeouts
        if step in (CONNECT, RESOLVE):
            return timeouts.connect if step == CONNECT else timeouts.resolve
        return timeouts.hop if leg is None or leg.hop.timeout is None else leg.hop.timeout


def warm_up(seconds: float) -> float:
    """Return how many seconds a load runs before it is measured for `seconds`."""
    return min(0.3, seconds / 4)


def local_host(way: Way) -> str:
    """Return the address of this machine at which the last hop of `way` most likely reaches it.

    That is loopback for a hop on this machine, otherwise the local address towards that hop, or towards the first hop
    where only the hops can resolve the name of the last one. No packet is sent.
    """
    hops = way.behind or way.hops
    for hop in (*hops[-1:], *hops[:1]):
        try:
            found = socket.getaddrinfo(hop.address.host, hop.address.port, type=socket.SOCK_STREAM)[0][4]
            address = local_address(Address(str(found[0]), hop.address.port))
        except OSError:
            continue
        return LOOPBACK if is_loopback(address) else address.host
    return LOOPBACK


def _is_connected(sock: socket.socket) -> bool:
    """Tell whether a connect has succeeded already, as it has on loopback."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _receive(sock: socket.socket) -> Generator[None, int, bytes]:
    while True:
        try:
            return sock.recv(ANSWER)
        except BlockingIOError:
            yield
