"""What is counted of sessions: how they ended, their bytes, dials, steps and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.models import Config, Timeouts, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.datagrams import Drop
from chainsocks.errors import Cause
from chainsocks.observe.counters import BOUNDS, MANY, RECENT, Counters, Histogram
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.record import Record, Traffic
from chainsocks.observe.tally import Tally
from chainsocks.protocol.handshake import State
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host
from tests.session.serving import CONNECT5, GRANTED5, Client, session

PARIS, OSAKA = make_hop(1), make_hop(2)
TIMEOUTS = Timeouts(connect=5, hop=7, reply=4, handshake=10)
USERS = (User("carol", PlainPassword(b"open sesame")),)
NO_DEFAULT = {"other": Chain(PARIS, name="other")}

Story = Callable[[Client], Awaitable[None]]


def keys(counters: Counters) -> dict[tuple[str | None, str, str, int | None], int]:
    return {
        (key.command.name if key.command else None, key.chain, key.outcome, key.reply): totals.count
        for key, totals in counters.sessions.items()
    }


async def ask(client: Client) -> None:
    await client.send("05 01 00", CONNECT5)


async def finish(client: Client) -> None:
    await ask(client)
    await client.expect("05 00" + GRANTED5)
    await client.send(b"hello")
    await client.expect(b"hello")
    await client.stream.send_eof()
    await client.expect_end()


async def say_nothing(client: Client) -> None:
    await trio.sleep(20)


async def speak_tls(client: Client) -> None:
    await client.send(b"\x16\x03\x01\x02\x00\x01\x00")
    await client.expect_end()


async def log_in_wrongly(client: Client) -> None:
    await client.send("05 01 02", b"\x01\x05carol\x05wrong")
    await client.expect("05 02 01 01")
    await client.expect_end()


async def be_refused(client: Client) -> None:
    await ask(client)
    await client.expect("05 00 05 02")


async def fall_silent(client: Client) -> None:
    await ask(client)
    await client.expect("05 00" + GRANTED5)
    await trio.sleep(400)


@pytest.mark.parametrize(
    ("story", "config", "expected"),
    [
        pytest.param(finish, Config(), ("CONNECT", "direct", "finished", 0), id="finished"),
        pytest.param(fall_silent, Config(), ("CONNECT", "direct", "idle", 0), id="idle"),
        pytest.param(say_nothing, Config(), (None, "", "no_request", None), id="silent"),
        pytest.param(speak_tls, Config(), (None, "", "bad_request", None), id="tls"),
        pytest.param(log_in_wrongly, Config(users=USERS), (None, "", "login_refused", None), id="login"),
        pytest.param(be_refused, Config(chains=NO_DEFAULT), ("CONNECT", "", "refused", 2), id="rule"),
    ],
)
async def test_a_session_is_counted_by_how_it_ended(
    story: Story,
    config: Config,
    expected: tuple[str | None, str, str, int | None],
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    counters = Counters()
    async with session(caplog, config, counters=counters) as client:
        await story(client)
    assert keys(counters) == {expected: 1}


async def test_bytes_belong_to_their_session(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    async with session(caplog, counters=counters) as client:
        await finish(client)
    [totals] = counters.sessions.values()
    assert (totals.count, totals.up, totals.down) == (1, 5, 5)


async def test_a_session_that_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    with trio.CancelScope() as scope:
        async with session(caplog, counters=counters) as client:
            await ask(client)
            await client.expect("05 00" + GRANTED5)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert keys(counters) == {("CONNECT", "direct", "cut_off", 0): 1}


async def test_a_dial_counts_its_steps_and_time(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters(trio.current_time)
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(PARIS, name="default")})
    async with session(caplog, config, counters=counters) as client:
        add_hop(client.network, PARIS)
        client.network.hosts[PARIS.address] = Host(client.network.hosts[PARIS.address].handler, latency=0.15)
        await finish(client)
    slow = BOUNDS.index(0.5)  # a round trip takes 0.3 s
    steps = {key: histogram.counts[slow] for key, histogram in counters.steps.items()}
    assert steps == {
        ("paris", CONNECT): 1,
        ("paris", State.METHOD_NEGOTIATION): 1,
        ("paris", State.SUB_NEGOTIATION): 1,
        ("paris", State.REQUEST): 1,
    }
    [(chain, dials)] = counters.dials.items()
    assert (chain, sum(dials.counts)) == ("default", 1)
    assert dials.sum == pytest.approx(4 * 0.3)
    assert counters.failures == {}


@pytest.mark.parametrize(
    ("trouble", "failure"),
    [
        pytest.param(
            Trouble(CONNECT, Fault.MUTE), Failure("paris", CONNECT, Cause.TIMED_OUT), id="the limit of the session"
        ),
        pytest.param(
            Trouble(State.REQUEST, Fault.FIN), Failure("paris", State.REQUEST, Cause.CLOSED), id="an error on the way"
        ),
    ],
)
async def test_a_failed_dial_is_counted_by_hop_step_and_cause(
    trouble: Trouble, failure: Failure, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    counters = Counters()
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(PARIS, name="default")})
    async with session(caplog, config, counters=counters) as client:
        add_hop(client.network, PARIS, trouble)
        await ask(client)
        await client.expect("05 00 05")
    assert counters.failures == {failure: 1}
    assert [key.outcome for key in counters.sessions] == [OutcomeKind.DIAL_FAILED]
    assert counters.dials == {}


@pytest.mark.parametrize(
    ("osaka_works", "expected"),
    [
        pytest.param(True, {"paris": 1}, id="overcome"),
        pytest.param(False, {"paris": 1, "osaka": 1}, id="raised"),
    ],
)
async def test_each_attempt_of_a_group_is_counted_once(
    expected: dict[str, int], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, *, osaka_works: bool
) -> None:
    counters = Counters()
    config = Config(timeouts=TIMEOUTS, chains={"default": Chain(Group(PARIS, OSAKA), name="default")})
    async with session(caplog, config, counters=counters) as client:
        add_hop(client.network, PARIS, Trouble(CONNECT, Fault.MUTE))
        add_hop(client.network, OSAKA, *([] if osaka_works else [Trouble(CONNECT, Fault.MUTE)]))
        await ask(client)
        await client.expect("05 00 05" + ("00" if osaka_works else ""))
    assert Counter(failure.hop for failure in counters.failures.elements()) == expected


async def test_a_hop_cannot_make_up_rows(caplog: pytest.LogCaptureFixture) -> None:
    """All that a row has comes from enums, from the configuration, or is a reply code of one byte."""
    counters = Counters()
    for number in range(3):
        record = Record(f"192.0.2.{number}:1", kind=OutcomeKind.FINISHED, user=f"user{number}")
        counters.session_ended(record)
    assert keys(counters) == {(None, "", "finished", None): 3}


async def test_the_last_failures_are_remembered(autojump_clock: MockClock) -> None:
    counters = Counters()
    for number in range(RECENT + 5):
        counters.session_ended(Record("client", number, outcome="paris is down", kind=OutcomeKind.DIAL_FAILED))
        counters.session_ended(Record("client", 1000 + number, kind=OutcomeKind.FINISHED))
    assert [ended.record.id for ended in counters.recent_failures] == [*range(5, RECENT + 5)]


def test_a_histogram_counts_up_to_and_with_each_bound() -> None:
    counters = Counters()
    for seconds in (0, BOUNDS[0], BOUNDS[0] + 0.001, 1000):
        counters.dials["default"].add(seconds)
        counters.steps["paris", State.REQUEST].add(seconds)
    for histogram in (counters.dials["default"], counters.steps["paris", State.REQUEST]):
        assert histogram.counts[:2] == [2, 1]
        assert histogram.counts[-1] == 1
        assert histogram.sum == pytest.approx(2 * BOUNDS[0] + 0.001 + 1000)


def test_durations_are_the_same_whether_they_are_counted_late_or_at_once() -> None:
    late, at_once = Histogram(), Histogram()
    for seconds in (0.3, 0.001, 31.0, 0.0005, 0.3, 30.0, 0.02):
        late.add(seconds)
        at_once.add(seconds)
        at_once.gather()
    assert list(late.counts) == list(at_once.counts)
    assert sum(late.counts) == 7
    assert late.sum == pytest.approx(at_once.sum) == pytest.approx(61.6215)


def test_notes_of_durations_stay_few(autojump_clock: MockClock) -> None:
    counters = Counters()
    histograms = counters.dials["default"], counters.steps["paris", State.REQUEST]
    for number in range(1, 3 * MANY):
        for histogram in histograms:
            histogram.add(0.1)
        counters.session_ended(Record("client", number, 0.0, kind=OutcomeKind.FINISHED))
    assert [len(histogram._noted) for histogram in histograms] == [MANY - 1] * 2
    assert [sum(histogram.counts) for histogram in histograms] == [3 * MANY - 1] * 2


def test_datagrams_of_open_and_of_ended_associations_are_counted_once() -> None:
    counters = Counters()
    ended, running = Tally(Traffic()), Tally(Traffic())
    with counters.association(ended):
        ended.up += 3
        ended.drops[Drop.STRANGER] += 1
    with counters.association(running):
        running.up, running.down = 10, 20
        found = counters.datagrams
        assert (found.up, found.down, found.drops) == (13, 20, {Drop.STRANGER: 1})
        running.down = 21
    assert (counters.datagrams.up, counters.datagrams.down) == (13, 21)
    assert (counters.datagrams.up, counters.datagrams.down) == (13, 21)
