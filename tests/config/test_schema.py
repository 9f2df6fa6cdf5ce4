"""What may stand under each key of the file, and what is said when something else does."""

from __future__ import annotations

import math
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from chainsocks.config.choices import NamesOnly
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener, Senders, UnixPath
from chainsocks.config.models import Ident, Server, Timeouts
from chainsocks.config.passwords import HashedPassword, PlainPassword
from chainsocks.protocol.address import Address
from tests.config.files import NOT_POSITIVE, problems, read

SOCKS4, SOCKS4A, SOCKS5, HTTP = HopProtocol
HASH = "scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA"

# --- [server] ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "server"),
    [
        ("", Server()),
        ('listen = ["[::1]:1081"]', Server(listen=(Listener(Address("::1", 1081)),))),
        (
            'listen = ["127.0.0.1:1080", "unix:/run/x"]',
            Server(listen=(Listener(Address("127.0.0.1", 1080)), Listener(UnixPath("/run/x")))),
        ),
        ("workers = 0", Server(workers=0)),
        ("workers = 8", Server(workers=8)),
        ("workers = 8\nmax_sessions = 8", Server(workers=8, max_sessions=8)),
        ('ident = "require"', Server(ident=Ident.REQUIRE)),
        ('bind_address = "203.0.113.7"', Server(bind_address=ip_address("203.0.113.7"))),
        ('via = "proxy-1"', Server(via="proxy-1")),
        ('bind_address = "2001:db8::7"', Server(bind_address=ip_address("2001:db8::7"))),
        ("workers = 0\nmax_sessions = 1", Server(workers=0, max_sessions=1)),
        ("max_sessions = 1", Server(max_sessions=1)),
        ("open = true", Server(open=True)),
        ('listen = [{ address = "unix:/run/x" }]', Server(listen=(Listener(UnixPath("/run/x")),))),
        (
            'listen = ["127.0.0.1:1080", { address = "127.0.0.1:1081", names_only = "refuse" }]',
            Server(
                listen=(
                    Listener(Address("127.0.0.1", 1080)),
                    Listener(Address("127.0.0.1", 1081), names_only=NamesOnly.REFUSE),
                )
            ),
        ),
        ("open = false", Server(open=False)),
        ('udp_address = "203.0.113.1"', Server(udp_address=ip_address("203.0.113.1"))),
        ('udp_address = "2001:DB8:0::1"', Server(udp_address=ip_address("2001:db8::1"))),
        ('keepalive = "2m"', Server(keepalive=120)),
        ('keepalive = "off"', Server(keepalive=math.inf)),
        ('udp_ports = "40000-40100"', Server(udp_ports=range(40_000, 40_101))),
        ('udp_ports = "1-65535"', Server(udp_ports=range(1, 65_536))),
        ('udp_ports = "40000"', Server(udp_ports=range(40_000, 40_001))),
    ],
)
def test_the_server(line: str, server: Server) -> None:
    assert read(f"[server]\n{line}").server == server


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("lisen = ['1080']", "server.lisen: unknown key; did you mean 'listen'?"),
        (
            "port = 1",
            "server.port: unknown key; "
            "known are bind_address, gssapi, gssapi_keytab, gssapi_principals, gssapi_required, gssapi_services, "
            "ident, keepalive, lane, listen, max_sessions, open, private, udp_address, udp_ports, users_file, via, "
            "workers",
        ),
        ("bind_address = 7", "server.bind_address: expected a text in quotes"),
        (
            'via = "two words"',
            "server.via: found 'two words', expected a name of letters, digits and hyphens, as in proxy-1",
        ),
        (
            'bind_address = "203.0.113.7:80"',
            "server.bind_address: found '203.0.113.7:80', expected an IP address without a port",
        ),
        (
            'bind_address = "0.0.0.0"',
            "server.bind_address: found '0.0.0.0', expected an address that others can connect to",
        ),
        ("listen = []", "server.listen: expected at least one entry"),
        ('listen = ["[::1]:1", "[::1]:1"]', "server.listen[2]: [::1]:1 is listed twice"),
        (
            'listen = { address = "127.0.0.1:1", mode = "0660" }',
            "server.listen: mode and group are those of a unix socket, as in unix:/run/chainsocks.sock",
        ),
        (
            'listen = { address = "unix:/s", mode = "0680" }',
            "server.listen.mode: found '0680', expected permissions in octal, as in \"0660\"",
        ),
        (
            'listen = { address = "127.0.0.1:1", proxy_protocol = ["10.0.0.0/33"] }',
            "server.listen.proxy_protocol[1]: found '10.0.0.0/33', "
            "expected a network such as 10.0.0.0/8 or 2001:db8::/32",
        ),
        (
            'listen = { address = "127.0.0.1:1", proxy_protocol = true }',
            "server.listen.proxy_protocol: expected a text in quotes",
        ),
        (
            'listen = { address = "127.0.0.1:1", proxy_protocol = [] }',
            "server.listen.proxy_protocol: expected at least one entry",
        ),
        (
            'listen = { address = "127.0.0.1:1", proxy_protocol = ["unix"] }',
            'server.listen: proxy_protocol = ["unix"] is for a unix socket; name the networks of the load balancers',
        ),
        (
            'listen = { address = "unix:/s", proxy_protocol = ["10.0.0.0/8"] }',
            'server.listen: the load balancer of a unix socket has no IP address; write proxy_protocol = ["unix"]',
        ),
        (
            'listen = { address = "unix:/s", kind = "redirect" }',
            'server.listen: kind = "redirect" is for TCP: no connection is redirected to a unix socket',
        ),
        (
            'listen = { address = "127.0.0.1:1", kind = "redirect", proxy_protocol = ["10.0.0.1"] }',
            'server.listen: kind = "redirect" has clients that know of no proxy: they send no header, and no TLS to it',
        ),
        (
            'listen = { address = "127.0.0.1:1", kind = "sox" }',
            "server.listen.kind: found 'sox', "
            "expected 'socks' or 'http' or 'redirect' or 'tproxy' or 'tunnel' or 'dns'",
        ),
        ('listen = { address = "unix:/s", mode = 660 }', "server.listen.mode: expected a text in quotes"),
        (
            'listen = { address = "unix:/s", group = "a b" }',
            "server.listen.group: found 'a b', expected the name or the number of a group",
        ),
        ("listen = [true]", "server.listen[1]: expected a text in quotes"),
        ("listen = 65536", "server.listen: port 65536 is not in 0..65535"),
        (
            'listen = ["127.0.0.1:1080", "[::1]"]',
            "server.listen[2]: '[::1]': a port is missing, as in example.org:1080",
        ),
        (
            'listen = [{ address = "127.0.0.1", names_only = "refuse" }]',
            "server.listen[1].address: '127.0.0.1': a port is missing, as in example.org:1080",
        ),
        (
            'listen = [{ address = "127.0.0.1:1080", chain = "ofice" }]\n[chains]\noffice = "direct"',
            "server.listen[1].chain: no chain is called 'ofice'; did you mean 'office'?",
        ),
        (
            'listen = { address = "127.0.0.1:1", kind = "tunnel" }',
            'server.listen: kind = "tunnel" and target go together, as in target = "db.internal:5432"',
        ),
        (
            'listen = { address = "127.0.0.1:1", target = "db.internal:5432" }',
            'server.listen: kind = "tunnel" and target go together, as in target = "db.internal:5432"',
        ),
        (
            'listen = { address = "127.0.0.1:1", kind = "tunnel", target = "db.internal" }',
            "server.listen.target: 'db.internal': a port is missing, as in example.org:1080",
        ),
        (
            'listen = { address = "unix:/run/dns.sock", kind = "dns" }',
            'server.listen: kind = "dns" needs UDP and TCP: write an IP address and a port, as in "127.0.0.1:53"',
        ),
        (
            'listen = { address = "127.0.0.1:53", kind = "dns", proxy_protocol = "10.0.0.1" }',
            'server.listen: kind = "dns" takes datagrams: they have no PROXY protocol header, and no TLS',
        ),
        (
            'listen = { address = "127.0.0.1:53", udp = true }',
            'server.listen: udp = true is for kind = "tunnel" and kind = "tproxy"; SOCKS needs no key for UDP',
        ),
        (
            'listen = { address = "unix:/s", kind = "tunnel", target = "db.internal:53", udp = true }',
            'server.listen: udp = true needs UDP and TCP: write an IP address and a port, as in "127.0.0.1:53"',
        ),
        ('listen = [{ names_only = "warn" }]', "server.listen[1].address: this key is missing"),
        (
            'listen = [{ address = "[::1]:1080", names_onyl = "warn" }]',
            "server.listen[1].names_onyl: unknown key; did you mean 'names_only'?",
        ),
        (
            'listen = [{ address = "[::1]:1080", names_only = "refues" }]',
            "server.listen[1].names_only: found 'refues', expected 'off' or 'warn' or 'refuse'; did you mean 'refuse'?",
        ),
        ("workers = -1", "server.workers: found -1, expected at least 0"),
        ("workers = 1.0", "server.workers: found 1.0, expected a whole number"),
        ('workers = "1"', "server.workers: found '1', expected a whole number"),
        ("workers = true", "server.workers: found true, expected a whole number"),
        (
            f"workers = {2**63}",
            "server.workers: found a number that is too large, expected at most 9223372036854775807",
        ),
        (
            "workers = 8\nmax_sessions = 7",
            "server.workers: found 8, expected at most 7, which is max_sessions: each worker needs one",
        ),
        ("workers = 8\nmax_sessions = 0", "server.max_sessions: found 0, expected at least 1"),
        ("max_sessions = 0", "server.max_sessions: found 0, expected at least 1"),
        (
            f"max_sessions = {2**63}",
            "server.max_sessions: found a number that is too large, expected at most 9223372036854775807",
        ),
        ("open = 1", "server.open: found 1, expected true or false"),
        ('open = "yes"', "server.open: found 'yes', expected true or false"),
        (
            'udp_address = "example.org"',
            "server.udp_address: found 'example.org', expected an IP address without a port",
        ),
        ('udp_address = "::"', "server.udp_address: found '::', expected an address that others can connect to"),
        ("udp_address = 5", "server.udp_address: expected a text in quotes"),
        ("udp_ports = 40000", "server.udp_ports: expected a text in quotes"),
        ('udp_ports = "many"', "server.udp_ports: found 'many', expected a range of ports, as in 40000-40100"),
        ('udp_ports = "0-9"', "server.udp_ports: found '0-9', expected ports in 1..65535, the lower one first"),
        ('udp_ports = "9-8"', "server.udp_ports: found '9-8', expected ports in 1..65535, the lower one first"),
        ('udp_ports = "9-65536"', "server.udp_ports: found '9-65536', expected ports in 1..65535, the lower one first"),
    ],
)
def test_what_a_server_cannot_be(line: str, problem: str) -> None:
    assert problems(f"[server]\n{line}") == [problem]


# --- [timeouts] -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list(Timeouts.__dataclass_fields__))
def test_every_deadline_can_be_set(key: str) -> None:
    assert read(f"[timeouts]\n{key} = '1m7s'").timeouts == replace(Timeouts(), **{key: 67.0})
    assert read(f"[timeouts]\n{key} = 'off'").timeouts == replace(Timeouts(), **{key: math.inf})
    assert problems(f"[timeouts]\n{key} = 0") == [f"timeouts.{key}: found 0, {NOT_POSITIVE}"]


def test_a_deadline_that_there_is_not() -> None:
    assert problems("[timeouts]\nhandshak = 5") == ["timeouts.handshak: unknown key; did you mean 'handshake'?"]


# --- [[users]] --------------------------------------------------------------------------------------------------------


def test_a_user_with_a_hash() -> None:
    (user,) = read(f'[[users]]\nname = "carol"\npassword_hash = "{HASH}"').users
    assert (user.name, user.password) == ("carol", HashedPassword(16, 8, 1, bytes(3), bytes(16)))


def test_a_user_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROL_PASSWORD", "geheim")
    (user,) = read('[[users]]\nname = "carol"\npassword_env = "CAROL_PASSWORD"').users
    assert (user.name, user.password) == ("carol", PlainPassword(b"geheim"))


@pytest.mark.parametrize("name", ["é" * 127 + "x", ""], ids=["longest", "empty"])
def test_a_user_name_of_any_size(name: str) -> None:
    (user,) = read(f'[[users]]\nname = "{name}"\npassword_hash = "{HASH}"').users
    assert user.name == name


ONE_PASSWORD = "expected one of password_hash (see `chainsocks hash-password`), password_env and password_file"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (f'password_hash = "{HASH}"', "users[1].name: this key is missing"),
        (
            f'name = "{"é" * 128}"\npassword_hash = "{HASH}"',
            "users[1].name: a name has at most 255 bytes, this one has 256",
        ),
        (f'name = 5\npassword_hash = "{HASH}"', "users[1].name: found 5, expected a text in quotes"),
        ('name = "carol"', f"users[1]: {ONE_PASSWORD}"),
        (f'name = "carol"\npassword_hash = "{HASH}"\npassword_env = "CAROL_PASSWORD"', f"users[1]: {ONE_PASSWORD}"),
        (
            'name = "carol"\npassword_env = "CAROL_PASSWORD"',
            "users[1]: the environment variable CAROL_PASSWORD is not set",
        ),
        (
            f'name = "carol"\npassword_hash = "{HASH}"\npassword_file = "carol.password"',
            f"users[1]: {ONE_PASSWORD}",
        ),
        (
            'name = "carol"\npassword_file = 5',
            "users[1].password_file: found something else, expected a text in quotes",
        ),
        ('name = "carol"\npassword_env = 5', "users[1].password_env: found something else, expected a text in quotes"),
        (
            'name = "carol"\npassword_hash = "geheim"',
            "users[1].password_hash: expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it",
        ),
        ('name = "carol"\npassword_hash = 5', "users[1].password_hash: expected a text in quotes"),
        (
            f'name = "carol"\npassword_hash = "{HASH}"\npassword = "geheim"',
            "users[1].password: unknown key; run `chainsocks hash-password`, "
            "and paste the password_hash that it prints",
        ),
    ],
)
def test_what_a_user_cannot_be(lines: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAROL_PASSWORD", raising=False)
    assert problems(f"[[users]]\n{lines}") == [problem]


@pytest.mark.parametrize("written", ['"127.0.0.1:7"', '["127.0.0.1:7"]', '{ address = "127.0.0.1:7" }'])
def test_one_listener_may_stand_by_itself(written: str) -> None:
    assert read(f"[server]\nlisten = {written}").server.listen == (Listener(Address("127.0.0.1", 7)),)


def test_two_ports_of_the_kernels_choice_are_two() -> None:
    assert len(read('[server]\nlisten = ["127.0.0.1:0", "127.0.0.1:0"]').server.listen) == 2


@pytest.mark.parametrize("written", ["1080", '"1080"', '":1080"', '["127.0.0.1:1080"]', "{ address = 1080 }"])
def test_a_port_alone_is_one_of_this_machine_only(written: str) -> None:
    assert read(f"[server]\nlisten = {written}").server.listen == (Listener(Address("127.0.0.1", 1080)),)


@pytest.mark.parametrize("written", ['"10.0.0.0/8"', '["10.0.0.0/8"]'])
def test_a_listener_for_load_balancers(written: str) -> None:
    text = f'[server]\nopen = true\nlisten = {{ address = "127.0.0.1:1080", proxy_protocol = {written} }}'
    senders = Senders((ip_network("10.0.0.0/8"),))
    assert read(text).server.listen == (Listener(Address("127.0.0.1", 1080), proxy_protocol=senders),)


def test_the_mode_and_the_group_of_a_unix_socket() -> None:
    written = '[{ address = "unix:/s", mode = "0660", group = "www-data" }, { address = "unix:/t", group = 33 }]'
    expected = (Listener(UnixPath("/s"), mode=0o660, group="www-data"), Listener(UnixPath("/t"), group="33"))
    assert read(f"[server]\nlisten = {written}").server.listen == expected
