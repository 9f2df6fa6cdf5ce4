import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from chainsocks.control.messages import Request, What
from chainsocks.control.serve import TAKE_LIMIT, serve_control
from chainsocks.control.wire import encode_request
from tests.control.fleets import FakeFleet, some_sessions

JSON = Mapping[str, Any]


async def talk(fleet: FakeFleet, sent: bytes) -> list[JSON]:
    """Send everything at once, and return the lines that come until the server has no more to read."""
    ours, theirs = trio.testing.memory_stream_pair()
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, theirs, fleet)
        await ours.send_all(sent)
        await ours.send_eof()
        async for data in ours:
            received += data
    return [json.loads(line) for line in received.splitlines()]


def ask(what: What, *, hop: str | None = None, user: str | None = None) -> bytes:
    return encode_request(Request(what=what, hop=hop, user=user))


async def test_requests_are_answered_in_their_order() -> None:
    fleet = FakeFleet()
    sent = ask(What.STATUS) + ask(What.HOPS) + ask(What.KILL, user="carol") + ask(What.REST, hop="osaka")
    answers = await talk(fleet, sent + ask(What.RELOAD) + ask(What.DRAIN) + ask(What.METRICS))
    assert all(answer["version"] == 1 and "more" not in answer for answer in answers)
    status, hops, killed, rested, reloaded, draining, metrics = (answer["answer"] for answer in answers)
    assert (status["state"], status["workers"][0]["pid"]) == ("running", 17)
    assert [hop["name"] for hop in hops["hops"]] == ["osaka"]
    assert (killed, rested, metrics) == ({"count": 1}, {"count": 1}, {"workers": []})
    assert (reloaded["problems"], draining["pid"]) == ([], 17)
    assert fleet.told == [Request(what=What.KILL, user="carol"), ("rest", "osaka"), "reload", ("drain", 0)]


async def test_many_sessions_come_in_parts() -> None:
    answers = await talk(FakeFleet(some_sessions(120)), ask(What.SESSIONS))
    assert [answer.get("more", False) for answer in answers] == [True, True, True, False]
    ids = [session["id"] for answer in answers for session in answer["answer"]["sessions"]]
    assert ids == [str(number) for number in range(1, 121)]


async def test_a_bad_request_gets_an_error_and_the_next_one_an_answer() -> None:
    bad = [b"\n", b"GET / HTTP/1.1\r\n", b'{"version": 1, "request": "stop", "id": 4}\n', ask(What.WAKE, hop="oslo")]
    answers = await talk(FakeFleet(), b"".join(bad) + ask(What.STATUS))
    assert [answer["error"]["code"] for answer in answers[:4]] == ["bad-request"] * 3 + ["no-such-hop"]
    assert answers[2]["id"] == 4
    assert answers[4]["answer"]["state"] == "running"


async def test_a_line_without_end_ends_the_connection() -> None:
    [answer] = await talk(FakeFleet(), b"x" * 70_000)
    assert answer["error"]["message"] == "a request has at most 65536 bytes"


async def test_a_bug_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    answers = await talk(FakeFleet(error=ZeroDivisionError("oh")), ask(What.STATUS) + ask(What.HOPS))
    assert answers[0]["error"]["code"] == "bug"
    assert answers[1]["answer"]["hops"]
    assert "ZeroDivisionError: oh (on the control socket)" in caplog.text


class Wall(trio.abc.SendStream):
    """Takes nothing."""

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()


async def test_a_client_that_takes_no_answer_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    requests, stream_of_requests = trio.testing.memory_stream_one_way_pair()
    await requests.send_all(ask(What.STATUS))
    await serve_control(trio.StapledStream(Wall(), stream_of_requests), FakeFleet())
    assert trio.current_time() == TAKE_LIMIT


async def test_a_client_that_waits_for_the_end_of_a_drain_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_control, theirs, FakeFleet(), 60)
        await ours.send_all(ask(What.DRAIN))
        assert await ours.receive_some()
        with trio.move_on_after(1000) as waiting:
            await ours.receive_some()
        assert waiting.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_a_silent_client_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await serve_control(theirs, FakeFleet(), idle_timeout=60)
    assert trio.current_time() == 60
    assert await ours.receive_some() == b""
