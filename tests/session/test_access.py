"""Where direct connections may go: private places, the rules that name them, and the server's own listeners."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
import trio

from chainsocks.config.listeners import Listener
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import Command, Request, Version
from chainsocks.routing.rules import Caller
from chainsocks.session import access
from chainsocks.session.access import Access, datagram_access, is_private
from chainsocks.session.login import Logins
from chainsocks.session.own_listeners import OwnListeners, addresses_in
from chainsocks.session.service import Service
from tests.config.files import read
from tests.memory import Host, MemoryNetwork
from tests.session.serving import DESTINATION, GRANTED5, echo, session

Log = pytest.LogCaptureFixture
OPEN = "[server]\nopen = true\nlisten = ['0.0.0.0:1080']\n"
OWN = "198.51.100.7"


@pytest.fixture(autouse=True)
def _own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own address."""
    monkeypatch.setattr(access, "is_own", lambda host: host == OWN)


def connect_to(host: str, port: int = 80) -> bytes:
    name = host.encode()
    return b"\x05\x01\x00\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big")


PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "127.255.255.254",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "2002:7f00:1::",
    "::127.0.0.1",
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
    OWN,
    f"::ffff:{OWN}",
    "internal.example",
]
ALLOWED_HOSTS = ["192.0.2.80", "10.0.0.7", "192.168.0.1", "fd00::7", "2001:db8::80", "64:ff9b::192.0.2.80"]


@pytest.mark.parametrize("rules", ["", "[[rules]]\nto = '0.0.0.0/0'\nchain = 'direct'\n[[rules]]\nchain = 'direct'\n"])
@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_private_places_are_refused(host: str, rules: str, caplog: Log) -> None:
    async with session(caplog, read(OPEN + rules), listen="0.0.0.0") as client:
        for spelling in ("127.1", "0x7f.1", "2130706433", "internal.example"):  # as getaddrinfo(3) reads them
            client.network.names[spelling] = ["127.0.0.1"]
        await client.send(connect_to(host))
        await client.expect("05 00" + "05 02 00 01 00000000 0000")
        await client.expect_end()
        assert client.network.connects == []
    assert "private place" in client.line
    assert 'to = [\\"' in client.line


@pytest.mark.parametrize("host", ALLOWED_HOSTS)
async def test_other_hosts_are_not(host: str, caplog: Log) -> None:
    async with session(caplog, read(OPEN), listen="0.0.0.0") as client:
        client.network.hosts[Address(host, 80)] = Host(echo)
        await client.send(connect_to(host))
        await client.expect("05 00" + GRANTED5[:5])


@pytest.mark.parametrize(
    ("to", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.0/8", "127.0.0.9"),
        ("127.0.0.0/30", "127.0.0.2"),
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("internal.example", "internal.example"),
        (OWN, OWN),
        ("169.254.169.254", "169.254.169.254"),
    ],
)
async def test_a_rule_that_names_the_place_allows_it(to: str, host: str, caplog: Log) -> None:
    async with session(caplog, read(f"{OPEN}[[rules]]\nto = '{to}'\nchain = 'direct'\n"), listen="0.0.0.0") as client:
        client.network.names |= {"localhost": ["127.0.0.1"], "internal.example": ["127.0.0.1"]}
        client.network.hosts |= {
            Address(address, 80): Host(echo) for address in ("127.0.0.1", "127.0.0.9", "127.0.0.2", "::1", OWN, host)
        }
        await client.send(connect_to(host))
        await client.expect("05 00" + GRANTED5[:5])


@pytest.mark.parametrize(
    ("to", "host"), [("0.0.0.0/0", "127.0.0.1"), ("*.example", "a.example"), ("126.0.0.0/7", "127.0.0.1")]
)
async def test_a_larger_network_and_a_suffix_do_not(to: str, host: str, caplog: Log) -> None:
    async with session(caplog, read(f"{OPEN}[[rules]]\nto = '{to}'\nchain = 'direct'\n"), listen="0.0.0.0") as client:
        client.network.names["a.example"] = ["127.0.0.1"]
        await client.send(connect_to(host))
        await client.expect("05 00" + "05 02")


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1"])
async def test_a_listener_on_loopback_allows_all(listen: str, caplog: Log) -> None:
    async with session(caplog, listen=listen) as client:
        client.network.hosts[Address("127.0.0.1", 80)] = Host(echo)
        await client.send(connect_to("127.0.0.1"))
        await client.expect("05 00" + GRANTED5[:5])


async def test_private_true_allows_all(caplog: Log) -> None:
    async with session(caplog, read(OPEN.replace("open", "private = true\nopen")), listen="0.0.0.0") as client:
        client.network.hosts[Address("127.0.0.1", 80)] = Host(echo)
        await client.send(connect_to("127.0.0.1"))
        await client.expect("05 00" + GRANTED5[:5])


async def test_of_several_addresses_the_public_ones_are_connected_to(caplog: Log) -> None:
    async with session(caplog, read(OPEN), listen="0.0.0.0") as client:
        client.network.names["example.org"] = ["127.0.0.1", "192.0.2.80", "::1"]
        await client.send(connect_to("example.org"))
        await client.expect("05 00" + GRANTED5[:5])
        assert [address for _, address in client.network.connects] == [DESTINATION]


NAMES_IT = "[[rules]]\nto = '127.0.0.1'\nchain = 'direct'\n"


@pytest.mark.parametrize(
    ("rules", "host", "allowed"),
    [("", "192.0.2.80", True), ("", "127.0.0.1", False), (NAMES_IT, "127.0.0.1", True), (NAMES_IT, "127.0.0.2", False)],
)
async def test_where_datagrams_may_go(rules: str, host: str, allowed: bool, nursery: trio.Nursery) -> None:  # noqa: FBT001
    config = read(OPEN + rules)
    service = Service(config, Logins(config.users), MemoryNetwork(nursery, {}))
    request = Request(Version.SOCKS5, Command.UDP_ASSOCIATE, UNSPECIFIED)
    passes = datagram_access(service, Listener(Address("0.0.0.0", 1080)), request, Caller("192.0.2.1"))
    target = Address(host, 5300)
    assert passes
    assert passes(target, target) is allowed
    service.own_listeners.for_datagrams.add(target)
    assert not passes(target, target), "this server listens there"


async def test_datagrams_of_clients_on_loopback_may_go_anywhere_but_back(nursery: trio.Nursery) -> None:
    service = Service(read(OPEN), Logins(()), MemoryNetwork(nursery, {}))
    arguments = (
        service,
        Listener(Address("127.0.0.1", 1080)),
        Request(Version.SOCKS5, Command.UDP_ASSOCIATE, UNSPECIFIED),
        Caller("127.0.0.1"),
    )
    assert datagram_access(*arguments) is None
    own = Address("127.0.0.1", 53)
    service.own_listeners.for_datagrams.add(own)
    passes = datagram_access(*arguments)
    assert passes
    assert not passes(own, own)
    assert passes(own, Address("127.0.0.1", 54))


def test_what_stands_in_an_address() -> None:
    assert [str(ip) for ip in addresses_in(ip_address("2002:a00:1::5"))] == ["2002:a00:1::5", "10.0.0.1"]
    assert [str(ip) for ip in addresses_in(ip_address("::1"))] == ["::1"]
    assert is_private("fe80::1%eth0")


def test_own_addresses_are_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert is_private("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("NOT TESTED: this machine has no address beyond loopback")
        assert is_private(probe.getsockname()[0])


@pytest.mark.parametrize("host", ["intern.example", "127.0.0.1"])
def test_the_rule_in_the_advice_opens_a_private_place(host: str) -> None:
    destination, address = Address(host, 80), Address("127.0.0.1", 80)
    closed = Access(OwnListeners(), private=False)
    advice = closed.private_problem(destination, address)
    assert advice is not None
    written = advice.partition("has ")[2].replace(" and ", "\n")
    [rule] = read(f"[[rules]]\n{written}").rules
    assert closed._replace(rule=rule).private_problem(destination, address) is None
    assert str(rule) == f'to = ["{host}"], chain = "direct"'
