"""What the control socket says: requests and answers, as values. `chainsocks.control.wire` writes and reads them.

Durations are seconds, amounts are bytes, and None is "none", "not known" or "never". No secret is in any answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chainsocks.errors import ChainsocksError
from chainsocks.observe.phase import Phase

__all__ = [
    "ControlError",
    "Count",
    "Draining",
    "Fault",
    "Hop",
    "HopState",
    "Hops",
    "Place",
    "Reloaded",
    "Request",
    "ServerState",
    "Session",
    "Sessions",
    "Status",
    "What",
    "Worker",
]


class What(StrEnum):
    """The requests."""

    STATUS = "status"
    SESSIONS = "sessions"
    HOPS = "hops"
    METRICS = "metrics"
    RELOAD = "reload"
    DRAIN = "drain"
    KILL = "kill"
    REST = "rest"
    WAKE = "wake"


class Fault(StrEnum):
    """Why a request has no answer."""

    BAD_REQUEST = "bad-request"
    """It is no JSON object, or not as the contract has it."""
    UNSUPPORTED_VERSION = "unsupported-version"
    NO_SUCH_HOP = "no-such-hop"
    UNAVAILABLE = "unavailable"
    """The server cannot answer now."""
    BUG = "bug"
    """A bug in the server; its log says more."""


class ControlError(ChainsocksError):
    """A request that has no answer; `fault` says why, and the message says it to people."""

    def __init__(self, fault: Fault, message: str, id_: str | int | None = None) -> None:
        super().__init__(fault, message, id_)
        self.fault = fault
        self.message = message
        self.id = id_
        """Of the request, if it could be read."""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request, with the arguments that it takes."""

    what: What
    id: str | int | None = None
    session: str | None = None
    """Of `kill`: the id of the only session to end."""
    chain: str | None = None
    """Of `kill`: the chain whose sessions are to end. With `user`, only those sessions that are of both."""
    user: str | None = None
    """Of `kill`: the user whose sessions are to end."""
    hop: str | None = None
    """Of `rest` and `wake`: the name of the hop."""
    delay: float = 0
    """Of `drain`: seconds for which connections are still accepted."""


class ServerState(StrEnum):
    """Whether a server goes on serving."""

    RUNNING = "running"
    DRAINING = "draining"
    """It is about to stop, or stops; for the delay of a drain it still accepts connections."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that carries sessions."""

    number: int
    """0 for the only process of a server; otherwise the number that its session ids begin with."""
    pid: int
    sessions: int
    max_sessions: int
    waiting: int
    """Connections that wait for a session to end."""
    lag: float | None = None
    """How late the event loop was at most in the last seconds."""
    answers: bool = True
    """Whether it has answered in time. If not, what else stands here is what is known without it."""


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to `status`."""

    state: ServerState
    program: str
    """The version of chainsocks."""
    pid: int
    uptime: float
    listen: tuple[str, ...]
    sessions: int
    max_sessions: int
    waiting: int
    hops: int
    hops_well: int
    trouble: tuple[str, ...]
    """What is degraded, a sentence each; empty if all is well."""
    workers: tuple[Worker, ...]
    ended: int = 0
    """Sessions that have ended since the start of their worker."""
    failed: int = 0
    """Those of them whose request failed."""
    up: int = 0
    """Bytes from clients, of all sessions since the start of their worker."""
    down: int = 0
    source: str = ""
    """The absolute path of the configuration file; empty for none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session is."""

    phase: Phase
    hop: str | None = None
    """The hop that a dial is at; null at its destination."""
    position: int | None = None
    """Of the hop in its chain, from 1."""
    step: str | None = None
    left: float | None = None
    """Until the deadline of the step; in a relay, until the idle timeout if no bytes come."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that runs; what its client has not told yet is null."""

    id: str
    client: str
    user: str | None
    command: str | None
    destination: str | None
    chain: str | None
    hops: tuple[str, ...] | None
    """The hops that its request goes through, once they are chosen."""
    place: Place
    age: float
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Sessions:
    """The answer to `sessions`, or a part of it."""

    sessions: tuple[Session, ...]


class HopState(StrEnum):
    """What is known of a hop."""

    UNKNOWN = "unknown"
    """No dial or check has gone through it."""
    WELL = "well"
    FAILING = "failing"
    """The last dials have failed there. Requests use it all the same: its chain has no other hop for its place."""
    BACKOFF = "backoff"
    """It has failed, and requests avoid it."""
    RESTED = "rested"
    """Requests avoid it because `rest` says so."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A hop, as the workers know it. In several workers it is at its worst here."""

    name: str
    protocol: str
    address: str
    chains: tuple[str, ...]
    """The chains that use it."""
    state: HopState
    why: str | None = None
    """The last failure, if it is failing or in backoff."""
    since: float | None = None
    """For how long it has been failing, in backoff or rested."""
    retry: float | None = None
    """In how many seconds it is tried again; 0 where the next request does that."""
    failures: int = 0
    """In a row."""
    dial_time: float | None = None
    """What dials through it take on average, where a group has to know."""
    success: float | None = None
    """How long ago a dial or a check last went through it."""
    sessions: int = 0
    """Those whose requests go through it."""
    workers: int = 1
    """How many workers know it."""
    workers_avoiding: int = 0
    """In how many of them it is in backoff or rested."""
    latency: float | None = None
    """What its own steps of a dial take on average, all together."""


@dataclass(frozen=True, slots=True)
class Hops:
    """The answer to `hops`."""

    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """The answer to `kill`, `rest` and `wake`: how many sessions have been ended, or hops have changed."""

    count: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The answer to `reload`. With problems, the server goes on with the configuration that it had."""

    source: str
    problems: tuple[str, ...]
    """A line each, as `check` prints them."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draining:
    """The answer to `drain`. The process is gone when the server has ended."""

    pid: int
    delay: float
    grace: float | None
