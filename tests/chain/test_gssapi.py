"""Dials through hops that want GSSAPI, by a mechanism without secrets. Faults have their table in tests/session."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import trio
from anyio import BrokenResourceError

from chainsocks.chain.dialer import Dialer
from chainsocks.chain.legs import legs
from chainsocks.chain.operations import Upstream
from chainsocks.chain.pipeline import round_trips
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.models import Timeouts
from chainsocks.errors import DialError, DialTimeout, HopAuthenticationError, HopProtocolError
from chainsocks.gss.stream import EncapsulatedStream
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import ABORT, Gssapi, MessageType, Protection, encode_message
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import Credentials
from tests import dialing
from tests.dialing import associate, dial
from tests.hops import add_hop, make_hop
from tests.mechanism import FakeAcceptor, FakeContext, FakeInitiator, FakeMechanism
from tests.memory import Host, MemoryNetwork, MemoryStream

NONE, INTEGRITY, CONFIDENTIALITY, SELECTIVE = Protection
LEVELS = pytest.mark.parametrize("protection", [NONE, INTEGRITY, CONFIDENTIALITY], ids=str)
DESTINATION = Address("example.org", 80)
PARIS = Address("10.0.0.1", 1080)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMechanism:
    return FakeMechanism().install(monkeypatch)


async def echo(stream: MemoryStream) -> None:
    await stream.send(b"220 welcome\r\n")
    while True:
        await stream.send(await stream.receive())


async def go(
    nursery: trio.Nursery,
    *logins: Credentials | None,
    timeouts: Timeouts | None = None,
    pipeline: Pipeline = Pipeline.OFF,
    latency: float = 0,
) -> Upstream:
    """Dial through honest hops with these logins."""
    hops = [make_hop(number, login=login) for number, login in enumerate(logins, 1)]
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    for hop in hops:
        add_hop(network, hop)
    network.hosts = {address: replace(host, latency=latency) for address, host in network.hosts.items()}
    return await dial(Chain(*hops, pipeline=pipeline), DESTINATION, timeouts or Timeouts(), network)


@LEVELS
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("exactly", [False, True], ids=["", "exactly"])
async def test_hops_at_each_level(
    protection: Protection,
    count: int,
    exactly: bool,  # noqa: FBT001
    fake: FakeMechanism,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the dialer of the server, and with that of the library, which receives nothing behind the last reply."""
    monkeypatch.setattr(dialing, "Dialer", partial(Dialer, receives_exactly=exactly))
    upstream = await go(nursery, *[Gssapi(protection)] * count)
    assert not (exactly and upstream.trailing_data)
    said = upstream.trailing_data
    while len(said) < 13:
        said += await upstream.stream.receive()
    assert said == b"220 welcome\r\n"
    await upstream.stream.send(b"hello" * 10_000)
    said = b""
    while len(said) < 50_000:
        said += await upstream.stream.receive()
    assert said == b"hello" * 10_000
    assert isinstance(upstream.stream, EncapsulatedStream) is (protection is not NONE)
    assert len(fake.contexts) == count


@pytest.mark.parametrize("pipeline", Pipeline)
@pytest.mark.parametrize(
    "logins", [(Gssapi(), None, None), (None, Gssapi(CONFIDENTIALITY), None), (None, Gssapi(NONE), Gssapi())]
)
async def test_it_goes_with_other_logins(
    logins: tuple[Credentials | None, ...], pipeline: Pipeline, fake: FakeMechanism, nursery: trio.Nursery
) -> None:
    upstream = await go(nursery, *logins, pipeline=pipeline)
    await upstream.stream.send(b"hello")
    said = upstream.trailing_data
    while len(said) < 18:
        said += await upstream.stream.receive()
    assert said == b"220 welcome\r\nhello"


@pytest.mark.parametrize(
    ("login", "target"),
    [
        (Gssapi(), ("rcmd", "10.0.0.1")),
        (Gssapi(service="socks", host="proxy.example"), ("socks", "proxy.example")),
    ],
)
async def test_whom_the_ticket_is_for(
    login: Gssapi, target: tuple[str, str], fake: FakeMechanism, nursery: trio.Nursery
) -> None:
    await go(nursery, login)
    [context] = fake.contexts
    assert isinstance(context, FakeInitiator)
    assert (context.service, context.host) == target


@pytest.mark.parametrize("pipeline", Pipeline)
@pytest.mark.parametrize(
    "logins", [(Gssapi(),), (Gssapi(NONE), Gssapi()), (None, Gssapi(), None), (None, None, Gssapi(CONFIDENTIALITY))]
)
async def test_nothing_is_sent_ahead_of_such_a_login_but_its_greeting(
    logins: tuple[Credentials | None, ...],
    pipeline: Pipeline,
    fake: FakeMechanism,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
) -> None:
    """A dial takes as many round trips as `round_trips` has it, whatever the chain says."""
    hops = [make_hop(number, login=login) for number, login in enumerate(logins, 1)]
    plan = legs(hops, DESTINATION, pipeline=pipeline)
    assert [leg.pipeline for leg in plan] == [
        Pipeline.OFF if isinstance(login, Gssapi) else pipeline for login in logins
    ]
    began = trio.current_time()
    await go(nursery, *logins, timeouts=Timeouts(connect=100, hop=100, dial=100), pipeline=pipeline, latency=0.5)
    assert trio.current_time() - began == round_trips(plan)


# --- hops that do it their own way ------------------------------------------------------------------------------------


async def hop_that(stream: MemoryStream, chosen: bytes, *, legs: int = 0, behind: bytes = b"") -> None:
    """A hop by hand, which answers with a level of its choice."""
    acceptor = FakeAcceptor(legs=legs)
    assert await stream.receive() == b"\x05\x01\x01"
    await stream.send(b"\x05\x01")
    while not acceptor.complete:
        answer = await acceptor.step((await stream.receive())[4:])
        await stream.send(encode_message(MessageType.AUTHENTICATION, answer))
    await stream.receive()
    level = acceptor.wrap(chosen, NONE)
    await stream.send(encode_message(MessageType.PROTECTION_LEVEL, level) + behind)
    await trio.sleep_forever()


async def dial_by_hand(
    nursery: trio.Nursery, login: Gssapi, chosen: bytes, *, legs: int = 0, behind: bytes = b""
) -> DialError:
    async def serve(stream: MemoryStream) -> None:
        await hop_that(stream, chosen, legs=legs, behind=behind)

    network = MemoryNetwork(nursery, {PARIS: Host(serve)})
    with pytest.raises(DialError) as caught:
        await dial(Chain(make_hop(1, login=login)), DESTINATION, Timeouts(hop=3), network)
    assert network.left_open == []
    return caught.value


@pytest.mark.parametrize(
    ("login", "chosen", "kind", "problem"),
    [
        (INTEGRITY, b"\0", HopAuthenticationError, "it goes on with none for protection, and we want integrity"),
        (
            CONFIDENTIALITY,
            b"\1",
            HopAuthenticationError,
            "it goes on with integrity for protection, and we want confidentiality",
        ),
        (INTEGRITY, b"\3", HopProtocolError, "a protection level that we cannot go on with"),
        (INTEGRITY, b"", HopProtocolError, "a protection level that we cannot go on with"),
        (INTEGRITY, b"\1\1", HopProtocolError, "a protection level that we cannot go on with"),
    ],
)
async def test_a_level_that_will_not_do(
    login: Protection,
    chosen: bytes,
    kind: type[DialError],
    problem: str,
    fake: FakeMechanism,
    nursery: trio.Nursery,
) -> None:
    error = await dial_by_hand(nursery, Gssapi(login), chosen)
    assert type(error) is kind
    assert error.place.step == State.GSSAPI_PROTECTION
    assert problem in error.problem


@pytest.mark.parametrize("chosen", [INTEGRITY, CONFIDENTIALITY], ids=str)
async def test_more_protection_than_we_asked_for_is_welcome(
    chosen: Protection, fake: FakeMechanism, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    error = await dial_by_hand(nursery, Gssapi(NONE), bytes((chosen,)))
    assert isinstance(error, DialTimeout)
    assert error.place.step == State.REQUEST


async def test_a_mechanism_of_many_words(
    fake: FakeMechanism, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    error = await dial_by_hand(nursery, Gssapi(), b"\1", legs=3)
    assert error.place.step == State.REQUEST


async def test_what_is_glued_to_the_level_is_taken_for_a_capsule(fake: FakeMechanism, nursery: trio.Nursery) -> None:
    error = await dial_by_hand(nursery, Gssapi(), b"\1", behind=b"\x05\0\0\x01\0\0\0\0\0\0")
    assert type(error) is HopProtocolError
    assert error.place.step == State.REQUEST
    assert error.problem == "a GSSAPI message has version 5; RFC 1961 wants 1"


# --- a mechanism that does not --------------------------------------------------------------------------------------


async def test_without_tickets_nobody_is_blamed_but_us(
    fake: FakeMechanism, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    fake.error = "no credentials cache found; run kinit"
    with pytest.raises(HopAuthenticationError) as caught:
        await go(nursery, Gssapi())
    assert str(caught.value) == (
        "hop paris (1 of 1) at 10.0.0.1:1080, GSSAPI context: no credentials cache found; run kinit (0.00 s of 10 s)"
    )


async def test_a_mute_kdc_ends_with_the_time_for_the_hop(
    fake: FakeMechanism, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    fake.delay = 100
    with pytest.raises(DialTimeout) as caught:
        await go(nursery, Gssapi(), timeouts=Timeouts(hop=1.5))
    assert trio.current_time() == 1.5
    assert caught.value.place.step == State.GSSAPI_CONTEXT


async def test_an_abort_is_a_refusal(fake: FakeMechanism, nursery: trio.Nursery) -> None:
    async def serve(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x01")
        await stream.receive()
        await stream.send(ABORT)

    network = MemoryNetwork(nursery, {PARIS: Host(serve)})
    with pytest.raises(HopAuthenticationError, match="GSSAPI context: it ended the GSSAPI exchange with an abort"):
        await dial(Chain(make_hop(1, login=Gssapi())), DESTINATION, Timeouts(), network)


# --- datagrams --------------------------------------------------------------------------------------------------------


async def test_an_association_goes_through_hops_that_protect_nothing(
    fake: FakeMechanism, nursery: trio.Nursery
) -> None:
    hop = make_hop(1, login=Gssapi(NONE))
    network = MemoryNetwork(nursery)
    add_hop(network, hop)
    association = await associate(Chain(hop), Timeouts(), network)
    assert association.relays == (Address("10.0.0.1", 2000),)


async def test_a_hop_that_insists_on_protection_gets_no_association(fake: FakeMechanism, nursery: trio.Nursery) -> None:
    async def serve(stream: MemoryStream) -> None:
        await hop_that(stream, b"\2")

    network = MemoryNetwork(nursery, {PARIS: Host(serve)})
    with pytest.raises(HopAuthenticationError, match="goes on with confidentiality, which datagrams would not have"):
        await associate(Chain(make_hop(1, login=Gssapi(NONE))), Timeouts(), network)


# --- on the way -------------------------------------------------------------------------------------------------------


async def test_a_reply_that_was_tampered_with(
    fake: FakeMechanism, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FakeContext.unwrap

    def unwrap(self: FakeContext, token: bytes, protection: Protection) -> bytes:
        if isinstance(self, FakeInitiator) and protection is not NONE:
            token = token[:-1] + bytes((token[-1] ^ 1,))
        return honest(self, token, protection)

    monkeypatch.setattr(FakeContext, "unwrap", unwrap)
    with pytest.raises(HopProtocolError, match="request: a capsule was changed"):
        await go(nursery, Gssapi())


async def test_data_that_was_tampered_with_is_no_regular_end(fake: FakeMechanism, nursery: trio.Nursery) -> None:
    upstream = await go(nursery, Gssapi())
    [context] = fake.contexts
    context.received += 1
    with pytest.raises(BrokenResourceError, match="out of turn"):
        await upstream.stream.receive()
