"""Pipelining: which messages of a dial are sent together, and how many round trips it then takes.

SOCKS is a dialogue. A client greets, waits, logs in, waits, sends its request and waits. Through a chain, each answer
of hop i crosses i links, so the waiting grows with the square of the length. But most of these answers hold no news. A
client that offers one login method knows which one will be picked, and a client whose login is right knows what its
status will be. So the messages can be sent early, and the answers be verified when they arrive. What a hop supports is
its `Pipeline`:

``off``. One message at a time.

``hop``. Greeting, login and request are sent in one piece. The answers are verified in order, in any segmentation, as
if each had been waited for (`chainsocks.protocol.pipelined`).

``chain``. The same, and the first message for the next hop goes right behind the request: all messages of a next hop
that is pipelined itself, otherwise its greeting. The hop is then still busy with the request, and has to pass on
later what it received too early.

So a plan is cut into *flights*, behind each hop that is not ``chain``. The hops of one flight are sent everything at
once, and answer one after the other. The first flight starts with the TCP connection.

*What it saves.* Let a round trip on each link take r, that to the destination included. All connects together cost
(n+1) r, and every exchange with hop i costs i r. Then n SOCKS5 hops without logins take::

    off     two exchanges with each hop      (n+1)^2 r
    hop     one exchange with each hop       (n+1)(n+2)/2 r
    chain   one exchange with the last hop   (2n+1) r

A login costs one more exchange with a hop that is ``off``, and nothing otherwise. A login by GSSAPI is a dialogue, in
which no message can be sent early: three more exchanges with Kerberos. `python -m benchmarks.pipelining` measures it
over links with r = 40 ms, in ms (medians, AMD EPYC, 2 cores)::

    hops    off   hop   chain   proxychains-ng
    1       176   128     126              182
    3       710   439     288              723
    5      1566   896     460             1572

That is within some 10 % of the formulas.

*What it never does.* No byte of a client is sent before all hops have granted their requests, although that would save
one more round trip ("optimistic data"): a client would then have spoken to a destination that a hop has refused, and
no other route could be tried. No answer is left unread. And no login is sent to a hop that would not get it without
pipelining; but with ``chain`` the first hop can read the later ones before it has accepted its own.

*Why it is off by default.* Some servers read a request with one receive call, and throw away what came with it. They
were tried: dante, OpenSSH and chainsocks support both modes, tor supports ``hop``, microsocks neither. A server
without support does not refuse. It waits for a message that it has lost, and the dial ends with a time-out. For that
reason no dial tries pipelining to find out whether it works; `chainsocks.chain.pipeline_check` does, when asked to.
`chainsocks.chain.blame` says how such a time-out is attributed.

*What it costs.* The messages are built before the connection is there. A dial that is not pipelined takes the same
path through the code, as flights of one hop, and was no slower when this was added. A hop that resets the connection
can destroy answers that were on their way, and then an earlier step or hop is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainsocks.chain.legs import Leg
from chainsocks.config.choices import Isolate, Pipeline
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.messages import UsernamePassword

__all__ = ["flights", "round_trips"]

CHAIN = Pipeline.CHAIN  # looked up in every dial


def flights(plan: Sequence[Leg]) -> list[Sequence[Leg]]:
    """Cut a plan into flights: legs whose hops are sent their messages together."""
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
    """Count the round trips of a plan, connects included, in round trips of one link; all links count as equal."""
    trips = len(plan) + 1
    for flight in flights(plan):
        trips += flight[-1].position  # its first messages, and all answers to them
        trips += flight[-1].position * _waits(flight[-1])
    return trips


def _waits(leg: Leg) -> int:
    """Count the messages of a hop, after its first, that are sent only after an answer."""
    if leg.pipeline is not Pipeline.OFF or leg.hop.kind.open_greeting is None:
        return 0
    if isinstance(leg.hop.credentials, Gssapi):
        return 3  # the context (one message with Kerberos), the protection level, and the request
    logs_in = isinstance(leg.hop.credentials, UsernamePassword) or leg.hop.isolate is not Isolate.OFF
    return 2 if logs_in else 1
