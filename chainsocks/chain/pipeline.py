"""Which messages of a dial travel together, and how many round trips it then takes.

A hop's `Pipeline` says what it keeps, and that decides between each message and the next:

1. A hop that keeps its own messages (``hop`` and ``chain``) is sent all of them at once: greeting, login and request.
2. Behind the request of a hop that keeps that too (``chain``) goes what comes first for the next hop: all messages of
   one that keeps its own, the first one of one that is ``off``.
3. Nothing else is sent ahead of an answer, and nothing of a client's ever is.

So a chain is cut into flights, behind each hop that is not ``chain``: the hops of a flight are asked at once, and
answer one after the other.

With a round trip of r on each link, the destination's included, all connects cost r each, and every exchange with hop
i another i r, for it crosses i links. n SOCKS5 hops without logins take (n+1)^2 r when all are ``off``, for each has
two exchanges; (n+1)(n+2)/2 r when all are ``hop``, for each has one; and (2n+1) r when all are ``chain``, for there is
one exchange with the last of them. A login costs an exchange where a hop is ``off``, and nothing else; by
GSSAPI, in which nothing can be sent ahead, two or more.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.chain.legs import Leg
from chainsocks.config.hops import Isolate, Pipeline
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.messages import UsernamePassword

__all__ = ["flights", "round_trips"]

CHAIN = Pipeline.CHAIN  # which every dial looks for


def flights(plan: Sequence[Leg]) -> list[Sequence[Leg]]:
    """Cut a plan into the legs that are asked at once."""
    cut: list[Sequence[Leg]] = []
    start = 0
    for index, leg in enumerate(plan):
        if leg.pipeline is not CHAIN:
            cut.append(plan[start : index + 1])
            start = index + 1
    if start < len(plan):
        cut.append(plan[start:])
    return cut


def round_trips(plan: Sequence[Leg]) -> int:
    """Count the round trips of one link that a plan takes, connects included, if all links are alike."""
    trips = len(plan) + 1
    for flight in flights(plan):
        trips += flight[-1].position  # its first messages, and all answers to them
        trips += flight[-1].position * _waits(flight[-1])
    return trips


def _waits(leg: Leg) -> int:
    """Count the further messages of a hop that wait for an answer."""
    if leg.pipeline is not Pipeline.OFF or leg.hop.kind.open_greeting is None:
        return 0
    if isinstance(leg.hop.credentials, Gssapi):
        return 3  # one for the context, as Kerberos has it, one for the protection level, and one for the request
    logs_in = isinstance(leg.hop.credentials, UsernamePassword) or leg.hop.isolate is not Isolate.OFF
    return 2 if logs_in else 1
