"""How bad the log says that a session was: what the server failed at shows with ``-q``, what it refused does not."""

from __future__ import annotations

import logging
from errno import ECONNREFUSED, EHOSTUNREACH, EMFILE, EPERM

import pytest
import trio

from chainsocks.config.chains import Chain
from chainsocks.config.models import Config, Timeouts
from tests.config.files import read
from tests.hops import Fault, Trouble, add_hop, make_hop
from tests.memory import Host
from tests.session.serving import CAROL, CONNECT5, echo, session

RULE = "[[rules]]\nto = '192.0.2.0/24'\ndeny = true\n"
RESOLVE = "[[rules]]\nto = '10.0.0.0/8'\nresolve = true\nchain = 'direct'\n[[rules]]\nchain = 'direct'\n"
NAMED = "05 01 00 03 04 686f7374 0050"
LOOPBACK = "05 01 00 01 7f000001 0050"
OPEN = "[server]\nlisten = ['0.0.0.0:1080']\nopen = true\n"
HOP = make_hop(1)
Log = pytest.LogCaptureFixture


@pytest.mark.parametrize(
    ("config", "request_", "host", "level", "says"),
    [
        pytest.param("", CONNECT5, Host(echo), "INFO", "finished", id="finished"),
        pytest.param("", CONNECT5, Host(error=ECONNREFUSED), "WARNING", "refused", id="refused"),
        pytest.param("", CONNECT5, Host(error=EHOSTUNREACH), "WARNING", "route", id="unreachable"),
        pytest.param("", CONNECT5, Host(error=EPERM), "WARNING", "destination", id="firewall"),
        pytest.param("", CONNECT5, Host(error=EMFILE), "WARNING", "too many open files", id="files"),
        pytest.param("", CONNECT5, Host(), "WARNING", "no answer", id="time-out"),
        pytest.param("", NAMED, Host(), "WARNING", "no address for host", id="no-address"),
        pytest.param(RESOLVE, NAMED, Host(), "WARNING", "no address for host", id="no-address-for-the-rules"),
        pytest.param(RULE, CONNECT5, Host(), "INFO", "rule 1 says no", id="rule"),
        pytest.param(OPEN, LOOPBACK, Host(), "INFO", "private place", id="private-place"),
        pytest.param("", "05 02 00 03 04 686f7374 0050", Host(), "WARNING", "no address", id="bind"),
    ],
)
async def test_of_an_answered_request(
    config: str,
    request_: str,
    host: Host,
    level: str,
    says: str,
    autojump_clock: trio.testing.MockClock,
    caplog: Log,
) -> None:
    async with session(caplog, read(config), listen="0.0.0.0", destination=host) as client:
        await client.send("05 01 00", request_)
        await client.expect("05 00 05")
        await client.stream.send_eof()
        await trio.sleep(60)
    assert says in client.line
    assert logging.getLevelName(client.level) == level


@pytest.mark.parametrize("fault", [Fault.MUTE, Fault.RESET, Fault.REFUSAL])
async def test_of_a_hop_that_fails(fault: Fault, autojump_clock: trio.testing.MockClock, caplog: Log) -> None:
    async with session(caplog, Config(chains={"default": Chain(HOP)})) as client:
        add_hop(client.network, HOP, Trouble("request", fault))
        await client.send("05 01 00", CONNECT5)
        await client.expect("05 00 05")
    assert 'outcome="hop ' in client.line
    assert client.level == logging.WARNING


@pytest.mark.parametrize(
    ("config", "sent", "says"),
    [
        pytest.param(Config(), b"", "it reset the connection", id="silent"),
        pytest.param(Config(), b"SSH-2.0-OpenSSH_9.2\r\n", "SSH", id="neither"),
        pytest.param(Config(users=(CAROL,)), b"\x05\x01\x00", "accepts username and password (02)", id="no-login"),
        pytest.param(Config(), bytes.fromhex("050100" + CONNECT5), "client left before its reply", id="reset"),
    ],
)
async def test_of_a_client_that_leaves_or_may_not_come_in(
    config: Config, sent: bytes, says: str, autojump_clock: trio.testing.MockClock, caplog: Log
) -> None:
    async with session(caplog, config, destination=Host(echo, delay=2)) as client:
        if sent:
            await client.send(sent)
        await trio.sleep(1)
        client.stream.reset()
    assert says in client.line
    assert client.level == logging.INFO


async def test_of_a_client_that_leaves_before_its_refusal(autojump_clock: trio.testing.MockClock, caplog: Log) -> None:
    config = Config(timeouts=Timeouts(reply=3))
    async with session(caplog, config, destination=Host(error=ECONNREFUSED)) as client:
        client.stream.incoming.capacity = 2  # room for the method answer only
        await client.send("05 01 00", CONNECT5)
        await trio.sleep(5)
    assert "client, reply: not taken" in client.line
    assert client.level == logging.INFO
