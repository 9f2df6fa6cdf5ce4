"""What the tests of the datagram relay share: a network in memory that says what was sent and delivered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from trio.testing import wait_all_tasks_blocked

from chainsocks.observe.record import Traffic
from chainsocks.observe.tally import Tally
from chainsocks.relay.datagrams import DatagramPath
from tests.memory import MemoryNetwork, Place

__all__ = ["Beyond", "beyond"]


@dataclass
class Beyond:
    """A way at work, without a client before it."""

    network: MemoryNetwork
    tally: Tally = field(default_factory=lambda: Tally(Traffic()))
    delivered: list[tuple[bytes, int]] = field(default_factory=list)
    end: list[str] = field(default_factory=list)

    @property
    def sent(self) -> list[tuple[Place, bytes]]:
        """What left by the way: to whom, and what."""
        return [(to, data) for source, to, data in self.network.datagrams if source[0] == self.network.host]

    @asynccontextmanager
    async def running(self, way: DatagramPath) -> AsyncIterator[None]:
        async def run(task_status: trio.TaskStatus[None]) -> None:
            self.end.append(await way.run(lambda data, size: self.delivered.append((data, size)), task_status.started))

        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            yield
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


def beyond(nursery: trio.Nursery, **names: str) -> Beyond:
    """A network that knows these names, with underscores for dots."""
    return Beyond(MemoryNetwork(nursery, names={name.replace("_", "."): [host] for name, host in names.items()}))
