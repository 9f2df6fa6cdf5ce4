"""Every fault of an HTTP hop, at every position of a chain of three: what the client gets, when, and who is blamed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from chainsocks.config.chains import Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config
from chainsocks.protocol.handshake import State
from chainsocks.protocol.http_connect import MAX_HEADER
from chainsocks.protocol.messages import ReplyCode
from tests.hops import add_hop, make_hop
from tests.memory import Host, MemoryNetwork, MemoryStream
from tests.session.asking import DESTINATION, NAMES, TIMEOUTS, ask_a_session, echo

REQUEST = State.REQUEST
FAILED, REACHED, EXPIRED = ReplyCode.GENERAL_FAILURE, ReplyCode.SUCCEEDED, ReplyCode.TTL_EXPIRED
DENIED, UNREACHABLE = ReplyCode.NOT_ALLOWED_BY_RULESET, ReplyCode.HOST_UNREACHABLE

Answer = Callable[[MemoryStream], Awaitable[None]]
"""What a hop does once it has the request."""


@dataclass(frozen=True)
class Case:
    """A hop's answer, and what comes of it."""

    name: str
    answer: Answer
    says: str
    code: ReplyCode = FAILED
    """What the client is told if the hop is the last one; a refusal of the next hop is a general failure."""
    seconds: float = 0
    is_refusal: bool = False
    """Whether the hop refuses what it was asked for, and is not at fault itself."""


def words(text: bytes) -> Answer:
    async def answer(stream: MemoryStream) -> None:
        await stream.send(text)
        await trio.sleep_forever()

    return answer


def drip(text: bytes, every: float = 1) -> Answer:
    async def answer(stream: MemoryStream) -> None:
        for byte in text:
            await trio.sleep(every)
            await stream.send(bytes((byte,)))
        await trio.sleep_forever()

    return answer


def again_and_again(start: bytes, text: bytes, every: float) -> Answer:
    async def answer(stream: MemoryStream) -> None:
        await stream.send(start)
        while True:
            await stream.send(text)
            await trio.sleep(every)

    return answer


def then_end(text: bytes) -> Answer:
    async def answer(stream: MemoryStream) -> None:
        await stream.send(text)

    return answer


async def reset(stream: MemoryStream) -> None:
    await trio.testing.wait_all_tasks_blocked()
    stream.reset()


def refused(status: str, code: ReplyCode, rest: bytes = b"Content-Length: 5\r\n\r\nsorry") -> Case:
    return Case(status, words(f"HTTP/1.1 {status}\r\n".encode() + rest), status, code, is_refusal=True)


def wants(challenge: str) -> Answer:
    return words(f"HTTP/1.1 407 Wanted\r\nProxy-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode())


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\nzz\r\nno number of bytes\r\n"
ONLY_BASIC = "and only Basic is supported"

CASES = (
    Case("mute", words(b""), "no complete answer", EXPIRED, 1.5),
    Case("drip", drip(b"HTTP/1.1 200 OK\r\n\r\n"), "no complete answer", EXPIRED, 1.5),
    Case("half a header", words(b"HTTP/1.1 200 OK\r\nVia: x"), "no complete answer", EXPIRED, 1.5),
    Case("hints", again_and_again(b"", b"HTTP/1.1 103 Wait\r\n\r\n", 0.1), "no complete answer", EXPIRED, 1.5),
    Case("reset", reset, "the connection was reset"),
    Case("end", then_end(b""), "closed during the request"),
    Case("end in a header", then_end(b"HTTP/1.1 200 OK\r\nVia"), "closed during the request"),
    Case("garbage", words(b"\x00\x01\x02\r\n\r\n"), "it did not answer in HTTP; it looks like no known protocol"),
    Case("SOCKS5", words(b"\x05\x00"), "it did not answer in HTTP; it looks like SOCKS5"),
    Case("TLS alert", words(b"\x15\x03\x03\x00\x02\x02\x46"), "it did not answer in HTTP; it looks like a TLS alert"),
    Case("no status", words(b"HTTP/1.1 fine\r\n\r\n"), "its response is not HTTP"),
    Case("no version", words(b"HTTP/x 200 OK\r\n\r\n"), "its response is not HTTP"),
    Case("endless header", again_and_again(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 800, 0), f"{MAX_HEADER} bytes"),
    Case("endless line", again_and_again(b"HTTP/1.1 200 ", b"x" * 4096, 0), f"{MAX_HEADER} bytes"),
    Case("slow header", again_and_again(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.1), "answer", EXPIRED, 1.5),
    Case("two lengths", words(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), "conflicting"),
    Case(
        "other coding", words(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\n"), "Only Transfer-Encoding: chunked"
    ),
    Case("407", wants('Basic realm="x"'), "it refused the username or the password (407)"),
    Case("401", words(b"HTTP/1.1 401 No\r\n\r\n"), "it refused the username or the password (401)"),
    Case("digest", wants('Digest realm="x", nonce="Basic"'), f"it wants a login by Digest, {ONLY_BASIC}"),
    Case("ntlm", wants("NTLM"), f"it wants a login by NTLM, {ONLY_BASIC}"),
    Case("negotiate", wants("Negotiate\r\nProxy-Authenticate: NTLM"), "it wants a login by Negotiate or NTLM"),
    refused("403 Forbidden", DENIED),
    Case(
        "405",
        words(b"HTTP/1.1 405 Not Allowed\r\n\r\n"),
        "it refuses CONNECT, as web servers do that are no proxies: 405",
    ),
    refused("502 Bad Gateway", UNREACHABLE),
    refused("503 Service Unavailable", FAILED),
    refused("504 Gateway Timeout", EXPIRED),
    refused("502 In Chunks", UNREACHABLE, CHUNKED),
    refused("302 Found", FAILED, b"Location: http://lima.example/\r\n\r\n"),
)


def http_hop(answer: Answer) -> Host:
    async def serve(stream: MemoryStream) -> None:
        heard = b""
        while not heard.endswith(b"\r\n\r\n"):
            heard += await stream.receive()
        await answer(stream)

    return Host(serve)


def chain_with(network: MemoryNetwork, position: int, answer: Answer, *, has_login: bool = True) -> list[Hop]:
    """Three HTTP hops, of which the one at `position` gives that answer."""
    hops = [make_hop(number, HopProtocol.HTTP) for number in (1, 2, 3)]
    if not has_login:
        bad = hops[position - 1]
        hops[position - 1] = Hop(bad.name, bad.protocol, bad.address)
    for number, hop in enumerate(hops, 1):
        add_hop(network, hop)
        if number == position:
            network.hosts[hop.address] = http_hop(answer)
    return hops


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("position", [1, 2, 3])
async def test_a_fault_is_answered_in_time_and_blamed_on_its_hop(
    position: int,
    case: Case,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    hops = chain_with(network, position, case.answer)

    reply, seconds = await ask_a_session(network, Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops)}))

    about_next = case.is_refusal and position < 3
    assert reply == bytes((5, FAILED if about_next else case.code, 0, 1, 0, 0, 0, 0, 0, 0))
    assert seconds == case.seconds
    [record] = caplog.records
    line = record.getMessage().replace('\\"', '"')
    assert f"hop {NAMES[position - 1]} ({position} of 3) at 10.0.0.{position}:1080, {REQUEST}: " in line
    assert case.says in line
    assert f"({case.seconds:.2f} s of {TIMEOUTS.hop:g} s)" in line
    assert (f"it could not reach {NAMES[position % 3]} at 10.0.0.{position + 1}:1080, it says: " in line) == about_next
    assert "pw" not in line
    assert "Ym9iOnB3" not in line, "the login as Basic has it"


@pytest.mark.parametrize("position", [1, 2, 3])
async def test_a_login_that_is_wanted_and_not_configured(
    position: int, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    hops = chain_with(network, position, wants("Basic"), has_login=False)
    reply, _ = await ask_a_session(network, Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops)}))
    assert reply[1] == FAILED
    assert f"hop {NAMES[position - 1]} ({position} of 3)" in caplog.text
    assert "it requires a username and a password (407)" in caplog.text


@pytest.mark.parametrize(
    "header", [CHUNKED[: CHUNKED.index(b"\r\n")], b"Content-Length: 3", b"Connection: close"], ids=str
)
async def test_a_response_to_connect_has_no_body_whatever_its_header_says(
    header: bytes, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    hops = chain_with(network, 3, then_end(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\nzz\r\nhello"))
    reply, _ = await ask_a_session(network, Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops)}))
    assert reply == bytes((5, REACHED, 0, 1, 0, 0, 0, 0, 0, 0)) + b"zz\r\nhello"


@pytest.mark.parametrize("position", [1, 2])
async def test_bytes_behind_a_middle_hops_response_are_its_fault(
    position: int, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chainsocks")
    network = MemoryNetwork(nursery, {DESTINATION: Host(echo)})
    hops = chain_with(network, position, words(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    reply, _ = await ask_a_session(network, Config(timeouts=TIMEOUTS, chains={"default": Chain(*hops)}))
    assert reply[1] == FAILED
    assert f"hop {NAMES[position - 1]} ({position} of 3)" in caplog.text
    assert "2 bytes came behind its reply, unasked" in caplog.text
