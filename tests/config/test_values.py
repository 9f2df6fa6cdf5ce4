"""Single values: how users may write them, and what is said when they do not."""

from __future__ import annotations

import datetime
import math
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.listeners import ListenAddress, SystemdSocket, UnixPath
from chainsocks.config.suggest import describe
from chainsocks.config.values import parse_duration, parse_ip, parse_listen, parse_ports, parse_resolver
from chainsocks.protocol.address import Address
from tests.config.files import NOT_POSITIVE, Toml, complaint_of

# --- durations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (10, 10),
        (0.25, 0.25),
        (1e-3, 0.001),
        ("30s", 30),
        ("500ms", 0.5),
        ("2m", 120),
        ("1h", 3600),
        ("1m30s", 90),
        ("1h2m3s4ms", 3723.004),
        ("1.5h", 5400),
        ("0.5s", 0.5),
        ("1m0s", 60),
        ("off", math.inf),
    ],
)
def test_a_duration(written: Toml, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


NO_DURATION = 'expected a number of seconds, a text such as "1m30s", or "off"'


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (0, f"found 0, {NOT_POSITIVE}"),
        (-1, f"found -1, {NOT_POSITIVE}"),
        (-0.5, f"found -0.5, {NOT_POSITIVE}"),
        ("0s", f"found '0s', {NOT_POSITIVE}"),
        ("0h0m", f"found '0h0m', {NOT_POSITIVE}"),
        ("", f"found '', {NO_DURATION}"),
        ("10", f"found '10', {NO_DURATION}"),
        ("s", f"found 's', {NO_DURATION}"),
        ("5 s", f"found '5 s', {NO_DURATION}"),
        ("5 minutes", f"found '5 minutes', {NO_DURATION}"),
        ("1d", f"found '1d', {NO_DURATION}"),
        ("5S", f"found '5S', {NO_DURATION}"),
        ("-5s", f"found '-5s', {NO_DURATION}"),
        ("1m30", f"found '1m30', {NO_DURATION}"),
        ("1.s", f"found '1.s', {NO_DURATION}"),
        (".5s", f"found '.5s', {NO_DURATION}"),
        ("\u0665s", f"found '\u0665s', {NO_DURATION}"),
        ("OFF", f"found 'OFF', {NO_DURATION}"),
        ("inf", f"found 'inf', {NO_DURATION}"),
        (math.inf, f"found inf, {NO_DURATION}"),
        (-math.inf, f"found -inf, {NO_DURATION}"),
        (math.nan, f"found nan, {NO_DURATION}"),
        (True, f"found true, {NO_DURATION}"),
        (False, f"found false, {NO_DURATION}"),
        ([5], f"found a list, {NO_DURATION}"),
        ({"s": 5}, f"found a table, {NO_DURATION}"),
        (datetime.time(0, 5), f"found a date or a time, {NO_DURATION}"),
        pytest.param(10**400, f"found a number that is too large, {NO_DURATION}", id="10**400"),
        pytest.param("9" * 400 + "h", f"found '{'9' * 400}h', {NO_DURATION}", id="9999...h"),
    ],
)
def test_what_no_duration_is(written: Toml, complaint: str) -> None:
    assert complaint_of(parse_duration, written) == complaint


@given(st.text(st.sampled_from("0123456789.hms -")) | st.integers() | st.floats())
def test_a_duration_is_positive_or_refused(written: Toml) -> None:
    try:
        seconds = parse_duration(written)
    except ValueError:
        return
    assert 0 < seconds < math.inf


# --- listeners --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "listen"),
    [
        ("127.0.0.1:1080", Address("127.0.0.1", 1080)),
        ("0.0.0.0:1080", Address("0.0.0.0", 1080)),
        ("[::1]:1080", Address("::1", 1080)),
        ("[::]:1080", Address("::", 1080)),
        ("localhost:1080", Address("localhost", 1080)),
        pytest.param("127.0.0.1:0", Address("127.0.0.1", 0), id="port 0: the system chooses"),
        ("unix:/run/chainsocks.sock", UnixPath("/run/chainsocks.sock")),
        ("unix:/run/user@1000/chain socks", UnixPath("/run/user@1000/chain socks")),
        ("systemd:chainsocks.socket", SystemdSocket("chainsocks.socket")),
    ],
)
def test_a_listener(written: str, listen: ListenAddress) -> None:
    assert parse_listen(written) == listen


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("", "'': a port is missing, as in example.org:1080"),
        ("127.0.0.1", "'127.0.0.1': a port is missing, as in example.org:1080"),
        ("[::1]", "'[::1]': a port is missing, as in example.org:1080"),
        ("127.0.0.1:socks", "'***': a port is a number, as in example.org:1080"),
        ("127.0.0.1:65536", "port 65536 is not in 0..65535"),
        ("::1:1080", "'::1:1080': put an IPv6 address in brackets, as in [::1]:1080"),
        ("[localhost]:1080", "'[localhost]:1080': only an IPv6 address stands in brackets"),
        ("[fe80::1]:1080", "a link-local address needs the name of its interface, as in [fe80::1%eth0]:1080"),
        ("unix:", "the path of a unix socket starts with /, as in unix:/run/chainsocks.sock"),
        ("unix:chainsocks.sock", "the path of a unix socket starts with /, as in unix:/run/chainsocks.sock"),
        ("unix:@abstract", "the path of a unix socket starts with /, as in unix:/run/chainsocks.sock"),
        ("systemd:", "expected systemd:NAME, with a name as FileDescriptorName= of a socket unit may have it"),
        ("systemd:a:b", "expected systemd:NAME, with a name as FileDescriptorName= of a socket unit may have it"),
        ("carol:secret@127.0.0.1:1080", "a listener's address cannot contain a login; declare [[users]] instead"),
    ],
)
def test_what_no_listener_is(written: str, complaint: str) -> None:
    assert complaint_of(parse_listen, written) == complaint


# --- what was found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (-2.5, "-2.5"),
        (math.nan, "nan"),
        (2**63 - 1, "9223372036854775807"),
        (2**63, "a number that is too large"),
        (-(10**5000), "a number that is too large"),
        ("paris", "'paris'"),
        ("socks5://alice:se cret@paris", "'***@paris'"),
        ({"a": 1}, "a table"),
        ([1, 2], "a list"),
        (datetime.date(2020, 2, 29), "a date or a time"),
        (datetime.datetime(2020, 2, 29, 12, 0), "a date or a time"),
        (datetime.time(12, 0), "a date or a time"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_was_found_is_said_in_the_words_of_toml(value: Toml, words: str) -> None:
    assert describe(value) == words


# --- IP addresses and ports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["203.0.113.1", "2001:db8::1", "127.0.0.1"])
def test_an_ip_address(text: str) -> None:
    assert parse_ip(text) == ip_address(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("example.org", "found 'example.org', expected an IP address without a port"),
        ("203.0.113.1:80", "found '203.0.113.1:80', expected an IP address without a port"),
        ("0.0.0.0", "found '0.0.0.0', expected an address that others can connect to"),
        ("::", "found '::', expected an address that others can connect to"),
    ],
)
def test_what_no_ip_address_is(text: str, complaint: str) -> None:
    assert complaint_of(parse_ip, text) == complaint


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9.9.9.9", Address("9.9.9.9", 53)),
        ("9.9.9.9:5353", Address("9.9.9.9", 5353)),
        ("[2620:fe::fe]", Address("2620:fe::fe", 53)),
        ("dns.example", Address("dns.example", 53)),
    ],
)
def test_a_resolver(text: str, address: Address) -> None:
    assert parse_resolver(text) == address


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("9.9.9.9:0", "found '9.9.9.9:0', expected a port in 1..65535"),
        ("bob:geheim@9.9.9.9", "a resolver's address cannot contain a login"),
        ("::1", "'::1': put an IPv6 address in brackets, as in [::1]:1080"),
    ],
)
def test_what_no_resolver_is(text: str, complaint: str) -> None:
    assert complaint_of(parse_resolver, text) == complaint


@pytest.mark.parametrize(("text", "ports"), [("1-65535", range(1, 65536)), ("40000", range(40000, 40001))])
def test_ports(text: str, ports: range) -> None:
    assert parse_ports(text) == ports
