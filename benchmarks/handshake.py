"""``python -m benchmarks.handshake``: what a handshake costs without a network, for each version and role.

A client or a server is created and driven from its first byte to success against the messages of the other side, one
whole message at a time. Those messages are recorded beforehand, so that only one role is timed.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import click

from benchmarks.tables import render_timings
from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import ClientHandshake, ServerHandshake, State
from chainsocks.protocol.messages import Command, Credentials, Method, Reply, Request, UserId, UsernamePassword, Version

__all__ = ["KINDS", "Kind", "main", "record", "run_client", "run_server"]

NAME, IPV4 = Address("example.org", 443), Address("192.0.2.1", 443)
LOGIN, USER_ID = UsernamePassword(b"alice", b"wonderland"), UserId(b"fred")
GRANTED = Reply(0, Address("192.0.2.2", 40_000))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of handshake: how each side is created."""

    name: str
    client: Callable[[], ClientHandshake]
    server: Callable[[], ServerHandshake]


def _kind(
    name: str, version: Version, destination: Address, credentials: Credentials | None, method: Method | None = None
) -> Kind:
    request = Request(version, Command.CONNECT, destination, credentials)
    if method is None:
        return Kind(name, lambda: socks4.ClientHandshake(request), socks4.ServerHandshake)
    return Kind(name, lambda: socks5.ClientHandshake(request), lambda: socks5.ServerHandshake((method,)))


KINDS = (
    _kind("socks4", Version.SOCKS4, IPV4, USER_ID),
    _kind("socks4a", Version.SOCKS4, NAME, USER_ID),
    _kind("socks5", Version.SOCKS5, NAME, None, Method.NO_AUTHENTICATION_REQUIRED),
    _kind("socks5 with login", Version.SOCKS5, NAME, LOGIN, Method.USERNAME_PASSWORD),
)
"""All kinds that are timed."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages of each side."""

    client: Sequence[bytes]
    server: Sequence[bytes]


def record(kind: Kind) -> Conversation:
    """Let both sides talk to each other, and return their messages."""
    client, server = kind.client(), kind.server()
    asked, answered = [], []
    while not client.done:
        asked.append(client.data_to_send())
        server.receive_data(asked[-1])
        _decide(server)
        answered.append(server.data_to_send())
        client.receive_data(answered[-1])
    return Conversation(asked, answered)


def run_client(kind: Kind, conversation: Conversation) -> None:
    """Drive a client through a conversation."""
    client = kind.client()
    for answer in conversation.server:
        client.data_to_send()
        client.receive_data(answer)
    assert client.done


def run_server(kind: Kind, conversation: Conversation) -> None:
    """Drive a server through a conversation."""
    server = kind.server()
    for message in conversation.client:
        server.receive_data(message)
        _decide(server)
        server.data_to_send()
    assert server.done


def _decide(server: ServerHandshake) -> None:
    """Accept the login or the request that a server waits to have decided."""
    if server.state is State.REPLY:
        server.send_reply(GRANTED)
    elif server.state is State.LOGIN and isinstance(server, socks5.ServerHandshake):
        server.accept_login()


@click.command()
@click.option("--runs", default=5000, type=click.IntRange(1), show_default=True, help="Handshakes in each repeat.")
@click.option("--repeats", default=9, type=click.IntRange(1), show_default=True, help="Number of repeats.")
@click.option("--smoke", is_flag=True, help="Only test that it works; the figures mean nothing.")
def main(*, runs: int, repeats: int, smoke: bool) -> None:
    """Time handshakes: us each."""
    if smoke:
        runs, repeats = 10, 2
    timings: dict[str, list[float]] = {}
    for kind in KINDS:
        conversation = record(kind)
        for role, drive in (("client", run_client), ("server", run_server)):
            timer = timeit.Timer(partial(drive, kind, conversation))
            timings[f"{kind.name}, {role}"] = [total / runs for total in timer.repeat(repeats, runs)]
    click.echo(render_timings(timings))


if __name__ == "__main__":
    main()
