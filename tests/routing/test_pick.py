"""The members of groups in order, and the routes that are made of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop, Identity
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.routing.pick import HYSTERESIS, Picks, choose, vary

SEED = 20
KEY = b"192.0.2.1\0example.org"


def hop(name: str) -> Hop:
    return Hop(name, HopProtocol.SOCKS5, Address(f"{name}.example", 1080))


A, B, C, D = (hop(name) for name in "abcd")


@dataclass
class Known:
    """Health as a test sets it."""

    down: set[str] = field(default_factory=set)
    times: dict[str, float] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)

    def in_backoff(self, hop: Hop) -> bool:
        return hop.name in self.down

    def dial_time(self, hop: Hop) -> float | None:
        return self.times.get(hop.name)

    def wants_measuring(self, hop: Hop) -> bool:
        return hop.name in self.wanted


NOTHING = Known()


def picks() -> Picks:
    return Picks(random.Random(SEED))


def names(hops: Iterable[Hop]) -> str:
    return "".join(hop.name for hop in hops)


def keys(named: str) -> set[Identity | Address]:
    return {hop.identity for hop in (A, B, C, D) if hop.name in named}


def order(group: Group, known: Known = NOTHING, key: bytes = KEY) -> str:
    return names(picks().order(group, key, known))


def chi_square(counts: Iterable[int], expected: Iterable[float]) -> float:
    return sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))


class TestTheOrder:
    def test_failover_is_as_declared(self) -> None:
        assert order(Group(B, A, C)) == "bac"

    def test_round_robin_begins_one_further_each_time(self) -> None:
        ours, group = picks(), Group(A, B, C, pick=Pick.ROUND_ROBIN)
        assert [names(ours.order(group, KEY, NOTHING)) for _ in range(4)] == ["abc", "bca", "cab", "abc"]

    def test_two_groups_have_turns_of_their_own(self) -> None:
        ours = picks()
        one, other = (Group(A, B, name=name, pick=Pick.ROUND_ROBIN) for name in ("one", "other"))
        assert [names(ours.order(group, KEY, NOTHING)) for group in (one, other, one, other)] == [
            "ab",
            "ab",
            "ba",
            "ba",
        ]

    @pytest.mark.parametrize("pick", Pick)
    def test_members_in_backoff_come_last_and_are_not_left_out(self, pick: Pick) -> None:
        found = order(Group(A, B, C, pick=pick), Known(down={"a", "b"}))
        assert found[0] == "c"
        assert sorted(found) == ["a", "b", "c"]

    @pytest.mark.parametrize("pick", Pick)
    def test_a_hop_that_is_a_member_twice_is_tried_once(self, pick: Pick) -> None:
        found = order(Group(A, Group(A, B, name="inner"), pick=pick))
        assert sorted(found) == ["a", "b"]

    def test_a_group_in_a_group_stands_together_in_its_own_order(self) -> None:
        assert order(Group(D, Group(C, A, name="inner"), B)) == "dcab"


class TestRandom:
    """Critical values of chi-square for p = 0.001: 13.8 with 2 degrees of freedom, 22.5 with 6."""

    @pytest.mark.parametrize(
        ("weights", "shares"),
        [((), (1 / 3, 1 / 3, 1 / 3)), ((1, 2, 5), (1 / 8, 2 / 8, 5 / 8))],
        ids=["even", "weights"],
    )
    def test_the_first_is_as_likely_as_its_weight(self, weights: tuple[float, ...], shares: tuple[float, ...]) -> None:
        ours, group, rounds = picks(), Group(A, B, C, pick=Pick.RANDOM, weights=weights), 3000
        first = Counter(ours.order(group, KEY, NOTHING)[0].name for _ in range(rounds))
        assert chi_square((first[name] for name in "abc"), (share * rounds for share in shares)) < 13.8

    def test_what_follows_is_by_lot_as_well(self) -> None:
        ours, group = picks(), Group(A, B, C, pick=Pick.RANDOM)
        assert len({names(ours.order(group, KEY, NOTHING)) for _ in range(200)}) == 6


class TestSticky:
    MEMBERS = tuple(hop(f"hop{number}") for number in range(7))
    KEYS = tuple(f"10.0.{number // 256}.{number % 256}\0example.org".encode() for number in range(3000))

    def held(self, members: Iterable[Hop], keys: Iterable[bytes] = KEYS) -> list[str]:
        ours, group = picks(), Group(*members, pick=Pick.STICKY)
        return [ours.order(group, key, NOTHING)[0].name for key in keys]

    def test_the_same_key_gets_the_same_member(self) -> None:
        assert self.held(self.MEMBERS) == self.held(self.MEMBERS) == self.held(reversed(self.MEMBERS))

    def test_keys_spread_evenly(self) -> None:
        counts = Counter(self.held(self.MEMBERS)).values()
        assert chi_square(counts, [len(self.KEYS) / 7] * 7) < 22.5

    def test_without_one_member_only_its_own_move(self) -> None:
        before, after = self.held(self.MEMBERS), self.held(self.MEMBERS[1:])
        moved = [old for old, new in zip(before, after, strict=True) if old != new]
        assert set(moved) == {"hop0"}
        assert abs(len(moved) - len(self.KEYS) / 7) < 0.15 * len(self.KEYS) / 7
        assert len({new for old, new in zip(before, after, strict=True) if old != new}) == 6, "to all of the others"

    def test_a_member_has_its_keys_back_after_its_backoff(self) -> None:
        group = Group(*self.MEMBERS, pick=Pick.STICKY)
        [first, second, *_] = picks().order(group, KEY, NOTHING)
        assert picks().order(group, KEY, Known(down={first.name}))[0] == second
        assert picks().order(group, KEY, NOTHING)[0] == first


class TestFastest:
    GROUP = Group(A, B, C, pick=Pick.FASTEST)

    def test_the_quickest_goes_first(self) -> None:
        assert order(self.GROUP, Known(times={"a": 0.3, "b": 0.2, "c": 0.1})) == "cba"

    def test_the_favourite_stays_until_another_is_clearly_quicker(self) -> None:
        ours = picks()
        for times, first in (
            ({"a": 0.1, "b": 0.2, "c": 0.3}, "a"),
            ({"a": 0.1 * HYSTERESIS - 0.001, "b": 0.1, "c": 0.3}, "a"),
            ({"a": 0.1 * HYSTERESIS + 0.001, "b": 0.1, "c": 0.3}, "b"),
            ({"a": 0.099, "b": 0.1, "c": 0.3}, "b"),
        ):
            assert names(ours.order(self.GROUP, KEY, Known(times=times)))[0] == first

    def test_a_member_in_backoff_is_no_favourite(self) -> None:
        ours = picks()
        times = {"a": 0.1, "b": 0.2, "c": 0.3}
        assert names(ours.order(self.GROUP, KEY, Known(times=times))) == "abc"
        assert names(ours.order(self.GROUP, KEY, Known(down={"a"}, times=times))) == "bca"

    def test_one_that_is_to_be_measured_goes_before_all_others(self) -> None:
        assert order(self.GROUP, Known(times={"a": 0.1, "b": 0.2}, wanted={"c"})) == "cab"
        assert order(self.GROUP, Known(times={"a": 0.1}, wanted={"b", "c"})) == "bac"

    def test_one_that_is_being_measured_for_the_first_time_waits_behind(self) -> None:
        assert order(self.GROUP, Known(times={"c": 0.2, "b": 0.1})) == "bca"

    def test_a_group_counts_as_its_first_hop(self) -> None:
        group = Group(A, Group(B, C, name="inner"), pick=Pick.FASTEST)
        assert order(group, Known(times={"a": 0.2, "b": 0.1, "c": 0.9})) == "bca"


class TestTheRoute:
    POOL = Group(A, B, C, name="pool")

    def route(self, chain: Chain, passed_over: str = "", down: str = "") -> str | None:
        known = Known(down=set(down))
        found = choose(chain, picks().orders(chain, KEY, known), keys(passed_over), known)
        return names(found.hops) if found else None

    @pytest.mark.parametrize(
        ("passed_over", "down", "hops"),
        [
            ("", "", "da"),
            ("a", "", "db"),
            ("ab", "", "dc"),
            ("abc", "", None),
            ("d", "", None),
            ("", "ab", "dc"),
            ("", "abc", "da"),
            ("", "d", "da"),
        ],
    )
    def test_a_place_is_held_by_the_next_member_that_works(self, passed_over: str, down: str, hops: str | None) -> None:
        assert self.route(Chain(D, self.POOL), passed_over, down) == hops

    def test_two_places_are_held_by_two_hops(self) -> None:
        pool = self.POOL
        assert self.route(Chain(pool, pool)) == "ab"
        assert self.route(Chain(pool, pool), passed_over="a") == "bc"
        assert self.route(Chain(pool, pool), passed_over="ab") is None
        assert self.route(Chain(A, pool, pool)) == "abc"
        assert self.route(Chain(pool, pool, pool, pool)) is None

    def test_a_hop_that_fits_elsewhere_makes_room(self) -> None:
        assert self.route(Chain(Group(A, B, name="one"), Group(A, name="other"))) == "ba"
        rings = [Group(*hops, name=names(hops)) for hops in ((A, B), (B, C), (A,))]
        assert self.route(Chain(*rings)) == "bca"

    def test_twenty_places_are_filled_or_not_in_no_time(self) -> None:
        pool = Group(*(hop(f"hop{number}") for number in range(20)), name="pool")
        assert self.route(Chain(*[pool] * 20))
        assert self.route(Chain(*[pool] * 21)) is None

    def test_a_hop_by_name_may_stand_twice(self) -> None:
        chain = Chain(A, B, A)
        assert choose(chain, [(A,), (B,), (A,)], (), NOTHING) == chain.route

    @pytest.mark.parametrize(
        ("length", "passed_over", "down", "hops"),
        [
            (None, "", "", "abcd"),
            (None, "b", "", "acd"),
            (None, "", "bd", "ac"),
            (None, "abd", "", "c"),
            (None, "abcd", "", None),
            (None, "", "abcd", "abcd"),
            (2, "", "", "ab"),
            (2, "a", "", "bc"),
            (2, "", "ab", "cd"),
            (2, "abc", "", None),
            (3, "", "ab", "abc"),
        ],
    )
    def test_dead_hops_are_left_out_where_the_chain_says_so(
        self, length: int | None, passed_over: str, down: str, hops: str | None
    ) -> None:
        assert self.route(Chain(A, B, C, D, skip_dead=True, length=length), passed_over, down) == hops

    def test_a_group_without_a_living_member_is_left_out_there_as_well(self) -> None:
        assert self.route(Chain(D, self.POOL, skip_dead=True), passed_over="abc") == "d"


class TestBeside:
    """The route of a hedged attempt."""

    def beside(self, chain: Chain, passed_over: str = "", down: str = "") -> str | None:
        known = Known(down=set(down))
        orders = picks().orders(chain, KEY, known)
        first = choose(chain, orders, keys(passed_over), known)
        assert first
        found = vary(chain, orders, keys(passed_over), known, [first])
        return names(found.hops) if found else None

    def test_a_chain_with_a_hedge_changes_what_it_can(self) -> None:
        one, other = Group(A, B, name="one"), Group(C, D, name="other")
        assert self.beside(Chain(one, other, hedge=1)) == "bd"
        assert self.beside(Chain(one, other, hedge=1), passed_over="d") == "bc"

    def test_a_group_with_a_hedge_changes_its_own_place(self) -> None:
        assert self.beside(Chain(Group(A, B, name="one"), Group(C, D, name="other", hedge=1))) == "ad"

    @pytest.mark.parametrize(("passed_over", "down"), [("b", ""), ("", "b")])
    def test_there_may_be_nothing_to_change(self, passed_over: str, down: str) -> None:
        assert self.beside(Chain(C, Group(A, B, hedge=1)), passed_over, down) is None


def test_groups_that_stay_go_on_with_their_turns_and_others_begin_again() -> None:
    ours = picks()
    one, other = Group(A, B, C, pick=Pick.ROUND_ROBIN), Group(C, D, pick=Pick.ROUND_ROBIN)
    for group in (one, other):
        ours.order(group, KEY, NOTHING)
    ours.keep([one, Group(A, B)])
    assert [names(ours.order(group, KEY, NOTHING)) for group in (one, other)] == ["bca", "cd"]
