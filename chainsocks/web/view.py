"""What the page shows: the server, its chains and hops, sessions, rates and failures, as one JSON document.

Rates come from differences of counters. The time of a step is the average of the last minute, where there were any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import trio

from chainsocks.config.chains import DIRECT
from chainsocks.control.messages import Hop, Status
from chainsocks.observe.metrics import BYTES, DIAL_FAILURES, SESSIONS, SESSIONS_OPEN, STEP_SECONDS, Buckets, Metric
from chainsocks.observe.phase import Phase
from chainsocks.web.source import JSON, Chain, Measured, Source

__all__ = ["MOST_ROWS", "WINDOW", "History", "build_view"]

MOST_ROWS = 200
"""Sessions that are shown; those first that wait for something."""

WINDOW = 60.0
"""Seconds over which steps are averaged."""

PAUSE = 10.0
"""Seconds without a look after which rates begin anew."""

SMOOTHING = 2.0
"""Seconds over which rates are taken, at least."""


class _Step(NamedTuple):
    times: int
    seconds: float


class _Totals(NamedTuple):
    """The counters of one moment, as far as rates are made of them."""

    at: float
    sessions: float
    failures: float
    up: Mapping[str, float]
    down: Mapping[str, float]
    steps: Mapping[tuple[str, str], _Step]

    @classmethod
    def of(cls, measured: Measured) -> _Totals:
        steps = {
            (hop, step): _Step(sum(value.counts), value.sum)
            for (hop, step), value in _by_labels(measured, STEP_SECONDS)
            if isinstance(value, Buckets)
        }
        amounts = {labels: value for labels, value in _by_labels(measured, BYTES) if not isinstance(value, Buckets)}
        up, down = (
            {chain: value for (direction, chain), value in amounts.items() if direction == wanted}
            for wanted in ("up", "down")
        )
        return cls(measured.at, _total(measured, SESSIONS), _total(measured, DIAL_FAILURES), up, down, steps)


class History:
    """The counters of the last minute."""

    def __init__(self) -> None:
        self._past: deque[_Totals] = deque()

    def add(self, measured: Measured) -> None:
        """Note what was counted. What is older than the window is forgotten."""
        if self._past and measured.at <= self._past[-1].at:
            return
        if self._past and measured.at > self._past[-1].at + PAUSE:
            self._past.clear()  # nothing was watching: those rates would be averages of all that time
        self._past.append(_Totals.of(measured))
        while len(self._past) > 2 and self._past[1].at <= measured.at - WINDOW:
            self._past.popleft()

    def rates(self) -> dict[str, Any]:
        """Return sessions, failures and bytes per second; zeros until there are two moments to compare."""
        latest = self._past[-1]
        before = next((each for each in reversed(self._past) if each.at <= latest.at - SMOOTHING), self._past[0])
        seconds = latest.at - before.at or 1.0
        chains = latest.up.keys() | latest.down.keys()
        by_chain = {
            chain: {
                "up": _growth(latest.up.get(chain, 0), before.up.get(chain, 0)) / seconds,
                "down": _growth(latest.down.get(chain, 0), before.down.get(chain, 0)) / seconds,
            }
            for chain in sorted(chains)
        }
        return {
            "sessions": _growth(latest.sessions, before.sessions) / seconds,
            "failures": _growth(latest.failures, before.failures) / seconds,
            "up": sum(each["up"] for each in by_chain.values()),
            "down": sum(each["down"] for each in by_chain.values()),
            "chains": by_chain,
        }

    def steps_of(self, hop: str) -> list[dict[str, Any]]:
        """Return the steps of a hop in the order of their first success, each with its average time in seconds."""
        latest, earliest = self._past[-1], self._past[0]
        found = []
        for (name, step), (times, seconds) in latest.steps.items():
            if name == hop and times:
                before = earliest.steps.get((name, step), _Step(0, 0.0))
                if 0 < before.times < times:
                    times, seconds = times - before.times, seconds - before.seconds
                found.append({"step": step, "seconds": seconds / times})
        return found


async def build_view(source: Source, history: History) -> dict[str, Any]:
    """Ask for all that the page shows.

    Raises:
        ControlError: the server does not answer.
    """
    status, hops, measured = await source.status(), await source.hops(), await source.measured()
    listed = await source.sessions()
    history.add(measured)
    rates = history.rates()
    return {
        "server": _server(status),
        "rates": {key: value for key, value in rates.items() if key != "chains"},
        "chains": [*_chains(measured, rates["chains"])],
        "hops": [_hop(hop, history) for hop in hops],
        "sessions": _most_urgent(listed.sessions),
        "sessions_at": listed.at,
        "sessions_ago": trio.current_time() - listed.at,
        "sessions_in_all": len(listed.sessions),
        "failures": measured.failures,
    }


def _server(status: Status) -> dict[str, Any]:
    keys = ("state", "program", "uptime", "sessions", "max_sessions", "waiting", "trouble", "listen")
    return {key: getattr(status, key) for key in keys} | {"workers": len(status.workers)}


def _hop(hop: Hop, history: History) -> dict[str, Any]:
    return asdict(hop) | {"steps": history.steps_of(hop.name)}


def _chains(measured: Measured, rates: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    """Yield the chains that are configured, and the way without hops where sessions take it."""
    running: dict[str, float] = {}
    for (_, name), value in _by_labels(measured, SESSIONS_OPEN):
        if not isinstance(value, Buckets):
            running[name] = running.get(name, 0) + value
    known = {chain.name for chain in measured.chains}
    names = {*rates, *running, *(() if known else (DIRECT.name,))} - known - {""}
    others = [Chain(name, ()) for name in sorted(names)]
    for chain in (*measured.chains, *others):
        yield {
            "name": chain.name,
            "places": [asdict(place) for place in chain.places],
            "open": running.get(chain.name, 0),
            **rates.get(chain.name, {"up": 0.0, "down": 0.0}),
        }


def _most_urgent(sessions: Iterable[JSON]) -> Sequence[JSON]:
    """Return the sessions to show: first those that wait for a step, by the time that it has left; then by age."""

    def urgency(session: JSON) -> tuple[bool, float]:
        place, age = session["place"], session["age"]
        relays = place["phase"] == Phase.RELAY
        return relays, age if relays or place["left"] is None else place["left"]

    return sorted(sessions, key=urgency)[:MOST_ROWS]


def _by_labels(measured: Measured, metric: Metric) -> Iterator[tuple[tuple[str, ...], float | Buckets]]:
    return ((sample.labels, sample.value) for sample in measured.samples if sample.metric is metric)


def _total(measured: Measured, metric: Metric) -> float:
    return sum(value for _, value in _by_labels(measured, metric) if not isinstance(value, Buckets))


def _growth(now: float, before: float) -> float:
    """Return how much a counter has grown; one that has begun anew counts from there."""
    return now - before if now >= before else now
