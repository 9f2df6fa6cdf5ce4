"""Legs: the plan of a dial, made before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from chainsocks.config.choices import Pipeline
from chainsocks.config.hops import Hop
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import ClientHandshake
from chainsocks.protocol.messages import Command

__all__ = ["Leg", "legs", "open_handshake"]

CONNECT, OFF = Command.CONNECT, Pipeline.OFF  # looked up once: every dial asks for them


class Leg(NamedTuple):  # a third of the price of a frozen dataclass, and every session makes some
    """One hop, and what it is asked to reach: the next hop, or if it is the last one, the destination."""

    position: int
    """From 1."""
    hop: Hop
    target: Address
    previous: Hop | None
    """The hop before, which carries the connection to this one; None for the first."""
    next: Hop | None
    """The hop that this one is asked to reach; None for the last."""
    command: Command = CONNECT
    """What the hop is asked to do with the target."""
    pipeline: Pipeline = OFF
    """Which messages the hop may get before it has answered the ones before (`Hop.pipelined`)."""
    previous_pipeline: Pipeline = OFF
    """What the previous hop supports: with ``chain``, this hop's first message goes right behind the request to it."""


def legs(
    hops: Sequence[Hop],
    destination: Address,
    command: Command = CONNECT,
    stop: int | None = None,
    pipeline: Pipeline = OFF,
) -> tuple[Leg, ...]:
    """Plan a dial: ``legs([a, b, c], dst)`` is a to b's address, b to c's address, c to dst.

    The last hop, or the one at position `stop`, is asked for `command`; the hops before it are asked to connect.
    `pipeline` holds for each hop that has no setting of its own.
    """
    hops = hops[:stop]
    planned: list[Leg] = []
    before: Hop | None = None
    previous_pipeline = OFF
    for position, hop in enumerate(hops, 1):
        own = hop.pipelined(pipeline)
        if position < len(hops):
            after = hops[position]
            if after.tls and own is Pipeline.CHAIN:
                own = Pipeline.HOP  # a TLS handshake is a dialogue, whose first message is not that of the protocol
            planned.append(Leg(position, hop, after.address, before, after, CONNECT, own, previous_pipeline))
        else:
            planned.append(Leg(position, hop, destination, before, None, command, own, previous_pipeline))
        before, previous_pipeline = hop, own
    return tuple(planned)


def open_handshake(hop: Hop, target: Address, command: Command = CONNECT, pipeline: Pipeline = OFF) -> ClientHandshake:
    """Begin the handshake that asks `hop` for `command` and `target`."""
    kind = hop.kind
    return (kind.open_handshake if pipeline is OFF else kind.open_pipelined)(command, target, hop.credentials)
