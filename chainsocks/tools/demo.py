"""The demo: three hops of three kinds, a small web server and a front proxy, all on loopback; one request through all.

Nothing is simulated: four chainsocks servers on real sockets carry one HTTP request.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import trio
from anyio import EndOfStream
from rich.console import Console
from rich.table import Table

from chainsocks.client.tcp import connect_tcp
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.errors import Place
from chainsocks.observe.events import Events
from chainsocks.observe.record import Record
from chainsocks.protocol.address import Address, parse_address
from chainsocks.protocol.messages import UserId, UsernamePassword
from chainsocks.server.serve import serve
from chainsocks.tools.step_times import Taken, Trail, add_steps, add_total, step_table
from chainsocks.tools.tables import print_table

__all__ = ["demo"]

LOOPBACK = Address("127.0.0.1", 0)
PAGE = b"Hello from the far end of the chain.\n"


async def demo(console: Console, *, stay: bool) -> None:
    """Run the demo, and print a table of every hop and step; with `stay`, go on serving until cancelled.

    Raises:
        DialError: the request failed.
    """
    stopping = trio.Event()
    trail = Trail(trio.current_time)
    async with trio.open_nursery() as nursery:
        target = await nursery.start(_serve_page)
        hops = await _start_hops(nursery, stopping)
        chain = Chain(*hops, name="default")
        front = Config(Server(listen=(Listener(LOOPBACK),)), chains={"default": chain})
        [proxy] = await nursery.start(functools.partial(serve, front, stopping, events=(_Steps(trail),)))
        console.print(f"client -> front ({proxy}) -> {chain}\n       -> web server ({target})")
        page = await _fetch(proxy, target)
        print_table(_table(trail.taken, hops), console)
        console.print(f"The web server answered: {page.decode('latin-1').splitlines()[-1]}")
        if stay:
            console.print("Try it yourself; Ctrl-C ends the demo:")
            console.print(f"  curl --socks5-hostname {proxy} http://{target}/")
            await trio.sleep_forever()
        stopping.set()
        nursery.cancel_scope.cancel()


class _Steps(Events):
    """Notes the steps of all sessions, of which the front has one, in a trail."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    def step(self, record: Record, place: Place, deadline: float) -> None:
        self._trail.note(place, deadline)


def _table(taken: Sequence[Taken], hops: Sequence[Hop]) -> Table:
    table = step_table()
    for position, hop in enumerate(hops, 1):
        steps = [step for step in taken if step.place.position == position]
        add_steps(table, f"{hop.name} ({position} of {len(hops)})", hop.protocol, hop.address, steps)
    add_total(table, "all hops", sum(step.seconds for step in taken))
    return table


async def _start_hops(nursery: trio.Nursery, stopping: trio.Event) -> list[Hop]:
    """Start the three hops: a server each, with a protocol each."""
    alice = User("alice", PlainPassword(b"wonderland"))  # a hash is slow on purpose, and would dominate the table
    kinds = (
        ("paris", HopProtocol.SOCKS5, UsernamePassword(b"alice", b"wonderland"), (alice,)),
        ("osaka", HopProtocol.SOCKS4A, UserId(b"fred"), ()),
        ("lima", HopProtocol.SOCKS5, None, ()),
    )
    hops = []
    for name, protocol, credentials, users in kinds:
        config = Config(Server(listen=(Listener(LOOPBACK),)), users=users)
        [address] = await nursery.start(functools.partial(serve, config, stopping))
        hops.append(Hop(name, protocol, parse_address(address), credentials))
    return hops


async def _serve_page(task_status: trio.TaskStatus[str]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = await stream.receive_some()
            if not data:
                return
            request += data
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(PAGE)}\r\n\r\n"
        await stream.send_all(head.encode() + PAGE)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=LOOPBACK.host)
        port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        task_status.started(f"{LOOPBACK.host}:{port}")


async def _fetch(proxy: str, target: str) -> bytes:
    """Send one HTTP request through the front proxy, as any client would."""
    address = parse_address(target)
    stream = await connect_tcp(address.host, address.port, chain=Chain(f"socks5://{proxy}", name="client"))
    async with stream:
        await stream.send(f"GET / HTTP/1.0\r\nHost: {target}\r\n\r\n".encode())
        page = b""
        try:
            while True:
                page += await stream.receive()
        except EndOfStream:
            return page
