"""Lookups in threads of the test's own: who has one, who waits, and what is remembered, with exact virtual times."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import outcome
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.net import names
from chainsocks.net.names import SystemFiles
from chainsocks.protocol.address import Address
from chainsocks.server import resolver
from chainsocks.server.resolver import ENTRIES, EXTRA, RESERVE, THREADS, Resolver

NONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
BOTH, IPV4, IPV6 = 0, int(socket.AF_INET), int(socket.AF_INET6)
DEAD = math.inf, NONE

Answer = list[str] | OSError
Deliver = Callable[[outcome.Outcome[list[str]]], None]


class World:
    """A resolver whose threads take the times of `answers`, by name and family; other names are never answered."""

    def __init__(self, nursery: trio.Nursery, root: Path) -> None:
        self.answers: dict[tuple[str, int], tuple[float, Answer]] = {}
        self.asked: list[tuple[str, int]] = []
        self.threads = self.most = 0
        self.exhausted = False
        self.files = root
        (root / "nsswitch.conf").write_text("hosts: files dns\n")
        self.resolver = Resolver(self.start_thread, SystemFiles(root))
        self._nursery = nursery

    def start_thread(self, look_up: Callable[[], list[str]], deliver: Deliver) -> None:
        if self.exhausted:
            raise RuntimeError("can't start new thread")
        assert isinstance(look_up, functools.partial)
        [(packed, family)] = look_up.args
        question = packed.decode(), family
        self.asked.append(question)
        self.threads += 1
        self.most = max(self.most, self.threads)
        self._nursery.start_soon(self._answer, *self.answers.get(question, DEAD), deliver)

    async def _answer(self, seconds: float, answer: Answer, deliver: Deliver) -> None:
        await trio.sleep(seconds)
        self.threads -= 1
        deliver(outcome.Error(answer) if isinstance(answer, OSError) else outcome.Value(answer))

    async def resolve(self, host: str, client: str = "") -> list[str]:
        return [address.host for address in await self.resolver.resolve(Address(host, 80), client)]

    async def flood(self, count: int, client: str, nursery: trio.Nursery, limit: float = 10) -> None:
        """Look up names that are never answered, each for `limit` seconds."""

        async def one(host: str) -> None:
            with trio.move_on_after(limit), contextlib.suppress(OSError):
                await self.resolve(host, client)

        for number in range(count):
            nursery.start_soon(one, f"{number}.{client}.dead.example")
        await wait_all_tasks_blocked()


@pytest.fixture
def world(nursery: trio.Nursery, tmp_path: Path) -> World:
    return World(nursery, tmp_path)


async def test_addresses_in_the_resolvers_order_with_the_port_of_the_name(
    world: World, autojump_clock: MockClock
) -> None:
    world.answers["example.org", BOTH] = 0.01, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
    found = await world.resolver.resolve(Address("Example.ORG", 443))
    assert found == [Address(host, 443) for host in ("2001:db8::1", "192.0.2.1", "192.0.2.2")]
    assert world.asked == [("example.org", BOTH)]


async def test_a_cancelled_look_up_is_not_waited_for(world: World, autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as scope:
        await world.resolve("dead.example")
    assert scope.cancelled_caught
    assert trio.current_time() == 5


# --- threads


@pytest.mark.parametrize("count", [120, 121, 500])
async def test_a_flood_of_one_client_stops_no_other(
    count: int, world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world.answers["alive.example", BOTH] = 0.01, ["192.0.2.1"]
    await world.flood(count, "attacker", nursery, limit=math.inf)
    began = trio.current_time()
    for number in range(20):
        world.answers[f"{number}.example", BOTH] = 0.01, ["192.0.2.1"]
        assert await world.resolve(f"{number}.example", "innocent") == ["192.0.2.1"]
    assert trio.current_time() - began == pytest.approx(20 * 0.01)
    assert world.most <= THREADS


async def test_other_tasks_have_their_turn_between_the_starts_of_threads(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, starts, start_thread = 0, list[int](), world.start_thread

    def start(look_up: Callable[[], list[str]], deliver: Deliver) -> None:
        starts.append(turns)
        start_thread(look_up, deliver)

    monkeypatch.setattr(world.resolver, "_start_thread", start)
    nursery.start_soon(world.flood, 500, "client", nursery)
    while len(starts) < THREADS - RESERVE:
        turns += 1
        await trio.lowlevel.checkpoint()
    assert max(Counter(starts).values()) <= 2, "one for each turn, but the order within a turn is random"


async def test_a_lone_client_has_nearly_all_threads(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    await world.flood(500, "alone", nursery)
    assert world.threads == THREADS - RESERVE


async def test_the_reserve_is_shared_by_further_clients(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    shares = []
    for client in ("first", "second", "third", "fourth", "fifth"):
        before = world.threads
        await world.flood(500, client, nursery)
        shares.append(world.threads - before)
    assert shares == [THREADS - RESERVE, 4, 2, 1, 0]


async def test_a_client_whose_last_look_up_hangs_is_not_kept_out(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world.answers["alive.example", BOTH] = 0.01, ["192.0.2.1"]
    await world.flood(2, "innocent", nursery)
    await world.flood(500, "attacker", nursery)
    assert await world.resolve("alive.example", "innocent") == ["192.0.2.1"]
    assert trio.current_time() == pytest.approx(0.01)


async def test_abandoned_look_ups_count_until_their_threads_end(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for number in range(500):
        world.answers[f"{number}.attacker.dead.example", BOTH] = 20, AGAIN
    await world.flood(500, "attacker", nursery, limit=10)
    await trio.sleep(11)
    assert world.threads == world.most  # for nothing: nobody waits any more
    await trio.sleep(10)
    assert world.threads <= EXTRA  # those that waited for a thread were dropped
    assert sum(family == BOTH for _, family in world.asked) == THREADS - RESERVE


async def test_a_free_thread_goes_to_the_client_with_the_fewest(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for number in range(500):
        world.answers[f"{number}.many.dead.example", BOTH] = 1, AGAIN
    await world.flood(500, "many", nursery, limit=math.inf)
    for number in range(RESERVE):
        await world.flood(1, f"other-{number}", nursery, limit=math.inf)
    world.answers["alive.example", BOTH] = 0.01, ["192.0.2.1"]
    assert await world.resolve("alive.example", "late") == ["192.0.2.1"]
    assert trio.current_time() == pytest.approx(1.01)


async def test_no_thread_to_be_had(world: World, autojump_clock: MockClock) -> None:
    world.exhausted = True
    with pytest.raises(OSError, match="no thread for the lookup") as caught:
        await world.resolve("example.org")
    assert caught.value.errno == errno.EAGAIN
    world.exhausted = False
    world.answers["example.org", BOTH] = 0, ["192.0.2.1"]
    assert await world.resolve("example.org") == ["192.0.2.1"]


async def test_reverse_look_ups_have_the_same_threads(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world.answers["192.0.2.1", -1] = 0.01, ["printer.example"]
    await world.flood(500, "attacker", nursery)
    assert await world.resolver.name_of(Address("192.0.2.1", 0), "innocent") == "printer.example"
    assert trio.current_time() == pytest.approx(0.01)


async def test_real_threads(tmp_path: Path) -> None:
    with_threads = Resolver(files=SystemFiles(tmp_path))  # which has no hosts file
    assert Address("127.0.0.1", 80) in await with_threads.resolve(Address("localhost", 80))
    assert await with_threads.name_of(Address("127.0.0.1", 80)) == names.name_of(b"127.0.0.1")
    with pytest.raises(OSError, match=r"\w"):
        await with_threads.resolve(Address("no.such.name.invalid", 80))


# --- equal questions


async def test_equal_questions_are_asked_once(world: World, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world.answers["example.org", BOTH] = 0.04, ["192.0.2.1"]
    found = list[list[str]]()

    async def ask(host: str, client: str) -> None:
        found.append(await world.resolve(host, client))

    async with trio.open_nursery() as asking:
        for number in range(50):
            asking.start_soon(ask, ("example.org", "EXAMPLE.org")[number % 2], str(number))
    assert found == [["192.0.2.1"]] * 50
    assert world.asked == [("example.org", BOTH)]


async def test_a_question_that_waits_for_a_thread_starts_for_another_client(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world.answers["wanted.example", BOTH] = 0.01, ["192.0.2.1"]
    await world.flood(500, "attacker", nursery, limit=math.inf)
    nursery.start_soon(world.resolve, "wanted.example", "attacker")
    await wait_all_tasks_blocked()
    assert await world.resolve("wanted.example", "innocent") == ["192.0.2.1"]


async def test_one_who_leaves_takes_no_answer_from_another(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world.answers["example.org", BOTH] = 0.04, ["192.0.2.1"]
    with trio.move_on_after(0.01):
        await world.resolve("example.org")
    assert await world.resolve("example.org") == ["192.0.2.1"]
    assert world.asked == [("example.org", BOTH)]


# --- two families


@pytest.mark.parametrize("family", [IPV4, IPV6])
async def test_one_family_that_is_never_answered_delays_by_the_resolution_delay(
    family: int, world: World, autojump_clock: MockClock
) -> None:
    host = "192.0.2.1" if family == IPV4 else "2001:db8::1"
    world.answers["half.example", BOTH] = 15, [host]
    world.answers["half.example", family] = 0.02, [host]
    assert await world.resolve("half.example") == [host]
    assert trio.current_time() == pytest.approx(0.07 if family == IPV4 else 0.12)


async def test_the_other_family_can_be_waited_for(world: World, autojump_clock: MockClock) -> None:
    name = Address("slow.example", 80)
    world.answers["slow.example", BOTH] = 2, ["2001:db8::1", "192.0.2.1"]
    world.answers["slow.example", IPV4] = 0.02, ["192.0.2.1"]
    assert await world.resolver.resolve(name) == [Address("192.0.2.1", 80)]
    rest = world.resolver.rest_of(name)
    assert rest
    assert await rest() == [Address("2001:db8::1", 80), Address("192.0.2.1", 80)]
    assert trio.current_time() == 2
    assert await world.resolve("slow.example") == ["2001:db8::1", "192.0.2.1"]
    assert world.resolver.rest_of(name) is None


async def test_a_quick_answer_needs_one_question(world: World, autojump_clock: MockClock) -> None:
    world.answers["example.org", BOTH] = 0.04, ["192.0.2.1"]
    await world.resolve("example.org")
    assert world.asked == [("example.org", BOTH)]
    assert world.resolver.rest_of(Address("example.org", 80)) is None


async def test_a_slow_answer_for_both_is_used_if_it_comes_first(world: World, autojump_clock: MockClock) -> None:
    world.answers["slow.example", BOTH] = 0.1, ["2001:db8::1", "192.0.2.1"]
    world.answers["slow.example", IPV4] = 0.1, ["192.0.2.1"]
    world.answers["slow.example", IPV6] = 0.1, ["2001:db8::1"]
    assert await world.resolve("slow.example") == ["2001:db8::1", "192.0.2.1"]


async def test_questions_about_one_family_are_few_and_shared(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for number, client in enumerate(("first", "second", "third", "fourth")):
        await world.flood(20, client, nursery, limit=math.inf)
        await trio.sleep(1)
        extra = (3, 5, 6, 6)[number]
        assert world.threads == 20 * (number + 1) + extra


# --- what is remembered


@pytest.mark.parametrize(
    ("answer", "seconds"), [(["192.0.2.1"], 5), (NONE, 1), (AGAIN, 0)], ids=["found", "no such name", "time-out"]
)
async def test_for_how_long(answer: Answer, seconds: float, world: World, autojump_clock: MockClock) -> None:
    world.answers["example.org", BOTH] = 0.01, answer
    for wait in (0, seconds - 0.001, 0.002):
        await trio.sleep(max(wait, 0))
        if isinstance(answer, list):
            assert await world.resolve("example.org") == answer
            continue
        with pytest.raises(socket.gaierror) as caught:
            await world.resolve("example.org")
        assert caught.value.args == answer.args
        assert caught.value is not answer  # each has a traceback of its own
    assert len(world.asked) == (2 if seconds else 3)


async def test_so_many_and_no_more(world: World, autojump_clock: MockClock) -> None:
    for number in (*range(ENTRIES + 1), 1, 0):
        world.answers[f"{number}.example", BOTH] = 0, ["192.0.2.1"]
        await world.resolve(f"{number}.example")
    assert len(world.asked) == ENTRIES + 2


async def test_a_name_whose_addresses_failed_is_looked_up_again(world: World, autojump_clock: MockClock) -> None:
    world.answers["example.org", BOTH] = 0, ["192.0.2.1"]
    await world.resolve("example.org")
    world.resolver.forget(Address("Example.org", 443))
    await world.resolve("example.org")
    assert len(world.asked) == 2


async def test_all_is_looked_up_again_after_a_clear_and_old_answers_do_not_count(
    world: World, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world.answers["example.org", BOTH] = 0.04, ["192.0.2.1"]
    nursery.start_soon(world.resolve, "example.org")
    await trio.sleep(0.02)
    world.resolver.clear()
    await world.resolve("example.org")
    assert len(world.asked) == 2
    world.resolver.clear()
    await world.resolve("example.org")
    assert len(world.asked) == 3


@pytest.mark.parametrize("name", ["resolv.conf", "hosts"])
async def test_all_is_looked_up_again_when_the_machines_files_change(
    name: str, world: World, autojump_clock: MockClock
) -> None:
    world.answers["example.org", BOTH] = 0, ["192.0.2.1"]
    await world.resolve("example.org")
    (world.files / name).write_text("# new\n")
    await world.resolve("example.org")
    assert len(world.asked) == 1
    await trio.sleep(1)
    await world.resolve("example.org")
    assert len(world.asked) == 2


# --- what needs no thread


@pytest.mark.parametrize(("host", "address"), [("127.1", "127.0.0.1"), ("::1%1", "::1")])
async def test_an_address_in_an_unusual_form_needs_no_thread(
    host: str, address: str, world: World, autojump_clock: MockClock
) -> None:
    world.exhausted = True
    assert await world.resolve(host) == [address]


async def test_a_name_in_hosts_needs_no_thread(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.files / "hosts").write_text("192.0.2.7 printer.example\n")
    monkeypatch.setattr(resolver, "addresses_of", lambda name, family: [f"{name.decode()}.{family}"])
    world.exhausted = True
    assert await world.resolve("Printer.example") == ["printer.example.0"]


async def test_a_name_that_the_resolver_does_not_find_in_hosts_has_a_thread(
    world: World, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.files / "hosts").write_text("192.0.2.7 printer.example\n")

    def fail(name: bytes, family: int) -> list[str]:
        raise NONE

    monkeypatch.setattr(resolver, "addresses_of", fail)
    world.answers["printer.example", BOTH] = 0.01, ["192.0.2.7"]
    assert await world.resolve("printer.example") == ["192.0.2.7"]
