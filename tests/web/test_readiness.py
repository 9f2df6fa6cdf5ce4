"""Alive, ready, and whether a chain has a way that works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chainsocks.control.messages import HopState, ServerState, Status
from chainsocks.web.readiness import chain_problem, life_problem, readiness_problem
from chainsocks.web.source import Chain, Member
from tests.control.fleets import HOP, STATUS

WELL, SILENT = STATUS.workers[0], replace(STATUS.workers[0], number=3, answers=False)
CHAIN = Chain("default", (Member("paris"), Member(group="exits", members=(Member("osaka"), Member("lima")))))


@pytest.mark.parametrize(
    ("status", "life", "readiness"),
    [
        (STATUS, None, None),
        (replace(STATUS, state=ServerState.DRAINING), None, "it is draining"),
        (replace(STATUS, workers=(WELL, SILENT)), "no answer from worker 3", "no answer from worker 3"),
        (replace(STATUS, workers=()), "no worker runs", "no worker runs"),
        (replace(STATUS, hops_well=0), None, None),
    ],
)
def test_a_server_is_alive_and_ready(status: Status, life: str | None, readiness: str | None) -> None:
    assert life_problem(status) == life
    assert readiness_problem(status) == readiness


@pytest.mark.parametrize(
    ("down", "problem"),
    [
        ("", None),
        ("osaka", None),
        ("lima", None),
        ("paris", "place 1 of chain default has no hop that works: paris"),
        ("osaka lima", "place 2 of chain default has no hop that works: exits"),
    ],
)
@pytest.mark.parametrize("state", [HopState.FAILING, HopState.BACKOFF, HopState.RESTED])
def test_each_place_of_a_chain_needs_a_hop(down: str, problem: str | None, state: HopState) -> None:
    hops = [
        replace(HOP, name=name, state=state if name in down.split() else HopState.UNKNOWN)
        for name in ("paris", "osaka", "lima")
    ]
    assert chain_problem(CHAIN, hops) == problem


def test_the_way_without_hops_is_always_there() -> None:
    assert chain_problem(Chain("direct", ()), []) is None
