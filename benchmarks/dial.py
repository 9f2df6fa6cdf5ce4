"""``python -m benchmarks.dial``: what our own code takes to dial through 0 to 5 hops, without a network.

The stream under the dial discards what it is sent and has the answers of the hops ready, one for each receive: there is
no socket, no system call and no waiting. The rest is planning, handshakes, deadlines, and the handling of errors that
do not happen.
"""

from __future__ import annotations

import time
from collections import deque

import click
import trio
from anyio.abc import ByteStream

from benchmarks.tables import render_timings
from chainsocks.chain.attempts import Choices
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.operations import open_connection
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.egress import Egress
from chainsocks.protocol.address import Address
from chainsocks.server.deadlines import Deadlines, open_deadlines
from chainsocks.server.network import TrioNetwork

__all__ = ["MOST_HOPS", "AnsweringNetwork", "AnsweringStream", "chain_of", "dial_once", "main"]

MOST_HOPS = 5
DESTINATION = Address("192.0.2.1", 443)
ANSWERS = (bytes.fromhex("05 00"), bytes.fromhex("05 00 00 01 C0000202 9C40"))
"""The answers of a SOCKS5 hop: no login, and granted."""


class AnsweringStream(ByteStream):
    """A connection behind which `hops` SOCKS5 hops grant everything."""

    def __init__(self, hops: int) -> None:
        self.answers = deque(ANSWERS * hops)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next answer."""
        return self.answers.popleft()

    async def send(self, item: bytes) -> None:
        """Discard a message."""

    async def send_eof(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


CHOICES = Choices(Health(trio.current_time))  # a server makes them once


def chain_of(hops: int) -> Chain:
    """Return a chain of so many SOCKS5 hops."""
    return Chain(*(Hop(f"hop {n}", HopProtocol.SOCKS5, Address("192.0.2.3", 1080 + n)) for n in range(hops)))


class AnsweringNetwork(TrioNetwork):
    """A network on which every connect leads to a stream that answers."""

    def __init__(self, stream: AnsweringStream, deadlines: Deadlines) -> None:
        super().__init__(None, deadlines)
        self.stream = stream

    async def open_tcp(self, address: Address, egress: Egress | None = None) -> AnsweringStream:  # type: ignore[override]  # no socket under it
        """Return the stream."""
        return self.stream


async def dial_once(chain: Chain, timeouts: Timeouts, deadlines: Deadlines) -> AnsweringStream:
    """Dial through all hops of `chain`; return the stream, on which no answer is left."""
    stream = AnsweringStream(len(chain.hops))
    network = AnsweringNetwork(stream, deadlines)
    await Dialer(network, timeouts, CHOICES).run(chain, open_connection, DESTINATION)
    return stream


async def _time(hops: int, runs: int, repeats: int) -> list[float]:
    chain, timeouts = chain_of(hops), Timeouts()
    seconds = []
    async with open_deadlines() as deadlines:
        for _ in range(repeats):
            began = time.perf_counter()
            for _ in range(runs):
                await dial_once(chain, timeouts, deadlines)
            seconds.append((time.perf_counter() - began) / runs)
            await trio.lowlevel.checkpoint()
    return seconds


@click.command()
@click.option("--runs", default=1000, type=click.IntRange(1), show_default=True, help="Dials in each repeat.")
@click.option("--repeats", default=9, type=click.IntRange(1), show_default=True, help="Number of repeats.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the figures mean nothing.")
def main(*, runs: int, repeats: int, smoke: bool) -> None:
    """Time dials, under trio: us each."""
    if smoke:
        runs, repeats = 10, 2
    lengths = range(MOST_HOPS + 1)
    click.echo(render_timings({f"{n} hop{'' if n == 1 else 's'}": trio.run(_time, n, runs, repeats) for n in lengths}))


if __name__ == "__main__":
    main()
