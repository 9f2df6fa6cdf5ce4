"""A server that the control protocol can be tried with, without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chainsocks.control.fleet import SendSessions, WorkerMetrics
from chainsocks.control.messages import (
    ControlError,
    Draining,
    Hop,
    HopState,
    Place,
    Reloaded,
    Request,
    ServerState,
    Session,
    Status,
    Worker,
)
from chainsocks.observe.phase import Phase

__all__ = ["HOP", "SESSION", "STATUS", "FakeFleet", "some_sessions"]

SESSION = Session(
    id="2-17",
    client="127.0.0.1:40000",
    user="carol",
    command="CONNECT",
    destination="example.org:443",
    chain="default",
    hops=("paris", "osaka"),
    place=Place(Phase.DIAL, "osaka", 2, "username/password sub-negotiation", 3.25),
    age=1.5,
    up=10,
    down=20,
)

STATUS = Status(
    state=ServerState.RUNNING,
    program="1",
    pid=17,
    uptime=60.5,
    listen=("127.0.0.1:1080",),
    sessions=3,
    max_sessions=100,
    waiting=0,
    hops=2,
    hops_well=1,
    trouble=("hop osaka is avoided",),
    workers=(Worker(0, 17, 3, 100, 0),),
)

HOP = Hop("osaka", "socks5", "10.0.0.2:1080", ("default",), HopState.BACKOFF, "no answer", 2.5, 1.5, 3, None, 9.0, 2)


def some_sessions(count: int) -> list[Session]:
    """Make sessions with the ids 1, 2, 3 and so on."""
    return [replace(SESSION, id=str(number)) for number in range(1, count + 1)]


@dataclass
class FakeFleet:
    """Answers what it is made with, and notes what it is told to do."""

    rows: Sequence[Session] = (SESSION,)
    status_now: Status = STATUS
    hops_now: Sequence[Hop] = (HOP,)
    counted: Sequence[WorkerMetrics] = ()
    problems: tuple[str, ...] = ()
    error: Exception | None = None
    refusal: ControlError | None = None
    """What it says when it is to drain; without one it says that it does, and goes on."""
    told: list[object] = field(default_factory=list)

    async def status(self) -> Status:
        if self.error:
            raise self.error
        return self.status_now

    async def sessions(self, send: SendSessions) -> None:
        for start in range(0, len(self.rows), 50):
            await send(self.rows[start : start + 50])

    async def hops(self) -> Sequence[Hop]:
        return self.hops_now

    async def metrics(self) -> Sequence[WorkerMetrics]:
        return self.counted

    async def kill(self, which: Request) -> int:
        self.told.append(which)
        return 1

    async def rest(self, hop: str) -> int:
        self.told.append(("rest", hop))
        return sum(hop == known.name for known in self.hops_now)

    async def wake(self, hop: str) -> int:
        self.told.append(("wake", hop))
        return sum(hop == known.name for known in self.hops_now)

    async def reload(self) -> Reloaded:
        self.told.append("reload")
        return Reloaded("chainsocks.toml", self.problems)

    async def drain(self, delay: float) -> Draining:
        self.told.append(("drain", delay))
        if self.refusal:
            raise self.refusal
        return Draining(17, delay, 10)
