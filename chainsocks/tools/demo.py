"""The demo: three hops of three kinds, a small web server and a front proxy, all on loopback.

One request goes through all of them. Then a hop is stopped, and the same request fails: the front names that hop.
Nothing is simulated: four chainsocks servers on real sockets carry an HTTP request.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import trio
from anyio import EndOfStream
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from chainsocks.client.tcp import connect_tcp
from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener
from chainsocks.config.models import Config, Server, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.errors import ChainsocksError, DialError, Place
from chainsocks.observe.events import Events
from chainsocks.observe.record import Record
from chainsocks.protocol.address import Address, parse_address, printable
from chainsocks.protocol.messages import UserId, UsernamePassword
from chainsocks.server.file_limit import raise_limit
from chainsocks.server.serve import serve
from chainsocks.tools.step_times import Taken, Trail, add_steps, add_total, step_table
from chainsocks.tools.tables import print_lines, print_table

__all__ = ["DemoError", "demo"]

LOOPBACK = Address("127.0.0.1", 0)
PAGE = b"Hello from the far end of the chain.\n"

ALICE = User("alice", PlainPassword(b"wonderland"))  # a hash is slow on purpose, and would dominate the table
HOPS = (
    ("paris", HopProtocol.SOCKS5, UsernamePassword(b"alice", b"wonderland"), (ALICE,)),
    ("osaka", HopProtocol.SOCKS4A, UserId(b"fred"), ()),
    ("lima", HopProtocol.SOCKS5, None, ()),
)
FILES = 64
"""Open files that suffice for all servers and sessions."""

STOPPED = 1
"""The index of the hop that is stopped."""

_ADVICE = {
    errno.ENFILE: "end programs that have many files open, and try again",
    errno.EADDRINUSE: "another program has taken its port; try again",
}
_OTHERWISE = (
    "connections within 127.0.0.1 have to be allowed: see that the interface lo is up, and that no firewall or "
    "sandbox is in the way"
)


class DemoError(ChainsocksError):
    """The demo cannot go on; the message says what to do."""


async def demo(console: Console, progress: Console, *, stay: bool) -> None:
    """Show how a request takes its way through three hops, and how the failure of one hop is reported.

    If `progress` is a terminal, it shows the present step of a request. With `stay`, go on serving until cancelled.

    Raises:
        DemoError: something could not be started, or a request did not end as it should.
    """
    if (limit := raise_limit()) is not None and limit < FILES:
        raise DemoError(
            f"the demo needs {FILES} open files, and the limit is {limit}: raise it with `ulimit -n {FILES}`"
        )
    async with trio.open_nursery() as nursery:
        print_lines(["Starting five servers on this machine:"], console)
        with _starting("web server", console) as started:
            target = started(await nursery.start(_serve_page))
        servers, hops = [], []
        for name, protocol, credentials, users in HOPS:
            servers.append(_Stoppable(Config(Server(listen=(Listener(LOOPBACK),)), users=users)))
            with _starting(f"hop {name} ({protocol})", console) as started:
                address = started(await servers[-1].start(nursery))
            hops.append(Hop(name, protocol, parse_address(address), credentials))
        watch = _Watch()
        chain = Chain(*hops, name="default")
        front = _Stoppable(Config(Server(listen=(Listener(LOOPBACK),)), chains={"default": chain}), watch)
        with _starting("front", console) as started:
            proxy = started(await front.start(nursery))

        print_lines(["", f"One request: client -> front -> {chain} -> web server"], console)
        with _shown(watch, progress):
            page = await _succeed(proxy, target, watch)
        print_table(_table(watch.trail.taken, hops), console)
        print_lines([f"The web server answered: {page.decode('latin-1').splitlines()[-1]}", ""], console)

        name = hops[STOPPED].name
        print_lines([f"Now hop {name} is stopped, and the same request is sent again."], console)
        await servers[STOPPED].stop()
        with _shown(watch, progress):
            problem = await _fail(proxy, target, watch)
        print_lines([f"It fails, as it has to, and the front says that {name} cannot be reached:"], console)
        print_lines([f"  {printable(problem)}", ""], console)

        if stay:
            with _starting(f"hop {name} again", console) as started:
                started(await servers[STOPPED].start(nursery))
            print_lines(["Try it yourself; Ctrl-C ends the demo:"], console)
            console.print(Text(f"  curl --socks5-hostname {proxy} http://{target}/"), soft_wrap=True)
            await trio.sleep_forever()
        print_lines(["All is well: three hops carried a request, and the one that failed was named."], console)
        nursery.cancel_scope.cancel()


@contextmanager
def _starting(what: str, console: Console) -> Iterator[Callable[[str], str]]:
    """Say that something is being started, and where it listens; if it cannot be started, say what to do."""

    def started(address: str) -> str:
        console.print(Text(address), soft_wrap=True)
        return address

    console.print(Text(f"  {what:<22}"), end="", soft_wrap=True)
    try:
        yield started
    except (OSError, ExceptionGroup) as error:
        if isinstance(cause := _leaf(error), OSError):
            console.print(Text("failed"))
            advice = _ADVICE.get(cause.errno or 0, _OTHERWISE)
            raise DemoError(f"{what} cannot be started: {cause.strerror or cause}; {advice}") from error
        raise


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Stoppable:
    """A server that can be stopped, and started again at the same address."""

    def __init__(self, config: Config, *events: Events) -> None:
        self._config = config
        self._events = events
        self._stopping = self._ended = trio.Event()

    async def start(self, nursery: trio.Nursery) -> str:
        """Start it in `nursery`, and return its address."""
        self._stopping, self._ended = trio.Event(), trio.Event()
        [address] = await nursery.start(self._serve)
        self._config = replace(self._config, server=Server(listen=(Listener(parse_address(address)),)))
        return str(address)

    async def stop(self) -> None:
        """Stop it; on return nothing listens at its address."""
        self._stopping.set()
        await self._ended.wait()

    async def _serve(self, task_status: trio.TaskStatus[Sequence[str]]) -> None:
        await serve(self._config, self._stopping, events=self._events, task_status=task_status)
        self._ended.set()


class _Watch(Events):
    """Notes the steps of one session, and how it has ended; `status` shows the present step."""

    def __init__(self) -> None:
        self.status: Status | None = None
        self.begin()

    def begin(self) -> None:
        """Forget the last session."""
        self.trail = Trail(trio.current_time)
        self.has_begun = False
        self.outcome = ""
        self.ended = trio.Event()

    def step(self, record: Record, place: Place, deadline: float) -> None:
        self.has_begun = True
        self.trail.note(place, deadline)
        if self.status:
            self.status.update(Text(printable(str(place))))  # drawn by a thread, to cost the step no time

    def session_ended(self, record: Record) -> None:
        self.outcome = record.outcome
        self.ended.set()


@contextmanager
def _shown(watch: _Watch, progress: Console) -> Iterator[None]:
    """Show the present step, if `progress` is a terminal."""
    if not progress.is_terminal:
        yield
        return
    with progress.status("connecting to the front") as watch.status:
        yield
    watch.status = None


async def _succeed(proxy: str, target: str, watch: _Watch) -> bytes:
    """Send the request, and return the answer."""
    try:
        return await _fetch(proxy, target)
    except (OSError, EndOfStream) as error:
        if watch.has_begun:  # then the front knows best
            await watch.ended.wait()
        raise DemoError(f"the request failed: {printable(watch.outcome or str(error))}; {_OTHERWISE}") from error


async def _fail(proxy: str, target: str, watch: _Watch) -> str:
    """Send the request while a hop is stopped, and return what the front says of it."""
    watch.begin()
    try:
        await _fetch(proxy, target)
    except DialError:
        await watch.ended.wait()
        return watch.outcome
    raise DemoError("the request succeeded although a hop is stopped: another program has taken its port; try again")


def _table(taken: Sequence[Taken], hops: Sequence[Hop]) -> Table:
    table = step_table()
    for position, hop in enumerate(hops, 1):
        steps = [step for step in taken if step.place.position == position]
        add_steps(table, f"{hop.name} ({position} of {len(hops)})", hop.protocol, hop.address, steps)
    add_total(table, "all hops", sum(step.seconds for step in taken))
    return table


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
