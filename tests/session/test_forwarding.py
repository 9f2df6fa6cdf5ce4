"""Plain HTTP requests: each is a session, with a way of its own; what the client gets, and what the log says."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
import trio
from anyio import BrokenResourceError, EndOfStream

from chainsocks.config.models import Config, Server, Timeouts
from chainsocks.config.rules import Rule, parse_to
from chainsocks.observe.counters import Counters
from chainsocks.observe.events import Events
from chainsocks.observe.record import Record
from chainsocks.protocol.address import Address
from tests.memory import Host, MemoryStream
from tests.session.serving import CAROL, DESTINATION, Client, session

Serve = Callable[[MemoryStream], Awaitable[None]]
Log = pytest.LogCaptureFixture

OTHER = Address("192.0.2.81", 8080)
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


def get(at: Address = DESTINATION, *fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    lines = [b"%b http://%b/x HTTP/1.1" % (method, str(at).encode()), b"Host: x", *fields]
    return b"\r\n".join((*lines, b"", b"")) + body


def says(*parts: bytes | float, ends: str = "") -> Serve:
    """A web server that reads a header, says its parts with pauses between them, and ends."""

    async def serve(stream: MemoryStream) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += await stream.receive()
        for part in parts:
            if isinstance(part, bytes):
                await stream.send(part)
            else:
                await trio.sleep(part)
        if ends == "reset":
            stream.reset()
        elif ends == "stays":
            await trio.sleep_forever()

    return serve


async def read_response(client: Client, body: bytes) -> None:
    await client.expect(LENGTH % (len(body), body))


async def read_to_end(client: Client) -> bytes:
    data = b""
    try:
        while True:
            data += await client.stream.receive()
    except EndOfStream:
        return data


def outcomes(client: Client) -> list[str]:
    return [re.findall('outcome="(.*)"$', line)[0].replace('\\"', '"') for line in client.lines]


@pytest.mark.parametrize("at_once", [False, True], ids=["in turn", "at once"])
async def test_each_request_is_a_session_to_its_own_destination(at_once: object, caplog: Log) -> None:
    seen = list[str]()

    class Listener(Events):
        def session_started(self, record: Record) -> None:
            seen.append(f"start {record.id}")

        def session_ended(self, record: Record) -> None:
            seen.append(f"end {record.id}")

    hosts = Host(says(LENGTH % (3, b"one"), ends="stays"))
    counters = Counters()
    async with session(caplog, events=(Listener(),), counters=counters, destination=hosts) as client:
        client.network.hosts[OTHER] = Host(says(LENGTH % (3, b"two"), ends="stays"))
        requests = [get(), get(OTHER), get()]
        for request, body in zip(requests, (b"one", b"two", b"one"), strict=True):
            if at_once:
                request = b"".join(requests)
                requests = [b""] * 3
            if request:
                await client.send(request)
            await read_response(client, body)
    ids = [int(re.findall(r"^id=(\d+) ", line)[0]) for line in client.lines]
    assert len({*ids}) == 3
    assert seen == [f"{what} {each}" for each in ids for what in ("start", "end")]
    assert [re.findall("destination=(.*?) ", line)[0] for line in client.lines] == [
        str(DESTINATION),
        str(OTHER),
        str(DESTINATION),
    ]
    assert outcomes(client) == ["finished"] * 3
    for line, up in zip(client.lines, (56, 61, 56), strict=True):
        assert f" reply=00 up={up} down=41 " in line
    assert sum(totals.count for totals in counters.sessions.values()) == 3


async def test_each_request_is_held_against_the_rules(caplog: Log) -> None:
    config = Config(rules=(Rule(1, None, to=parse_to(OTHER.host)), Rule(2, "direct")))
    async with session(caplog, config, destination=Host(says(LENGTH % (2, b"hi")))) as client:
        await client.send(get())
        await read_response(client, b"hi")
        await client.send(get(OTHER))
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"\r\n\r\nrule 1 says no\n")
    assert outcomes(client) == ["finished", "rule 1 says no"]
    assert " chain=direct rule=2 " in client.lines[0]


async def test_the_name_of_the_proxy_is_sent_where_it_has_one(caplog: Log) -> None:
    async def serve(stream: MemoryStream) -> None:
        heard = await stream.receive()
        await stream.send(LENGTH % (len(heard), heard))

    async with session(caplog, Config(Server(via="proxy-1")), destination=Host(serve)) as client:
        await client.send(get(DESTINATION, b"Connection: close"))
        assert (await read_to_end(client)).count(b"\r\nVia: 1.1 proxy-1\r\n") == 2


async def test_each_request_logs_in(caplog: Log) -> None:
    login = b"Proxy-Authorization: Basic Y2Fyb2w6b3BlbiBzZXNhbWU="
    hosts = Host(says(LENGTH % (2, b"hi")))
    async with session(caplog, Config(users=(CAROL,)), destination=hosts) as client:
        await client.send(get(DESTINATION, login))
        await read_response(client, b"hi")
        await client.send(get())
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert [" user=carol " in line for line in client.lines] == [True, False]


async def test_a_body_is_passed_on_as_it_comes(caplog: Log) -> None:
    heard = bytearray()

    async def serve(stream: MemoryStream) -> None:
        while not heard.endswith(b"\r\n\r\n"):
            heard.extend(await stream.receive())
        await stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not heard.endswith(b"hello"):
            heard.extend(await stream.receive())
        await stream.send(LENGTH % (2, b"ok"))

    async with session(caplog, destination=Host(serve)) as client:
        await client.send(get(DESTINATION, b"Content-Length: 5", b"Expect: 100-continue", method=b"PUT"))
        await client.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
        for byte in b"hello":
            await client.send(bytes((byte,)))
        await read_response(client, b"ok")
    assert heard.startswith(b"PUT /x HTTP/1.1\r\nHost: 192.0.2.80\r\nContent-Length: 5\r\nExpect: 100-continue\r\n")
    assert outcomes(client) == ["finished"]


FAILURES = {
    "no answer": (says(), 502, "destination {}, HTTP response: it closed the connection ("),
    "a reset": (says(ends="reset"), 502, "destination {}, HTTP response: it reset the connection"),
    "another protocol": (says(b"SSH-2.0-x\r\n\r\n"), 502, "destination {}, HTTP response: its response is not HTTP"),
    "silence": (says(ends="stays"), 504, "destination {}, HTTP response: no response (4.00 s of 4 s)"),
    "silence after a hint": (
        says(b"HTTP/1.1 102 Processing\r\n\r\n", ends="stays"),
        504,
        "destination {}, HTTP response: no response (4.00 s of 4 s)",
    ),
}


@pytest.mark.parametrize(("serve", "status", "outcome"), FAILURES.values(), ids=FAILURES)
async def test_failures_before_the_response(
    serve: Serve, status: int, outcome: str, caplog: Log, autojump_clock: trio.testing.MockClock
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(idle=4)), destination=Host(serve)) as client:
        began = trio.current_time()
        await client.send(get())
        answer = (await read_to_end(client)).removeprefix(b"HTTP/1.1 102 Processing\r\n\r\n")
        assert trio.current_time() - began == (4.5 if status == 504 else 0)
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert body.strip() == outcomes(client)[0]
    assert body.startswith(outcome.format(DESTINATION))
    assert f" reply={'06' if status == 504 else '01'} " in client.line


CUTS = {
    "a length": says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"),
    "chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"),
    "to the end": says(b"HTTP/1.1 200 OK\r\n\r\nhi", 1.0, ends="reset"),
    "a bad chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", 1.0, b"nonsense\r\n"),
}


@pytest.mark.parametrize("serve", CUTS.values(), ids=CUTS)
async def test_a_cut_response_has_no_end(
    serve: Serve, caplog: Log, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    resets = list[object]()
    monkeypatch.setattr("chainsocks.relay.http_relay.reset_on_close", resets.append)
    async with session(caplog, destination=Host(serve)) as client:
        await client.send(get())
        answer = await read_to_end(client)
    assert b"hi" in answer
    assert b"0\r\n\r\n" not in answer
    assert len(resets) == 1
    assert outcomes(client)[0].startswith("reset by upstream: it")


async def test_a_response_that_stops_midway(caplog: Log, autojump_clock: trio.testing.MockClock) -> None:
    serve = says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", ends="stays")
    async with session(caplog, Config(timeouts=Timeouts(idle=4)), destination=Host(serve)) as client:
        await client.send(get())
        assert (await read_to_end(client)).endswith(b"hi")
        assert trio.current_time() == 4.5
    assert outcomes(client) == ["idle for too long"]


@pytest.mark.parametrize(("body", "word"), [(b"x\r\n", "not HTTP"), (b"5\r\nhe", "cut")], ids=["malformed", "cut"])
async def test_a_bad_body(body: bytes, word: str, caplog: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    resets = list[object]()
    monkeypatch.setattr("chainsocks.relay.http_relay.reset_on_close", resets.append)
    async with session(caplog, destination=Host(says(ends="stays"))) as client:
        await client.send(get(DESTINATION, b"Transfer-Encoding: chunked", method=b"POST", body=body))
        await client.stream.send_eof()
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert re.match(f"client, request: its body is {word}", outcomes(client)[0])
    assert " reply=- " in client.line
    assert len(resets) == 1  # the server must not take it for the whole


async def test_an_answer_before_the_body_ends_the_connection(
    caplog: Log, autojump_clock: trio.testing.MockClock
) -> None:
    serve = says(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", ends="stays")
    async with session(caplog, destination=Host(serve)) as client:
        await client.send(get(DESTINATION, b"Content-Length: 50", method=b"POST", body=b"some"))
        assert await read_to_end(client) == b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"
    assert outcomes(client) == ["finished"]


async def test_a_client_that_has_finished_gets_its_response(
    caplog: Log, autojump_clock: trio.testing.MockClock
) -> None:
    hosts = Host(says(5.0, LENGTH % (2, b"hi")))
    async with session(caplog, destination=hosts) as client:
        await client.send(get())
        await client.stream.send_eof()
        assert await read_to_end(client) == LENGTH % (2, b"hi")
        assert trio.current_time() == 5
    assert outcomes(client) == ["finished"]


async def test_a_client_that_has_finished_waits_for_half_close(
    caplog: Log, autojump_clock: trio.testing.MockClock
) -> None:
    async with session(caplog, Config(timeouts=Timeouts(half_close=8)), destination=Host(says(ends="stays"))) as client:
        await client.send(get())
        await client.stream.send_eof()
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 504 ")
        assert trio.current_time() == 9


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"], ids=["before", "midway"])
async def test_a_client_that_goes_away(answer: bytes, caplog: Log, autojump_clock: trio.testing.MockClock) -> None:
    async with session(caplog, destination=Host(says(answer, ends="stays"))) as client:
        await client.send(get())
        await client.expect(answer)
        await trio.sleep(1)
        client.stream.reset()
    assert trio.current_time() == 1
    assert outcomes(client) == ["reset by the client"]


async def test_a_further_request_waits_in_the_socket(caplog: Log, autojump_clock: trio.testing.MockClock) -> None:
    """What a client sends before its response is read so far and no further."""
    async with session(caplog, destination=Host(says(100.0, LENGTH % (2, b"hi")))) as client:
        sent = 0
        await client.send(get())
        with trio.move_on_after(50):
            while True:
                await client.stream.send(b"GET " * 1000)
                sent += 4000
        assert 64_000 < sent < 300_000
        assert b"hi" in await read_to_end(client)


async def test_a_tunnel_follows_plain_requests(caplog: Log) -> None:
    async def serve(stream: MemoryStream) -> None:
        heard = await stream.receive()
        await stream.send(LENGTH % (2, b"hi") if heard.startswith(b"GET") else heard)

    async with session(caplog, destination=Host(serve)) as client:
        await client.send(get())
        await read_response(client, b"hi")
        await client.send(b"CONNECT 192.0.2.80:80 HTTP/1.1\r\nHost: x\r\n\r\nearly")
        await client.expect(b"HTTP/1.1 200 Connection established\r\n\r\nearly")
        await client.stream.send_eof()
    assert outcomes(client) == ["finished", "finished"]


async def test_nothing_behind_a_response_reaches_the_client(caplog: Log) -> None:
    hosts = Host(says(LENGTH % (2, b"hi") + LENGTH % (4, b"evil"), ends="stays"))
    async with session(caplog, destination=hosts) as client:
        await client.send(get())
        await read_response(client, b"hi")
        await client.send(get())
        await read_response(client, b"hi")


async def test_a_destination_that_takes_no_more_has_its_answer_read(
    caplog: Log, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(stream: MemoryStream) -> None:
        await stream.receive()
        stream.incoming.break_off()
        await trio.sleep(1)
        await stream.send(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")

    async with session(caplog, destination=Host(serve)) as client:
        await client.send(get(DESTINATION, b"Content-Length: 500", method=b"POST"))
        await trio.sleep(0.1)
        await client.send(b"some")
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 413 ")
    assert outcomes(client) == ["reset by upstream"]


async def test_broken_client_streams_are_no_bug(caplog: Log) -> None:
    async with session(caplog, destination=Host(says(LENGTH % (2, b"hi")))) as client:
        await client.send(get())
        client.stream.reset()
        with pytest.raises(BrokenResourceError):
            await client.stream.receive()
