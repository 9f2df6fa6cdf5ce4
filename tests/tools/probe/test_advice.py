"""What to try: advice that fits the cause, from the very errors of a walk."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace

import pytest
import trio
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Timeouts
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.walk import walk
from tests.dialing import dialer_of
from tests.hops import Fault, Trouble, add_hop, make_hop, way_of
from tests.mechanism import FakeMechanism
from tests.memory import Host, MemoryNetwork, MemoryStream
from tests.tools.probe.probing import say_nothing

METHOD, LOGIN, REQUEST = State.METHOD_NEGOTIATION, State.SUB_NEGOTIATION, State.REQUEST
DESTINATION = Address("example.org", 80)


def saying(*answers: bytes) -> Host:
    """A hop that gives these answers, one to each thing it hears."""

    async def serve(stream: MemoryStream) -> None:
        for answer in answers:
            await stream.receive()
            await stream.send(answer)
        await trio.sleep_forever()

    return Host(serve)


@dataclass(frozen=True)
class Case:
    """What is wrong with one of three hops, and words of the advice, which come in this order."""

    position: int
    wrong: Trouble | Host
    words: tuple[str, ...]


NO_ANSWER = b"\x05\x00\x00\x01\0\0\0\0\0\0"

CASES = {
    "refused": Case(1, Host(error=errno.ECONNREFUSED), ("is the program running?", "is 1080 the right port?")),
    "no way": Case(1, Host(error=errno.ENETUNREACH), ("no route to 10.0.0.1",)),
    "no descriptors": Case(1, Host(error=errno.EMFILE), ("`ulimit -n 4096`",)),
    "own firewall": Case(1, Host(error=errno.EPERM), ("a firewall on this machine",)),
    "reset": Case(1, Host(error=errno.ECONNRESET), ("is 1080 the right port?", "access list")),
    "kernel's timeout": Case(1, Host(error=errno.ETIMEDOUT), ("nothing answers there",)),
    "anything else": Case(1, Host(error=errno.EIO), ("is the address right?",)),
    "no answer": Case(1, Host(), ("nothing answers there", "raise `connect` in [timeouts]")),
    "mute": Case(1, Trouble(METHOD, Fault.MUTE), ("no answer came", "web servers", "give hop paris a `timeout`")),
    "mute, behind another": Case(2, Trouble(METHOD, Fault.MUTE), ("no answer came", "seen through paris", "--all")),
    "hangs up": Case(1, Trouble(METHOD, Fault.FIN), ("ended the connection after the greeting", "access list")),
    "http": Case(2, Trouble(METHOD, Fault.GARBAGE), ("1080 is an HTTP server", "seen through paris")),
    "tls": Case(1, saying(b"\x15\x03\x01\x00\x02\x02\x46"), ("requires TLS",)),
    "ssh": Case(1, saying(b"SSH-2.0-OpenSSH_9.2\r\n"), ("an SSH server: `ssh -D",)),
    "ftp": Case(1, saying(b"220 welcome\r\n"), ("mail or FTP",)),
    "socks4": Case(1, saying(b"\x00\x5b\0\0\0\0\0\0"), ("it speaks SOCKS4",)),
    "anything": Case(1, saying(b"what?"), ("does not speak SOCKS",)),
    "wrong login": Case(1, Trouble(LOGIN, Fault.REFUSAL), ("username or the password is wrong", "%40")),
    "another login": Case(1, Trouble(METHOD, Fault.REFUSAL), ("another kind of login than a username",)),
    "login, mute": Case(1, Trouble(LOGIN, Fault.MUTE), ("the service that it checks logins with", "`timeout`")),
    "login, reset": Case(1, Trouble(LOGIN, Fault.RESET), ("ended the connection after the login",)),
    "login, garbage": Case(1, Trouble(LOGIN, Fault.GARBAGE), ("it breaks the protocol",)),
    "reply, garbage": Case(1, Trouble(REQUEST, Fault.GARBAGE), ("it breaks the protocol",)),
    "a method of its own": Case(1, saying(b"\x05\x01"), ("it breaks the protocol",)),
    "next refused": Case(
        2,
        Trouble(CONNECT, Fault.REFUSAL),
        (
            "first suspect: osaka, which may not be running",
            "second: paris",
            "`chainsocks probe --all` connects to osaka",
        ),
    ),
    "next mute": Case(2, Trouble(CONNECT, Fault.MUTE), ("first suspect: osaka", "second: paris", "hop paris")),
    "next, by rule": Case(
        1,
        saying(b"\x05\x00", b"\x05\x02" + NO_ANSWER[2:]),
        ("first suspect: osaka", "a rule of paris forbids it", "10.0.0.2:1080"),
    ),
    "next hung up": Case(1, Trouble(REQUEST, Fault.FIN), ("such as ssh -D", "first suspect: osaka")),
    "next spoke first": Case(1, saying(b"\x05\x00", NO_ANSWER + b"SSH-2.0"), ("osaka may have sent data first",)),
    "destination refused": Case(3, Trouble(REQUEST, Fault.REFUSAL), ("works up to lima", "nothing listens there")),
    "destination mute": Case(3, Trouble(REQUEST, Fault.MUTE), ("example.org:80 may not answer", "hop lima")),
    "destination, no word": Case(3, Trouble(REQUEST, Fault.RESET), ("such as ssh -D", "works up to lima")),
}


async def advice(
    network: MemoryNetwork, chain: Chain, destination: Address | None = DESTINATION, timeouts: Timeouts | None = None
) -> str:
    lines = advise(await walk(way_of(chain), destination, dialer_of(network, timeouts or Timeouts())))
    for line in lines:
        assert "pw" not in line, "a secret"
        assert line[0].islower() or line[0] in "`", "it goes on with a list"
        assert not line.endswith(".")
    return "\n".join(lines)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_it_fits(case: Case, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing)})
    for number in (1, 2, 3):
        trouble = case.wrong if number == case.position and isinstance(case.wrong, Trouble) else None
        add_hop(network, make_hop(number), trouble)
    if isinstance(case.wrong, Host):
        network.hosts[make_hop(case.position).address] = case.wrong
    text = await advice(network, Chain(*map(make_hop, (1, 2, 3))))
    at = 0
    for words in case.words:
        assert words in text[at:], text
        at = text.index(words, at)


async def test_nothing_is_wrong(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {DESTINATION: Host(say_nothing)})
    add_hop(network, make_hop(1))
    assert await advice(network, Chain(make_hop(1))) == ""


async def test_a_hop_that_wants_a_login(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {make_hop(1).address: saying(b"\x05\xff")})
    text = await advice(network, Chain(replace(make_hop(1), credentials=None)))
    assert text.startswith("give it a login: socks5://USER:PASSWORD@10.0.0.1:1080")


async def test_a_socks5_proxy_that_is_declared_as_socks4(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {make_hop(1).address: saying(b"\x05\xff")})
    assert 'protocol = "socks5"' in await advice(network, Chain(make_hop(1, HopProtocol.SOCKS4A)))


@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.FIN, Fault.RESET])
async def test_socks4_may_be_none(fault: Fault, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The request is the first that one hears of such a hop."""
    network = MemoryNetwork(nursery)
    hop = make_hop(1, HopProtocol.SOCKS4A)
    add_hop(network, hop, Trouble(REQUEST, fault))
    assert (await advice(network, Chain(hop))).startswith("socks4a has no message before this one: is 1080 the port")


@pytest.mark.parametrize("destination", [DESTINATION, None])
async def test_http_may_be_a_web_server(destination: Address | None, nursery: trio.Nursery) -> None:
    hop = Hop("web", HopProtocol.HTTP, Address("10.0.0.1", 80))
    network = MemoryNetwork(nursery, {hop.address: saying(b"HTTP/1.1 405 Not Allowed\r\n\r\n")})
    assert (await advice(network, Chain(hop), destination)).startswith("is 80 the port of a web server?")


async def test_http_may_want_a_login(nursery: trio.Nursery) -> None:
    hop = Hop("web", HopProtocol.HTTP, Address("10.0.0.1", 80))
    wants = b'HTTP/1.1 407 Wanted\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n'
    network = MemoryNetwork(nursery, {hop.address: saying(wants)})
    assert (await advice(network, Chain(hop), None)).startswith("give it a login: http://USER:PASSWORD@10.0.0.1:80")


async def test_what_speaks_no_http(nursery: trio.Nursery) -> None:
    hop = Hop("web", HopProtocol.HTTP, Address("10.0.0.1", 25))
    network = MemoryNetwork(nursery, {hop.address: saying(b"220 welcome\r\n")})
    assert "which port speaks HTTP?" in await advice(network, Chain(hop))


async def test_http_may_be_none(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    hop = Hop("web", HopProtocol.HTTP, Address("10.0.0.1", 80))
    network = MemoryNetwork(nursery, {hop.address: saying()})
    assert "is 80 the port of an HTTP proxy?" in await advice(network, Chain(hop), None)


async def test_a_hop_whose_name_is_not_found(nursery: trio.Nursery) -> None:
    text = await advice(MemoryNetwork(nursery), Chain(Hop("rome", HopProtocol.SOCKS5, Address("rome.example", 1080))))
    assert "`getent hosts rome.example`" in text


async def test_a_name_server_that_is_mute(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, resolve_delay=100)
    text = await advice(network, DIRECT)
    assert "name server" in text
    assert "raise `resolve`" in text


async def test_a_destination_that_refuses(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, names={"example.org": ["10.0.0.80"]})
    assert "is the program running?" in await advice(network, DIRECT)


async def test_no_ipv6(nursery: trio.Nursery) -> None:
    hop = Hop("six", HopProtocol.SOCKS5, Address("2001:db8::6", 1080))
    network = MemoryNetwork(nursery, {hop.address: Host(error=errno.ENETUNREACH)})
    assert "may have no IPv6" in await advice(network, Chain(hop))


async def test_a_chain_that_cannot_be(nursery: trio.Nursery) -> None:
    text = await advice(MemoryNetwork(nursery), Chain(make_hop(1, HopProtocol.SOCKS4)))
    assert text == "change the configuration as it says: nothing was sent to this hop"


@pytest.mark.parametrize(
    ("timeouts", "hop", "dial", "words"),
    [
        (Timeouts(), make_hop(1), None, "give hop paris a `timeout` in [hops]"),
        (Timeouts(), make_hop(1, timeout=2), None, "raise `timeout` of hop paris"),
        (Timeouts(dial=5), make_hop(1), None, "raise `dial` in [timeouts]"),
        (Timeouts(), make_hop(1), 5, "raise `dial` of chain default"),
    ],
)
async def test_which_limit_to_raise(
    timeouts: Timeouts, hop: Hop, dial: float | None, words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery)
    add_hop(network, hop, Trouble(METHOD, Fault.MUTE))
    text = await advice(network, Chain(hop, dial=dial), timeouts=timeouts)
    assert text.splitlines()[-1] == f"if it is only slow: {words}"


async def test_a_login_by_gssapi(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    FakeMechanism().install(monkeypatch)
    hop = make_hop(1, login=Gssapi())
    network = MemoryNetwork(nursery)
    add_hop(network, hop, Trouble(State.GSSAPI_CONTEXT, Fault.REFUSAL))
    text = await advice(network, Chain(hop))
    assert "`klist`" in text
    assert "another name than 10.0.0.1" in text


async def test_a_hop_without_gssapi(nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {make_hop(1).address: saying(b"\x05\xff")})
    text = await advice(network, Chain(make_hop(1, login=Gssapi())))
    assert text == "it requires another kind of login than GSSAPI: ask its operator"


@pytest.mark.parametrize(
    ("hop", "error", "words"),
    [
        (Hop("tor", "socks5", "unix:/run/tor/socks"), errno.ENOENT, "does a program listen at unix:/run/tor/socks"),
        (Hop("paris", "socks5", "10.0.0.1:1080", mark=7), errno.EADDRNOTAVAIL, "`chainsocks manual source`"),
    ],
)
async def test_what_cannot_be_had_on_this_machine(hop: Hop, error: int, words: str, nursery: trio.Nursery) -> None:
    network = MemoryNetwork(nursery, {hop.address: Host(error=error)})
    walked = await walk(way_of(Chain(hop)), None, dialer_of(network, Timeouts()))
    assert words in "\n".join(advise(walked))
