"""Warm ways on the mock clock: how many there are, how old they get, what ends them, and which request gets which."""

from __future__ import annotations

import errno
import logging
import random
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest
import trio
from anyio import BrokenResourceError, EndOfStream
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.chain.blame import FailedAt, Suspect
from chainsocks.chain.warm import BRIEF, MARGIN, MEMORY, PERIOD
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, Pick
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.errors import DialTimeout, HopProtocolError, HopRefused
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import ReplyCode
from chainsocks.routing.isolation import Circumstances, isolated_chain
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host, MemoryStream
from tests.warm import DESTINATION, TIMEOUTS, Party, warming

PARIS, OSAKA = make_hop(1), make_hop(2)
LIMA = replace(make_hop(3), credentials=None)


def member(name: str, number: int) -> Hop:
    return replace(LIMA, name=name, address=Address(f"10.1.0.{number}", 1080))


A, B, C = (member(name, number) for number, name in enumerate("abc", 1))


async def test_a_request_on_a_warm_way_costs_what_the_links_take(autojump_clock: MockClock) -> None:
    chain = Chain(PARIS, OSAKA, LIMA, warm=1)
    async with warming(chain) as party:
        for hop in (PARIS, OSAKA):
            add_hop(party.world, hop)
            party.world.hosts[hop.address] = replace(party.world.hosts[hop.address], latency=0.02)
        party.add_exit(LIMA, latency=0.02)
        party.world.hosts[DESTINATION] = replace(party.world.hosts[DESTINATION], latency=0.02)
        began = trio.current_time()
        cold, upstream = await party.dial(chain)
        await anyio.aclose_forcefully(upstream.stream)
        assert (cold.is_warm, round((trio.current_time() - began) / 0.04, 6)) == (
            False,
            19,
        )  # 16, and two logins: 1 + 2
        await party.rest(2)
        began = trio.current_time()
        warm, upstream = await party.dial(chain)
        await anyio.aclose_forcefully(upstream.stream)
        assert (warm.is_warm, round((trio.current_time() - began) / 0.04, 6)) == (True, 4)


class TestHowMany:
    async def test_none_without_requests(self, autojump_clock: MockClock) -> None:
        async with warming(Chain(LIMA, warm=2)) as party:
            party.add_exit(LIMA)
            await trio.sleep(1000)
            assert party.network.connects == []

    async def test_each_way_is_replaced_when_it_is_used(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=2)
        async with warming(chain) as party:
            lima, found = party.add_exit(LIMA), []
            for _ in range(5):
                found.append(await party.request(chain))
                await party.rest()
                assert len(lima.waiting) == 1
            assert found == [False, True, True, True, True]
            assert len(lima.requests) == 5
            assert len(party.connects(LIMA)) == 6

    async def test_requests_that_come_together_raise_the_number(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=3)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            for expected in (1, 2, 3, 3):
                async with trio.open_nursery() as nursery:
                    for _ in range(expected):
                        nursery.start_soon(party.request, chain)
                await party.rest()
                assert len(lima.waiting) == expected

    async def test_what_is_never_needed_is_given_up(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=3)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(party.request, chain)
            await party.rest()
            assert len(lima.waiting) == 3
            for _ in range(2 * PERIOD):
                assert await party.request(chain)
                await trio.sleep(1)
            assert len(lima.waiting) == 1

    async def test_none_when_idle(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1, warm_idle=200, warm_age=1000)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await trio.sleep(199)
            assert len(lima.waiting) == 1
            await trio.sleep(2)
            assert (len(lima.waiting), party.network.left_open) == (0, [])
            await trio.sleep(1000)
            assert len(party.connects(LIMA)) == 2
            assert not await party.request(chain)
            await party.rest()
            assert await party.request(chain)

    async def test_no_more_than_there_are_files_for(self, autojump_clock: MockClock) -> None:
        first, second = Chain(A, name="first", warm=3), Chain(B, name="second", warm=3)
        files = [0.5]
        async with warming(first, second, files=lambda: files[-1]) as party:
            a, b = party.add_exit(A), party.add_exit(B)
            for limit, most in ((0.5, 1), (2, 2), (3.5, 4), (100, 6)):
                files.append(limit)
                for _ in range(3):
                    async with trio.open_nursery() as nursery:
                        for chain in (first, second) * 3:
                            nursery.start_soon(party.request, chain)
                    await party.rest()
                assert len(a.waiting) + len(b.waiting) == most


class TestWhatEndsThem:
    async def test_a_hop_that_hangs_up_is_no_failure(self, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B), warm=1)
        async with warming(chain) as party:
            a, _ = party.add_exit(A), party.add_exit(B)
            await party.request(chain)
            await trio.sleep(20)
            for end in ("reset", "finish"):
                [way] = a.waiting
                way.reset() if end == "reset" else way.outgoing.mark("finished")
                await party.rest()
                [now] = [one for one in a.waiting if one is not way]
                assert now is not way
                assert not party.dialer.choices.health.in_backoff(A)
                assert await party.request(chain)
                await trio.sleep(20)

    async def test_a_hop_that_says_anything(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await trio.sleep(5)
            [way] = lima.waiting
            await way.send(b"\x05\x00\x00\x01\0\0\0\0\0\0")  # it looks like an answer
            await party.rest()
            assert way.incoming.abandoned
            assert await party.request(chain)

    async def test_one_that_says_something_behind_its_greeting_is_not_ready(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:

            async def greet_and_talk(stream: MemoryStream) -> None:
                await stream.receive()
                await stream.send(b"\x05\x00welcome")
                await stream.receive()

            party.world.hosts[LIMA.address] = Host(greet_and_talk)
            for _ in range(3):
                with pytest.raises(HopProtocolError):
                    await party.request(chain)
                await party.rest(5)
            assert party.network.left_open == []

    async def test_the_age_at_which_a_hop_hangs_up_is_learnt(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=2, warm_idle=10_000, warm_age=5000)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA, limit=10)
            await party.request(chain)
            await trio.sleep(MEMORY - 20)
            assert len(lima.ends) == 1
            connects = party.connects(LIMA)
            assert round(connects[-1] - connects[-2], 6) == 10 * MARGIN
            await trio.sleep(100)
            assert len(lima.ends) == 2  # what was learnt was forgotten, and learnt again

    async def test_no_way_gets_older_than_its_limit(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1, warm_age=30)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await trio.sleep(59)
            assert [round(when) for when in party.connects(LIMA)] == [0, 0, 30]
            assert len(lima.waiting) == 1

    async def test_ways_that_end_at_once_are_not_opened_again_and_again(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=2, warm_idle=1000)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA, limit=BRIEF / 2)
            await party.request(chain)
            await trio.sleep(60)
            assert lima.ends == [0.5, 3, 7.5, 16, 32.5, 49]  # between them 0.5 s, and 2 s, 4 s, 8 s, 16 s, 16 s

    async def test_all_of_them_when_the_server_stops(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=2)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            for _ in range(2):
                async with trio.open_nursery() as nursery:
                    for _ in range(2):
                        nursery.start_soon(party.request, chain)
                await party.rest()
            assert len(lima.waiting) == 2
            party.scope.cancel()
            await wait_all_tasks_blocked()
            assert party.network.left_open == []
            assert not await party.request(chain)
            await party.rest()
            assert (lima.waiting, party.network.left_open) == ([], [])


class TestARequestWhoseWayEnds:
    async def test_goes_on_a_fresh_one(self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            lima.hangs_up = 1
            caplog.set_level(logging.DEBUG, "chainsocks")
            assert not await party.request(chain)
            assert "had ended" in caplog.text
            assert len(lima.requests) == 3
            await party.rest()
            assert await party.request(chain)

    async def test_only_once(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=2)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            lima.hangs_up = 5
            with pytest.raises(HopProtocolError, match=r"hop lima \(1 of 1\).*request: the connection was closed"):
                await party.request(chain)
            assert lima.hangs_up == 3

    @pytest.mark.parametrize("answer", [b"\x05", b"\x05\x00\x00\x01\0\0\0\0\0"])
    async def test_not_after_a_part_of_an_answer(self, answer: bytes, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            lima.answer = answer
            with pytest.raises(HopProtocolError, match="bytes into a message"):
                await party.request(chain)
            assert len(lima.requests) == 2

    async def test_not_after_a_refusal(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            lima.answer = b"\x05\x05\x00\x01\0\0\0\0\0\0"
            with pytest.raises(HopRefused) as caught:
                await party.request(chain)
            assert (caught.value.code, len(lima.requests)) == (ReplyCode.CONNECTION_REFUSED, 2)

    async def test_not_after_its_limit(self, autojump_clock: MockClock) -> None:
        chain = Chain(PARIS, LIMA, warm=1)
        async with warming(chain) as party:
            add_hop(party.world, PARIS)
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            lima.is_silent, began = True, trio.current_time()
            with pytest.raises(DialTimeout, match=r"hop lima \(2 of 2\) at 10.0.0.3:1080, request: .*1.50 s of 1.5 s"):
                await party.request(chain)
            assert (trio.current_time() - began, len(lima.requests)) == (TIMEOUTS.hop, 2)


class TestRaces:
    @pytest.mark.parametrize("seed", range(60))
    async def test_a_way_that_ends_while_it_is_taken(self, seed: int, autojump_clock: MockClock) -> None:
        """The hop hangs up, resets or speaks in the very turn in which requests come; tasks run in random order."""
        rng = random.Random(seed)
        chain = Chain(LIMA, warm=3)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)

            async def disturb(ways: list[MemoryStream], turns: int) -> None:
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                for way in (way for way in ways if way in lima.waiting):
                    match rng.randrange(4):
                        case 0:
                            way.reset()
                        case 1:
                            way.outgoing.mark("finished")
                        case 2:
                            way.outgoing.buffer += b"\x05\x01"
                            way.outgoing.changed.unpark_all()

            for _ in range(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(disturb, [*lima.waiting], rng.randrange(6))
                    for _ in range(rng.randrange(1, 4)):
                        nursery.start_soon(_request_or_refusal, party, chain)
                await party.rest(rng.choice((0.5, 5)))
            await wait_all_tasks_blocked()  # a period may end just now
            assert len(party.network.left_open) == len(lima.waiting)

    @pytest.mark.parametrize("turns", range(8))
    async def test_a_request_that_is_cancelled_while_it_takes_a_way(
        self, turns: int, autojump_clock: MockClock
    ) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(party.request, chain)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await party.rest()
            assert len(lima.waiting) == 1
            assert len(party.network.left_open) == 1
            assert await party.request(chain)

    @pytest.mark.parametrize("turns", range(8))
    async def test_a_pool_that_ends_while_a_way_is_taken(self, turns: int, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(party.request, chain)
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                party.scope.cancel()
            await wait_all_tasks_blocked()
            assert party.network.left_open == []


async def _request_or_refusal(party: Party, chain: Chain) -> None:
    with suppress(HopRefused):  # the unasked bytes came between the last look and the request
        await party.request(chain)


class TestWaysThatCannotBeOpened:
    async def test_are_tried_at_growing_intervals(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        chain = Chain(PARIS, LIMA, warm=1, warm_idle=1000)
        async with warming(chain) as party:
            add_hop(party.world, PARIS)
            party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            party.world.hosts[LIMA.address] = Host(error=errno.ECONNREFUSED)
            before = len(party.connects(PARIS))
            assert await party.request(chain)
            await trio.sleep(60)
            times = [round(when, 3) for when in party.connects(PARIS)[before:]]
            assert [times[index + 1] - times[index] for index in range(len(times) - 1)] == [2, 4, 8, 16, 16]
            warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
            assert warnings == [
                "no warm way: chain default: hop paris (1 of 2) at 10.0.0.1:1080, request: it could not reach lima at "
                "10.0.0.3:1080, it says: connection refused (05) (0.00 s of 1.5 s)"
            ]
            party.add_exit(LIMA)
            await trio.sleep(20)
            assert await party.request(chain)

    async def test_have_a_limit_for_each_step(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain) as party:
            party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            add_hop(party.world, LIMA, Trouble("method negotiation", Fault.MUTE))
            assert await party.request(chain)
            await trio.sleep(TIMEOUTS.hop + 0.1)
            assert party.network.left_open == []

    async def test_put_a_guilty_member_into_backoff(self, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B), warm=1)
        async with warming(chain) as party:
            a, b = party.add_exit(A), party.add_exit(B)
            await party.request(chain)
            await party.rest()
            party.world.hosts[A.address] = Host(error=errno.ECONNREFUSED)
            assert await party.request(chain)
            await party.rest(1)
            assert party.dialer.choices.health.in_backoff(A)
            assert (len(a.waiting), len(b.waiting)) == (0, 1)
            assert await party.request(chain)
            for _ in range(100):  # what is ready stays, whenever another attempt is made with the first member
                await party.rest(1)
                assert await party.request(chain)
            assert 4 < len(party.connects(A)) < 20
            party.world.hosts[A.address] = Host(a.serve)
            await party.rest(20)
            assert (len(a.waiting), len(b.waiting)) == (1, 0)

    async def test_are_not_opened_to_where_the_guard_forbids(self, autojump_clock: MockClock) -> None:
        chain = Chain(LIMA, warm=1)
        async with warming(chain, guard=lambda *_: "it is not allowed") as party:
            lima = party.add_exit(LIMA)
            await party.request(chain)
            await party.rest()
            assert lima.waiting == []


class TestWhichOnes:
    async def test_no_hop_in_backoff(self, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B), warm=2)
        async with warming(chain) as party:
            a, b = party.add_exit(A), party.add_exit(B)
            await party.request(chain)
            await party.rest()
            assert (len(a.waiting), len(b.waiting)) == (1, 0)
            party.dialer.choices.health.record_failure(Suspect(A, FailedAt.REQUEST), "it failed")
            assert not await party.request(chain)
            await party.rest()
            assert (len(a.waiting), len(b.waiting)) == (0, 2)
            await party.rest(3)
            await party.request(chain)  # the trial
            await party.rest(1)
            assert (len(a.waiting), len(b.waiting)) == (2, 0)

    @pytest.mark.parametrize(
        ("at", "ends"), [(FailedAt.REQUEST, True), (FailedAt.LOGIN, False), (FailedAt.CONNECT, False)]
    )
    async def test_what_a_request_on_a_warm_way_proves(
        self, at: FailedAt, autojump_clock: MockClock, *, ends: bool
    ) -> None:
        """It shows that the hop does requests, and not that it can be connected or logged in to."""
        chain = Chain(Group(A), warm=1)
        async with warming(chain) as party:
            party.add_exit(A)
            await party.request(chain)
            await party.rest(2)
            health = party.dialer.choices.health
            health.record_failure(Suspect(A, at), "it failed")
            assert await party.request(chain)
            assert health.in_backoff(A) is not ends

    async def test_none_where_every_member_is_in_backoff(self, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B), warm=1)
        async with warming(chain) as party:
            a, b = party.add_exit(A), party.add_exit(B)
            await party.request(chain)
            await party.rest()
            connects = len(party.connects(A)), len(party.connects(B))
            for hop in (A, B):
                party.dialer.choices.health.record_failure(Suspect(hop, FailedAt.REQUEST), "it failed")
            await party.rest(1.2)
            assert (len(a.waiting), len(b.waiting)) == (0, 0)
            assert (len(party.connects(A)), len(party.connects(B))) == connects

    @pytest.mark.parametrize("pick", [Pick.ROUND_ROBIN, Pick.RANDOM])
    async def test_those_of_several_requests_to_come(self, pick: Pick, autojump_clock: MockClock) -> None:
        members = [member(str(number), number) for number in range(1, 9)]
        chain = Chain(Group(*members, pick=pick), warm=4)
        async with warming(chain) as party:
            for hop in members:
                party.add_exit(hop)
            found: list[bool] = []

            async def note_one() -> None:
                found.append(await party.request(chain))

            for _ in range(6):
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(note_one)
                await party.rest()
            assert found == [False] * 4 + [True] * 20

    @pytest.mark.parametrize("pick", [Pick.ROUND_ROBIN, Pick.RANDOM])
    async def test_those_whose_turn_it_is(self, pick: Pick, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B, C, pick=pick), warm=2)
        async with warming(chain) as party:
            for hop in (A, B, C):
                party.add_exit(hop)
            await party.request(chain)
            await party.rest()
            assert all([await _one_request(party, chain) for _ in range(60)])
            used = {hop.name for hop in (A, B, C) if party.exits[hop.address].requests}
            assert used == {"a", "b", "c"}

    async def test_those_of_the_last_clients(self, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B, C, pick=Pick.STICKY), warm=4)
        keys = [b"carol", b"dave", b"erin", b"frank"]
        async with warming(chain) as party:
            for hop in (A, B, C):
                party.add_exit(hop)
            for _ in range(5):
                for key in keys:
                    await party.request(chain, key=key)
                    await party.rest()
            assert all([await party.request(chain, key=key) for key in keys])

    async def test_a_member_is_measured_by_a_cold_dial(self, autojump_clock: MockClock) -> None:
        chain = Chain(Group(A, B, pick=Pick.FASTEST), warm=1, warm_idle=1000)
        async with warming(chain) as party:
            party.add_exit(A, latency=0.1)
            party.add_exit(B, latency=0.01)
            found = [await _one_request(party, chain) for _ in range(6)]
            assert found == [False, False, False, True, True, True]
            health = party.dialer.choices.health
            times = health.dial_time(A), health.dial_time(B)
            assert [round(time or 0, 6) for time in times] == [0.6, 0.06]
            await trio.sleep(60)  # the measurements are out of date
            assert (len(party.exits[A.address].waiting), len(party.exits[B.address].waiting)) == (0, 1)
            assert [await _one_request(party, chain) for _ in range(4)] == [False, False, True, True]
            assert (health.dial_time(A), health.dial_time(B)) == pytest.approx((0.6, 0.06))

    async def test_a_chain_that_skips_dead_hops(self, autojump_clock: MockClock) -> None:
        chain = Chain(PARIS, A, B, skip_dead=True, warm=1)
        async with warming(chain) as party:
            add_hop(party.world, PARIS)
            party.world.hosts[A.address] = Host(error=errno.ECONNREFUSED)
            b = party.add_exit(B)
            await party.request(chain)
            await party.rest(3)
            assert len(b.waiting) == 1
            assert await party.request(chain)


async def _one_request(party: Party, chain: Chain) -> bool:
    warm = await party.request(chain)
    await party.rest(2)
    return warm


class TestIsolation:
    async def test_each_session_has_a_login_of_its_own(self, autojump_clock: MockClock) -> None:
        chain = Chain(replace(LIMA, isolate=Isolate.SESSION), warm=2)
        async with warming(chain) as party:
            lima, found = party.add_exit(LIMA), []
            for _ in range(5):
                found.append(await party.request(isolated_chain(chain, Circumstances(b"key"))))
                await party.rest()
            assert found == [False, True, True, True, True]
            assert len(lima.logins) == len(set(lima.logins)) == 6


async def test_no_way_is_used_twice(autojump_clock: MockClock) -> None:
    chain = Chain(LIMA, warm=1)
    async with warming(chain) as party:
        party.add_exit(LIMA)
        await party.request(chain)
        streams = []
        for _ in range(20):
            await party.rest()
            trip, upstream = await party.dial(chain)
            assert trip.is_warm
            streams.append(upstream.stream)
        assert len(set(map(id, streams))) == 20
        for stream in streams:
            await anyio.aclose_forcefully(stream)
        with pytest.raises((EndOfStream, BrokenResourceError, anyio.ClosedResourceError)):
            await streams[0].receive()
