"""How the load gets to the far end: directly, through a proxy, or through a chain of them.

1. A session is opened by the book: each message of each hop's handshake is sent when the one before has been answered.
2. It costs the load little. What will be said, and what will most likely be answered, is written down beforehand, by
   our own handshakes; only a hop that answers otherwise is listened to by a handshake of its own.
3. Every step is bounded, and every failure names the hop and the step, as in the dial (`chainsocks.chain.walk`).
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import cycle

from chainsocks.chain.causes import explain_connect_error
from chainsocks.chain.legs import Leg, legs, open_handshake
from chainsocks.chain.walk import CONNECT, RESOLVE
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
from chainsocks.protocol.messages import Credentials, Method, UsernamePassword, Version, describe_reply
from chainsocks.tools.bench.loop import NEXT_IN, NEXT_OUT, Expired, Loop
from chainsocks.tools.bench.target import LOOPBACK

__all__ = ["BenchError", "Opening", "Route", "Way", "own_host"]

Opening = Generator[None, int, tuple[socket.socket, bytes]]
"""Part of a task: it opens a session, and returns its socket, attached for what arrives next, and what came already."""

ANSWER = 4096
"""Bytes that are read at once of a hop's answer; what comes behind the last one belongs to the session."""


RESET = "the connection was reset"


class BenchError(ChainsocksError):
    """Something could not be measured."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the far end: a name for people, and the hops, none of them for the direct connection."""

    name: str
    hops: tuple[Hop, ...] = ()
    timeouts: Timeouts = field(default=Timeouts(), repr=False)
    """How long a connect, and each hop, may take."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One message to a hop, and how the answer to it most likely begins."""

    step: State
    says: bytes
    expects: bytes
    size: int
    """Bytes in that answer."""


@dataclass(frozen=True, slots=True)
class _Script:
    leg: Leg
    lines: tuple[_Line, ...]


class Route:
    """A way, with everything worked out that is the same for each session to `destination`.

    Raises:
        ConnectError: the first hop has a name, and that has no address.
        UnsupportedAddress: a hop cannot be asked for what comes behind it.
    """

    def __init__(self, way: Way, destination: Address) -> None:
        self.way = way
        self.timeouts = way.timeouts
        self._destination = destination
        plan = legs(way.hops, destination)
        for leg in plan:
            if problem := leg.hop.cannot_carry(leg.target):
                place, cause = self._place(leg, State.REQUEST), Cause.UNSUPPORTED_ADDRESS
                raise UnsupportedAddress(place, problem, cause, elapsed=0, limit=self.timeouts.hop)
        self._first = plan[0] if plan else None
        self._family, self._address = self._look_up(plan[0].hop.address if plan else destination)
        # Short sessions leave their ports in TIME_WAIT, and on loopback they can be faster than ports become free.
        on_loopback = self._family == socket.AF_INET and str(self._address[0]).startswith("127.")
        self._spare_hosts = cycle(f"127.{number}.0.1" for number in range(1, 250)) if on_loopback else None
        self._scripts = tuple(_Script(leg, _rehearse(leg)) for leg in plan)

    @property
    def patience(self) -> float:
        """Seconds that an open session has for a word there and back: what one hop may take for its negotiation."""
        return self.timeouts.hop

    def open(self, loop: Loop) -> Opening:
        """Open a session, in a task of `loop`; whoever goes on closes it, through the loop.

        Raises:
            DialError: it could not be opened, and is closed.
        """
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            trailing = b""
            yield from self._connect(sock, loop)
            for script in self._scripts:
                if trailing:
                    unasked = f"{len(trailing)} bytes came behind the reply of the hop before, unasked"
                    step = script.lines[0].step
                    raise self._error(HopProtocolError, script.leg, step, unasked, Cause.UNSOLICITED)
                trailing = yield from self._ask(script, sock, loop)
        except BaseException:
            loop.close(sock)
            raise
        return sock, trailing

    def _connect(self, sock: socket.socket, loop: Loop) -> Generator[None, int, None]:
        loop.allow(self.timeouts.connect)
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
            elapsed = time.monotonic() - began
            raise self._error(DialTimeout, self._first, CONNECT, "no answer", Cause.TIMED_OUT, elapsed) from None
        if number:
            problem, cause = explain_connect_error(OSError(number, ""))
            if number == errno.EADDRNOTAVAIL:
                problem += "; this machine has no port left for so many short sessions: wait a minute"
            raise self._error(ConnectError, self._first, CONNECT, problem, cause, time.monotonic() - began)

    def _ask(self, script: _Script, sock: socket.socket, loop: Loop) -> Generator[None, int, bytes]:
        """Have one hop connect to its leg's target, by the script; return what came behind its reply."""
        limit = self.timeouts.hop if script.leg.hop.timeout is None else script.leg.hop.timeout
        loop.allow(limit)
        began = time.monotonic()
        last = len(script.lines) - 1
        for number, line in enumerate(script.lines):
            try:
                sock.send(line.says)
                answer = yield from _receive(sock)
            except Expired:
                raise self._timeout(script.leg, line.step, began) from None
            except OSError:
                raise self._error(HopProtocolError, script.leg, line.step, RESET, Cause.RESET) from None
            if (
                not answer.startswith(line.expects)
                or len(answer) < line.size
                or (number < last and answer[line.size :])
            ):
                return (yield from self._improvise(script, number, answer, sock, began))
        return answer[line.size :]

    def _improvise(
        self, script: _Script, number: int, answer: bytes, sock: socket.socket, began: float
    ) -> Generator[None, int, bytes]:
        """Go on without the script, from an answer that is not in it."""
        leg = script.leg
        handshake = open_handshake(leg.hop, leg.target)
        for line in script.lines[:number]:
            handshake.data_to_send()
            handshake.receive_data(line.expects)
        handshake.data_to_send()
        try:
            handshake.receive_data(answer)
            while not handshake.done:
                if message := handshake.data_to_send():
                    sock.send(message)
                handshake.receive_data((yield from _receive(sock)))
        except Expired:
            raise self._timeout(leg, handshake.step, began) from None
        except LoginRefused as error:
            raise self._error(HopAuthenticationError, leg, handshake.step, str(error), error.cause) from None
        except ProtocolError as error:
            raise self._error(HopProtocolError, leg, handshake.step, str(error), error.cause) from None
        except OSError:
            raise self._error(HopProtocolError, leg, handshake.step, RESET, Cause.RESET) from None
        return self._granted(leg, handshake)

    def _granted(self, leg: Leg, handshake: ClientHandshake) -> bytes:
        if handshake.reply.succeeded:
            return handshake.trailing_data
        what = leg.next.name if leg.next else "the far end of the measurement"
        said = f"it could not reach {what} at {leg.target}, it says: {describe_reply(handshake.reply.code)}"
        limit, place, code = self._limit(leg), self._place(leg, State.REQUEST), handshake.reply.code
        cause = Cause.NEXT_NOT_REACHED if leg.next else Cause.REFUSED
        raise HopRefused(place, said, cause, code=code, elapsed=0, limit=limit)

    def _look_up(self, address: Address) -> tuple[int, tuple[object, ...]]:
        began = time.monotonic()
        try:
            family, _, _, _, found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            problem = f"no address for {address.host}: {error.strerror or error}"
            elapsed = time.monotonic() - began
            raise self._error(ConnectError, self._first, RESOLVE, problem, Cause.NAME_NOT_FOUND, elapsed) from None
        return family, found

    def _timeout(self, leg: Leg, step: State, began: float) -> DialError:
        problem = f"no complete answer on the way to {leg.target}"
        return self._error(DialTimeout, leg, step, problem, Cause.TIMED_OUT, time.monotonic() - began)

    def _error(
        self,
        kind: type[DialError],
        leg: Leg | None,
        step: State | Step,
        problem: str,
        cause: Cause,
        elapsed: float = 0,
    ) -> DialError:
        limits: dict[State | Step, float] = {CONNECT: self.timeouts.connect, RESOLVE: self.timeouts.resolve}
        limit = limits.get(step, self._limit(leg))
        return kind(self._place(leg, step), problem, cause, elapsed=elapsed, limit=limit, at_destination=leg is None)

    def _limit(self, leg: Leg | None) -> float:
        return self.timeouts.hop if leg is None or leg.hop.timeout is None else leg.hop.timeout

    def _place(self, leg: Leg | None, step: State | Step) -> Place:
        if leg is None:
            return Place(None, self._destination, step)
        return Place(leg.hop.name, leg.hop.address, step, leg.position, len(self.way.hops))


def own_host(way: Way) -> str:
    """Return the address of this machine under which the last hop of `way` most likely reaches it.

    That is loopback for a hop on this machine, and otherwise the address that we would talk to that hop from; the
    first hop's where only the hops know the name of the last one. No packet is sent.
    """
    for hop in (*way.hops[-1:], *way.hops[:1]):
        try:
            host = _address_towards(hop.address)
        except OSError:
            continue
        return LOOPBACK if is_loopback(Address(host, 0)) else host
    return LOOPBACK


def _address_towards(address: Address) -> str:
    """Return the address that we talk to another from; raise `OSError` when there is none."""
    family, _, _, _, found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(found)
        return str(sock.getsockname()[0])


def _is_connected(sock: socket.socket) -> bool:
    """Tell whether a connect has come to its good end already, as it has on loopback."""
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


def _rehearse(leg: Leg) -> tuple[_Line, ...]:
    """Write down a conversation with a hop that grants everything, and that likes a login if we have one."""
    handshake = open_handshake(leg.hop, leg.target)
    lines = []
    while not handshake.done:
        step = handshake.state
        says = handshake.data_to_send()
        expects, rest = _likely_answer(leg.hop.protocol.version, step, leg.hop.credentials)
        lines.append(_Line(step, says, expects, len(expects) + len(rest)))
        handshake.receive_data(expects + rest)
    return tuple(lines)


def _likely_answer(version: Version, step: State, credentials: Credentials | None) -> tuple[bytes, bytes]:
    """Return an answer, up to where servers differ and from there on."""
    if version is Version.SOCKS4:
        return b"\x00\x5a", bytes(6)
    match step:
        case State.METHOD_NEGOTIATION if isinstance(credentials, UsernamePassword):
            return bytes((Version.SOCKS5, Method.USERNAME_PASSWORD)), b""
        case State.METHOD_NEGOTIATION:
            return bytes((Version.SOCKS5, Method.NO_AUTHENTICATION_REQUIRED)), b""
        case State.SUB_NEGOTIATION:
            return b"\x01\x00", b""
        case _:
            return bytes((Version.SOCKS5, 0, 0, 1)), bytes(6)
