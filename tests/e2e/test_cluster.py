"""Two servers behind HAProxy, as examples/cluster has them: one is drained and replaced, and no request fails."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.programs import (
    PATIENCE,
    ROOT,
    Program,
    SocketAddress,
    find_module,
    find_program,
    listening,
    loopback_host,
)
from tests.e2e.servers import Chainsocks
from tests.e2e.spawner import OWN
from tests.e2e.wire import connected, read

CLUSTER = ROOT / "examples" / "cluster"

THREADS = 4
PAUSE = 0.02
"""Seconds between two sessions of a thread."""
LONG = 8
"""Sessions that are open while a server drains."""


@dataclass
class Load:
    """Sessions through the load balancer, one after the other in each thread; all that went wrong."""

    balancer: SocketAddress
    target: SocketAddress
    done: int = 0
    failures: list[BaseException] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _news: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def wait_for_more(self, sessions: int) -> None:
        """Wait until so many more have been."""
        with self._news:
            wanted = self.done + sessions
            assert self._news.wait_for(lambda: self.done >= wanted or self.failures, PATIENCE)
        assert self.failures == []

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE):
            try:
                with connected(self.balancer, self.target) as sock:
                    sock.sendall(b"hello")
                    assert read(sock, 5) == b"hello"
            except BaseException as error:  # noqa: BLE001  (reported)
                self.failures.append(error)
            with self._news:
                self.done += 1
                self._news.notify_all()


class Server:
    """One of the two, and the addresses that stand for those of the example."""

    def __init__(self, directory: Path, name: str, balancer: SocketAddress) -> None:
        host = loopback_host()
        self.socks, self.web = (host, _free_port(host)), (host, _free_port(host))
        self.control = directory / f"{name}.control"
        text = (CLUSTER / "chainsocks.toml").read_text()
        for told, here in (
            ("10.0.0.11:1080", f"{host}:{self.socks[1]}"),
            ("10.0.0.11:9090", f"{host}:{self.web[1]}"),
            ('["10.0.0.5"]', '["127.0.0.0/8"]'),
            ('"192.168.0.0/16"', '"127.0.0.0/8"'),
            ('chain = "direct"', 'chain = "direct"\nto = "127.0.0.1"'),
        ):
            assert told in text
            text = text.replace(told, here)
        self.config = directory / f"{name}.toml"
        self.config.write_text(f'{text}\n[control]\nsocket = "{self.control}"\n')

    def start(self) -> Chainsocks:
        server = Chainsocks(self.config, {"CHAINSOCKS_TOKEN": "0123456789abcdef"})
        assert server.address == self.socks
        return server

    def drain(self) -> Program:
        return Program([OWN, "drain", "--delay", "3", "--control", self.control])


def _free_port(host: str) -> int:
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


@contextmanager
def balancing(directory: Path, one: Server, two: Server) -> Iterator[SocketAddress]:
    """Run HAProxy with the example, on loopback."""
    path = find_program("haproxy", "haproxy")
    config = directory / "haproxy.cfg"
    default = "check port 9090 inter 1s fall 2 rise 2"

    def command(address: SocketAddress) -> list[str | Path]:
        text = (CLUSTER / "haproxy.cfg").read_text()
        for told, here in (
            ("bind 10.0.0.5:1080", f"bind {address[0]}:{address[1]}"),
            (default, default.replace("port 9090 ", "")),
            ("one 10.0.0.11:1080", f"one {one.socks[0]}:{one.socks[1]} port {one.web[1]}"),
            ("two 10.0.0.12:1080", f"two {two.socks[0]}:{two.socks[1]} port {two.web[1]}"),
        ):
            assert told in text
            text = text.replace(told, here)
        config.write_text(text)
        return [path, "-db", "-f", config]

    with listening(command) as address:
        yield address


def test_the_example_for_haproxy_is_one() -> None:
    path = find_program("haproxy", "haproxy")
    done = subprocess.run([path, "-c", "-f", CLUSTER / "haproxy.cfg"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_is_replaced_under_load(tmp_path: Path, echo: SocketAddress) -> None:
    find_module("starlette", "pip install '.[web]'")
    one, two = Server(tmp_path, "one", ("", 0)), Server(tmp_path, "two", ("", 0))
    first, second = one.start(), two.start()
    with balancing(tmp_path, one, two) as balancer, ExitStack() as long:
        load = Load(balancer, echo)
        with load.running():
            load.wait_for_more(100)
            open_ones = [long.enter_context(connected(balancer, echo)) for _ in range(LONG)]
            for server in (first, second):
                server.wait_for('outcome="finished"', times=20)
            drain = one.drain()
            drain.wait_for("draining: new connections for 3 s more")
            first.wait_for("drained: no new connections")
            load.wait_for_more(100)
            for sock in open_ones:
                sock.sendall(b"still here")
                assert read(sock, 10) == b"still here"
            clients = [sock.getsockname() for sock in open_ones]
            long.close()
            assert drain.ended() == 0
            assert first.ended() == 0
            load.wait_for_more(100)
            replacement = one.start()
            replacement.wait_for('outcome="finished"', times=20)
        assert load.failures == []
    lines = first.lines + second.lines
    for host, port in clients:
        assert any(f"client={host}:{port} " in line and " up=10 down=10 " in line for line in lines)
    for server in (replacement, second):
        assert server.stop() == 0
    for server in (first, replacement, second):
        server.check()
