from dataclasses import replace

import pytest

from chainsocks.control.messages import Hop, HopState, Place
from chainsocks.observe.phase import Phase
from chainsocks.tools.running import (
    brief_bytes,
    brief_duration,
    show_bytes,
    show_destination,
    show_duration,
    show_latency,
    show_place,
    show_state,
    show_way,
)
from tests.control.fleets import HOP, SESSION


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (150_000, "146 KiB"),
        (1.5 * 2**30, "1.5 GiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_bytes(amount: float, shown: str) -> None:
    assert show_bytes(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7325, "2 h 2 min"),
        (86400 * 3 + 7200, "3 d 2 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0"), (999, "999"), (1000, "1.0K"), (150_000, "146K"), (2**30, "1.0G"), (2**50, "1024T")],
)
def test_brief_bytes(amount: float, shown: str) -> None:
    assert brief_bytes(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.0"), (9.9, "9.9"), (59, "59s"), (125, "2m"), (7200, "2h"), (200_000, "2d")]
)
def test_brief_durations(seconds: float, shown: str) -> None:
    assert brief_duration(seconds) == shown


def test_destinations() -> None:
    assert show_destination(SESSION) == "example.org:443"
    assert show_destination(replace(SESSION, command="BIND")) == "BIND example.org:443"
    assert show_destination(replace(SESSION, command=None, destination=None)) == ""


def test_latencies() -> None:
    assert (show_latency(0.00012), show_latency(0.25)) == ("0.1 ms", "250 ms")


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        (Place(Phase.REQUEST, left=3.25), "request, 3.2 s left"),
        (Place(Phase.ROUTE), "route"),
        (Place(Phase.DIAL, "osaka", 2, "request", 3.25), "osaka: request, 3.2 s left"),
        (Place(Phase.DIAL, None, None, "TCP connect", 3.25), "TCP connect, 3.2 s left"),
        (Place(Phase.DIAL, "o\nsaka", 2, "request"), "o\\nsaka: request"),
        (Place(Phase.RELAY, left=200), "relay"),
    ],
)
def test_places(place: Place, shown: str) -> None:
    assert show_place(place) == shown


def test_ways() -> None:
    assert show_way(SESSION) == "default: paris, osaka"
    assert show_way(replace(SESSION, hops=None)) == "default"
    assert show_way(replace(SESSION, hops=None, chain=None)) == ""


@pytest.mark.parametrize(
    ("hop", "shown"),
    [
        (HOP, "backoff, for 2.5 s, tried again in 1.5 s"),
        (replace(HOP, retry=0), "backoff, for 2.5 s, tried by the next request"),
        (replace(HOP, state=HopState.RESTED, retry=None), "rested, for 2.5 s"),
        (replace(HOP, state=HopState.WELL, since=None, retry=None), "well"),
        (replace(HOP, workers=4, workers_avoiding=1, retry=None), "backoff, for 2.5 s, in 1 of 4 workers"),
    ],
)
def test_states_of_hops(hop: Hop, shown: str) -> None:
    assert show_state(hop) == shown
