"""``python -m benchmarks.datagrams``: datagrams at a steady rate through 0 to 3 hops of ours, and how many come back.

The client, the front server, each hop and the echo are on loopback; front server, hops and echo are processes of their
own. Each datagram carries its number. A datagram is lost when it is not back a second after the last one was sent.
"""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.peers import open_ours
from benchmarks.tables import render
from chainsocks.protocol.address import Address
from chainsocks.protocol.datagram import decode_header, encode_header

__all__ = ["Result", "echoing", "exchange", "main"]

MOST_HOPS = 3

PATIENCE = 1.0
"""Seconds to wait for the last datagrams."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run: `rate` in datagrams a second, as sent, and the `median` of the round trips in seconds."""

    sent: int
    received: int
    rate: float
    median: float


@contextmanager
def echoing() -> Iterator[Address]:
    """Run an echo for datagrams in a process of its own, which ends with this one."""
    program = (
        "import socket, sys, threading; s = socket.socket(type=socket.SOCK_DGRAM); s.setsockopt(1, 8, 1 << 20)\n"
        "s.bind(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "def echo():\n"
        "    while True: s.sendto(*s.recvfrom(65536))\n"
        "threading.Thread(target=echo, daemon=True).start(); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        yield Address("127.0.0.1", int(process.stdout.readline()))
        process.communicate()


def exchange(front: Address, echo: Address, count: int, rate: float, size: int = 64) -> Result:
    """Send `count` datagrams through an association at `front`, `rate` a second."""
    with socket.create_connection((front.host, front.port)) as control, socket.socket(type=socket.SOCK_DGRAM) as sock:
        control.sendall(b"\x05\x01\x00")
        _read(control, 2)
        control.sendall(b"\x05\x03\x00\x01" + bytes(6))
        bound = decode_header(b"\0\0\0" + _read(control, 10)[3:]).address
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect((bound.host, bound.port))
        sock.settimeout(PATIENCE)
        header = encode_header(echo)
        sent_at, took = [0.0] * count, [math.nan] * count

        def receive() -> None:
            left = count
            while left:
                try:
                    data = sock.recv(65536)
                except TimeoutError:
                    if sent_at[-1]:
                        return
                    continue
                number = int.from_bytes(data[len(header) : len(header) + 4], "big")
                took[number] = time.perf_counter() - sent_at[number]
                left -= 1

        receiver = threading.Thread(target=receive)
        receiver.start()
        began = time.perf_counter()
        padding = bytes(size - 4)
        for number in range(count):
            due = began + number / rate
            while (now := time.perf_counter()) < due:
                time.sleep(due - now)
            sent_at[number] = now
            sock.send(header + number.to_bytes(4, "big") + padding)
        seconds = time.perf_counter() - began
        receiver.join()
    arrived = sorted(each for each in took if not math.isnan(each))
    return Result(count, len(arrived), count / seconds, arrived[len(arrived) // 2] if arrived else math.nan)


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


def run(hops: int, count: int, rate: float, extra: Sequence[str] = ()) -> Result:
    """Measure one chain; `extra` are URLs of hops that run already, and come last."""
    with ExitStack() as stack:

        def serve(*lines: str) -> Address:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chainsocks-benchmark-")))
            return stack.enter_context(open_ours(folder, *lines)).address

        urls = [*(f"socks5://{serve()}" for _ in range(hops)), *extra]
        names = [f"hop{number}" for number in range(len(urls))]
        lines = ["[hops]", *(f'{name} = "{url}"' for name, url in zip(names, urls, strict=True))]
        front = serve(*lines, "[chains]", f"default = {names}") if urls else serve()
        return exchange(front, stack.enter_context(echoing()), count, rate)


@click.command()
@click.option("--count", default=100_000, type=click.IntRange(1), show_default=True, help="Datagrams for each chain.")
@click.option("--rate", default=2000.0, show_default=True, help="Datagrams a second.")
@click.option("--hop", "extra", multiple=True, help="A foreign hop to end the chain with, as a URL.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the figures mean nothing.")
def main(*, count: int, rate: float, extra: tuple[str, ...], smoke: bool) -> None:
    """Send datagrams through chains of 0 to 3 hops, and count those that come back."""
    rows = []
    for hops in range(MOST_HOPS + 1):
        result = run(hops, 200 if smoke else count, rate, extra)
        lost = result.sent - result.received
        figures = result.sent, result.received, lost, round(result.rate), round(result.median * 1e6)
        rows.append([str(hops), *map(str, figures)])
    click.echo(render(["hops", "sent", "received", "lost", "rate/s", "median us"], rows))


if __name__ == "__main__":
    main()
