"""One connection from start to finish, over streams in memory: what goes in, what comes out, what the log says."""

from __future__ import annotations

import logging
from errno import ECONNREFUSED

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.chains import Chain
from chainsocks.config.models import Config, Timeouts, User
from chainsocks.config.rules import Rule
from chainsocks.observe.live import KILLED, LiveSessions, Moment
from chainsocks.observe.phase import Phase
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.session.connection import Connection
from chainsocks.session.lingering_close import LEFTOVERS
from chainsocks.session.login import Logins
from chainsocks.session.service import Service
from chainsocks.session.session import serve_session
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream, memory_stream_pair
from tests.session.serving import (
    CAROL,
    CONNECT4,
    CONNECT5,
    DESTINATION,
    GRANTED4,
    GRANTED5,
    LOGIN,
    echo,
    session,
)


@pytest.mark.parametrize("at_once", [False, True], ids=["turn by turn", "everything in one segment"])
@pytest.mark.parametrize(
    ("greeting", "method", "request_", "granted"),
    [("05 01 00", "05 00", CONNECT5, GRANTED5), ("", "", CONNECT4, GRANTED4)],
    ids=["socks5", "socks4"],
)
async def test_early_data_follows_the_request(
    greeting: str, method: str, request_: str, granted: str, at_once: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        if at_once:
            await client.send(greeting, request_, b"early")
        else:
            await client.send(greeting)
            await client.expect(method)
            await client.send(request_, b"early")
        await client.expect((method if at_once else "") + granted)
        await client.expect(b"early")
        await client.send(b" and late")
        await client.expect(b" and late")
        await client.stream.send_eof()
        await client.expect_end()
    assert "up=14 down=14" in client.line
    assert 'outcome="finished"' in client.line


async def test_a_client_that_sends_one_byte_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(users=(CAROL,))) as client:
        for byte in bytes.fromhex("05 01 02") + LOGIN + bytes.fromhex(CONNECT5) + b"data":
            await client.send(bytes((byte,)))
        await client.expect("05 02 01 00" + GRANTED5)
        await client.expect(b"data")


async def test_a_banner_glued_to_the_last_reply_arrives_whole(caplog: pytest.LogCaptureFixture) -> None:
    async def glue(stream: MemoryStream) -> None:
        await stream.receive()
        await stream.send(b"\x05\x00")
        await stream.receive()
        await stream.send(bytes.fromhex(GRANTED5) + b"220 " + b"welcome" * 1000)

    hop = make_hop(1)
    async with session(caplog, Config(chains={"default": Chain(hop)})) as client:
        client.network.hosts[hop.address] = Host(glue)
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
        await client.expect(b"220 " + b"welcome" * 1000)
        await client.expect_end()


BRACKETED = {
    "SOCKS5": ("05 01 00 05 01 00 03 0d", b"[2001:db8::1]", "0050", "05 00" + GRANTED5),
    "SOCKS4a": ("04 01 0050 00000001 00", b"[2001:db8::1]", "00", GRANTED4),
}


@pytest.mark.parametrize("rules", [(), (Rule(1, "direct"),)], ids=["no rules", "a rule"])
@pytest.mark.parametrize(("before", "name", "behind", "answer"), BRACKETED.values(), ids=BRACKETED)
async def test_an_ipv6_address_in_brackets_is_connected_to(
    before: str, name: bytes, behind: str, answer: str, rules: tuple[Rule, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(rules=rules)) as client:
        client.network.hosts[Address("2001:db8::1", 80)] = Host(echo)
        await client.send(before, name, behind)
        await client.expect(answer)


@pytest.mark.parametrize(
    ("users", "before", "account"),
    [((), (b"\x05\x01\0",), "192.0.2.1"), ((CAROL,), (b"\x05\x01\x02", LOGIN), "user carol")],
    ids=["address", "login"],
)
@pytest.mark.parametrize("rule", [Rule(1, "direct"), Rule(1, "direct", resolve=True)], ids=["dial", "rule"])
async def test_names_are_looked_up_on_the_clients_account(
    rule: Rule, users: tuple[User, ...], before: tuple[bytes, ...], account: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(rules=(rule,), users=users)) as client:
        client.network.names["example.org"] = [DESTINATION.host]
        await client.send(*before, b"\x05\x01\0\x03\x0bexample.org\0\x50")
        await client.stream.receive()
        await client.stream.send_eof()
    assert client.network.clients == [account]


async def test_a_trickling_client_is_cut_at_the_limit_exactly(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(handshake=10))) as client:
        for byte in bytes.fromhex("05 01 00 05"):
            await client.send(bytes((byte,)))
            await trio.sleep(3)
        with pytest.raises(BrokenResourceError):
            await client.send("01")
    assert "duration=10.000" in client.line
    assert "client, request: no complete request (within 10 s)" in client.line


@pytest.mark.parametrize(
    ("sent", "step"),
    [("", "first byte"), ("05", "method negotiation"), ("05 01 00", "request"), ("04 01", "request")],
)
async def test_a_silent_client_is_cut_too_and_its_step_named(
    sent: str, step: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(handshake=10))) as client:
        if sent:
            await client.send(sent)
        answer = b""
        try:
            while True:
                answer += await client.stream.receive()
        except EndOfStream:
            assert trio.current_time() == 10
    assert f"client, {step}: no complete request (within 10 s)" in client.line


REFUSALS = {
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "", "this is neither SOCKS nor HTTP; it looks like SSH ('SSH-2.0-Open"),
    "no acceptable method": (
        "05 01 01",
        "05 ff",
        "the client offers GSSAPI (01); this server accepts no login (00) or username and password (02)",
    ),
    "wrong login version": ("05 01 02 05 01 61", "05 02 01 01", "the login has version 5"),
    "unknown command": ("05 01 00 05 09 00 01", "05 00 05 07 00 01 00000000 0000", "SOCKS5 has no command 9"),
    "UDP": (
        "05 01 00 05 03 00 01 c0000250 0050",
        "05 00 05 07 00 01 00000000 0000",
        "the client has no IP address",
    ),
    "unknown ATYP": ("05 01 00 05 01 00 07", "05 00 05 08 00 01 00000000 0000", "address type 7"),
    "an empty name": ("05 01 00 05 01 00 03 00 0050", "05 00 05 01 00 01 00000000 0000", "the host is empty"),
    "an empty 4a name": ("04 01 0050 00000001 00 00", "00 5b 0000 00000000", "the host is empty"),
    "destination refused": ("05 01 00 05 01 00 01 c0000251 0050", "05 00 05 05 00 01 00000000 0000", "refused"),
}


@pytest.mark.parametrize(("sent", "answer", "says"), REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("rest", [b"", b"x" * 100_000], ids=["", "with more behind it"])
async def test_a_refusal_has_its_full_length_and_is_followed_by_the_end(
    sent: str | bytes, answer: str, says: str, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog) as client:
        await client.send(sent, rest)
        if answer:
            await client.expect(answer)
        await client.expect_end()
    assert says in client.line.replace('\\"', '"')


async def test_a_refused_client_that_never_stops_is_read_for_a_while_only(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        chunk = b"GET " * 1000
        for _ in range(LEFTOVERS // len(chunk)):
            await client.send(chunk)
        with pytest.raises(BrokenResourceError):
            await client.send(chunk * 100)


async def test_a_refused_client_that_stays_is_left_after_the_reply_limit(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(reply=4))) as client:
        await client.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        await client.expect_end()
        await trio.sleep(5)  # longer than it waits for us
    assert "duration=4.000" in client.line


@pytest.mark.parametrize(
    ("login", "status"),
    [(LOGIN, "00"), (b"\x01\x05carol\x05wrong", "01"), (b"\x01\x03bob\x0bopen sesame", "01")],
    ids=["right", "wrong password", "unknown user"],
)
async def test_a_declared_user_has_to_log_in(login: bytes, status: str, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(users=(CAROL,))) as client:
        await client.send("05 02 00 02")
        await client.expect("05 02")
        await client.send(login)
        await client.expect("01" + status)
        if status == "00":
            await client.send(CONNECT5)
            await client.expect(GRANTED5)
        else:
            await client.expect_end()
    if status != "00":
        assert "wrong username or password" in client.line
    assert "sesame" not in caplog.text


async def test_socks4_cannot_log_in(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(users=(CAROL,))) as client:
        await client.send("04 01 0050 c0000250", b"carol\0")
        await client.expect("00 5b 0000 00000000")
        await client.expect_end()
    assert "SOCKS4 cannot log in" in client.line


async def test_without_users_a_client_that_insists_on_a_login_is_let_in(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        await client.send("05 01 02")
        await client.expect("05 02")
        await client.send(b"\x01\x01a\x01b")
        await client.expect("01 00")
        await client.send(CONNECT5)
        await client.expect(GRANTED5)


async def test_chains_without_a_default_refuse_everything(caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(chains={"onion": Chain(make_hop(1), name="onion")})) as client:
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00 05 02 00 01 00000000 0000")
    assert 'no chain is called "default"' in client.line.replace('\\"', '"')
    assert client.network.connects == []


async def test_the_reply_is_not_sent_before_the_last_hop_said_so(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    hops = [make_hop(1), make_hop(2)]
    async with session(caplog, Config(chains={"default": Chain(*hops)}), destination=Host(echo, delay=7)) as client:
        for hop in hops:
            add_hop(client.network, hop)
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00")
        await client.expect(GRANTED5)
        assert trio.current_time() == 7


async def test_a_client_that_does_not_take_its_reply(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(reply=3))) as client:
        client.stream.incoming.capacity = 2  # room for the method answer only
        await client.send("05 01 00", CONNECT5)
        await trio.sleep(5)
    assert "client, reply: not taken (within 3 s)" in client.line
    assert "duration=3.000" in client.line


async def test_a_client_that_does_not_take_its_refusal(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(reply=3)), destination=Host(error=ECONNREFUSED)) as client:
        client.stream.incoming.capacity = 2  # room for the method answer only
        await client.send("05 01 00", CONNECT5)
        await trio.sleep(5)
    assert "reply=05 " in client.line
    assert "client, reply: not taken (within 3 s)" in client.line
    assert "duration=3.000" in client.line


@pytest.mark.parametrize(
    ("sent", "leave", "says"),
    [
        ("", "close", "it left without a word"),
        ("05 01", "close", "the connection was closed during the method negotiation, 2 bytes into a message"),
        ("05 01 00", "reset", "client, request: it reset the connection"),
    ],
)
async def test_a_client_that_leaves_early(sent: str, leave: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog) as client:
        if sent:
            await client.send(sent)
        await trio.testing.wait_all_tasks_blocked()
        if leave == "reset":
            client.stream.reset()
    assert says in client.line


async def test_a_client_that_leaves_during_the_dial(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with session(caplog, destination=Host(echo, delay=2)) as client:
        await client.send("05 01 00", CONNECT5)
        await trio.sleep(1)
        client.stream.reset()
    assert "the client left before its reply" in client.line


async def test_idle_sessions_end(autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with session(caplog, Config(timeouts=Timeouts(idle=80))) as client:
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00" + GRANTED5)
        await client.expect_end()
        assert 80 <= trio.current_time() <= 90
    assert 'outcome="idle for too long"' in client.line


async def test_a_cancelled_session_still_writes_its_line_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    near, far = memory_stream_pair()
    async with trio.open_nursery() as handlers:
        network = MemoryNetwork(handlers, {DESTINATION: Host(echo)})
        service = Service(Config(), Logins(()), network)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_session, Connection(far, "192.0.2.1:5555"), service)
            await near.send(bytes.fromhex("05 01 00" + CONNECT5) + b"some data")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        handlers.cancel_scope.cancel()
    assert far.closed
    assert network.left_open == []
    assert "up=9 down=9" in caplog.text
    assert "cut off: the server is stopping" in caplog.text


async def test_where_a_session_is_and_that_it_can_be_killed(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    near, far = memory_stream_pair()
    live = LiveSessions()
    service = Service(Config(), Logins(()), MemoryNetwork(nursery, {DESTINATION: Host(echo)}))
    async with trio.open_nursery() as sessions:
        sessions.start_soon(serve_session, Connection(far, "192.0.2.1:5555"), service, None, None, live)
        await trio.testing.wait_all_tasks_blocked()
        [running] = live
        assert _phase(running.moment()) is Phase.REQUEST
        await near.send(bytes.fromhex("05 01 00" + CONNECT5))
        await trio.testing.wait_all_tasks_blocked()
        assert _phase(running.moment()) is Phase.RELAY
        live.kill(running)
    assert len(live) == 0
    assert f'outcome="{KILLED}"' in caplog.text


async def test_the_step_of_a_dial_is_told_with_its_hop(nursery: trio.Nursery) -> None:
    near, far = memory_stream_pair()
    live, hop = LiveSessions(), make_hop(1)
    network = MemoryNetwork(nursery, {hop.address: Host(_mute)})
    service = Service(Config(chains={"default": Chain(hop)}), Logins(()), network)
    async with trio.open_nursery() as sessions:
        sessions.start_soon(serve_session, Connection(far, "192.0.2.1:5555"), service, None, None, live)
        await near.send(bytes.fromhex("05 01 00" + CONNECT5))
        await trio.testing.wait_all_tasks_blocked()
        [running] = live
        moment = running.moment()
        assert moment
        assert moment.place
        assert (moment.phase, moment.place.hop, moment.place.step) == (Phase.DIAL, hop.name, State.METHOD_NEGOTIATION)
        assert moment.hops == (hop,)
        live.kill(running)


def _phase(moment: Moment | None) -> Phase | None:
    return moment and moment.phase


async def _mute(stream: MemoryStream) -> None:
    await trio.sleep_forever()
