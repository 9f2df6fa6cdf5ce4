"""What may stand under each key of the file, and what is said when something else does."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest

from chainsocks.config.chains import Chain, Udp
from chainsocks.config.hops import Hop, HopProtocol, Isolate, NamesOnly, Pipeline, Resolve, parse_hop_url
from chainsocks.config.models import Ident, Server, Timeouts, UnixPath
from chainsocks.config.passwords import HashedPassword, PlainPassword
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UserId, UsernamePassword
from tests.config.files import NOT_POSITIVE, problems, read

SOCKS4, SOCKS4A, SOCKS5 = HopProtocol
HASH = "scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA"

# --- [server] ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "server"),
    [
        ("", Server()),
        ('listen = ["[::1]:1081"]', Server(listen=(Address("::1", 1081),))),
        (
            'listen = ["127.0.0.1:1080", "unix:/run/x"]',
            Server(listen=(Address("127.0.0.1", 1080), UnixPath("/run/x"))),
        ),
        ("workers = 0", Server(workers=0)),
        ("workers = 8", Server(workers=8)),
        ("workers = 8\nmax_sessions = 8", Server(workers=8, max_sessions=8)),
        ('ident = "require"', Server(ident=Ident.REQUIRE)),
        ('bind_address = "203.0.113.7"', Server(bind_address=ip_address("203.0.113.7"))),
        ('bind_address = "2001:db8::7"', Server(bind_address=ip_address("2001:db8::7"))),
        ("workers = 0\nmax_sessions = 1", Server(workers=0, max_sessions=1)),
        ("max_sessions = 1", Server(max_sessions=1)),
        ("open = true", Server(open=True)),
        ('listen = [{ address = "unix:/run/x" }]', Server(listen=(UnixPath("/run/x"),))),
        (
            'listen = ["127.0.0.1:1080", { address = "127.0.0.1:1081", names_only = "refuse" }]',
            Server(
                listen=(Address("127.0.0.1", 1080), Address("127.0.0.1", 1081)),
                names_only={Address("127.0.0.1", 1081): NamesOnly.REFUSE},
            ),
        ),
        ("open = false", Server(open=False)),
        ('udp_address = "203.0.113.1"', Server(udp_address=ip_address("203.0.113.1"))),
        ('udp_address = "2001:DB8:0::1"', Server(udp_address=ip_address("2001:db8::1"))),
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
        ("lisen = []", "server.lisen: unknown key; did you mean 'listen'?"),
        (
            "port = 1",
            "server.port: unknown key; "
            "known are bind_address, gssapi, gssapi_keytab, gssapi_principals, gssapi_required, gssapi_services, "
            "ident, listen, max_sessions, open, udp_address, udp_ports, workers",
        ),
        ("bind_address = 7", "server.bind_address: expected a text in quotes"),
        (
            'bind_address = "203.0.113.7:80"',
            "server.bind_address: found '203.0.113.7:80', expected an IP address without a port",
        ),
        (
            'bind_address = "0.0.0.0"',
            "server.bind_address: found '0.0.0.0', expected an address that others can connect to",
        ),
        ("listen = []", "server.listen: expected at least one entry"),
        (
            'listen = "127.0.0.1:1080"',
            "server.listen: found '127.0.0.1:1080', expected a list, in square brackets",
        ),
        ("listen = [1080]", "server.listen[0]: expected a text in quotes"),
        (
            'listen = ["127.0.0.1:1080", "[::1]"]',
            "server.listen[1]: '[::1]': a port is missing, as in example.org:1080",
        ),
        (
            'listen = [{ address = "127.0.0.1", names_only = "refuse" }]',
            "server.listen[0].address: '127.0.0.1': a port is missing, as in example.org:1080",
        ),
        ('listen = [{ names_only = "warn" }]', "server.listen[0].address: this key is missing"),
        (
            'listen = [{ address = "[::1]:1080", names_onyl = "warn" }]',
            "server.listen[0].names_onyl: unknown key; did you mean 'names_only'?",
        ),
        (
            'listen = [{ address = "[::1]:1080", names_only = "refues" }]',
            "server.listen[0].names_only: found 'refues', expected 'off' or 'warn' or 'refuse'; did you mean 'refuse'?",
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


# --- [hops] -----------------------------------------------------------------------------------------------------------

PARIS = Address("paris.example", 1080)


@pytest.mark.parametrize(
    ("written", "hop"),
    [
        pytest.param(
            '"socks5://alice:secret@paris.example"',
            Hop("x", SOCKS5, PARIS, UsernamePassword(b"alice", b"secret")),
            id="URL",
        ),
        pytest.param('{ url = "socks4a://paris.example" }', Hop("x", SOCKS4A, PARIS), id="URL in a table"),
        pytest.param(
            '{ url = "socks4://fred@paris.example", timeout = "1m", resolve = "local" }',
            Hop("x", SOCKS4, PARIS, UserId(b"fred"), 60, Resolve.LOCAL),
            id="URL and more",
        ),
        pytest.param(
            '{ url = "socks5://paris.example", pipeline = "hop" }',
            Hop("x", SOCKS5, PARIS, pipeline=Pipeline.HOP),
            id="URL, pipelined",
        ),
        pytest.param('{ protocol = "socks5", address = "paris.example" }', Hop("x", SOCKS5, PARIS), id="parts"),
        pytest.param(
            '{ protocol = "socks5", address = "[::1]:9050" }', Hop("x", SOCKS5, Address("::1", 9050)), id="IPv6"
        ),
        pytest.param(
            '{ protocol = "socks4a", address = "paris.example:1080", user_id = "fréd", timeout = 5 }',
            Hop("x", SOCKS4A, PARIS, UserId("fréd".encode()), 5),
            id="parts of socks4a",
        ),
        pytest.param(
            '{ protocol = "socks4", address = "paris.example", user_id = "" }',
            Hop("x", SOCKS4, PARIS, UserId(b"")),
            id="empty user id",
        ),
        pytest.param(
            '{ protocol = "socks5", address = "paris.example", username = "b@b", password = "s:%20@" }',
            Hop("x", SOCKS5, PARIS, UsernamePassword(b"b@b", b"s:%20@")),
            id="login as it is",
        ),
        pytest.param(
            '{ protocol = "socks5", address = "paris.example", username = "bob", password_env = "LIMA_PASSWORD" }',
            Hop("x", SOCKS5, PARIS, UsernamePassword(b"bob", b"geheim")),
            id="password from the environment",
        ),
        pytest.param(
            '{ url = "socks5://paris.example", timeout = "off" }',
            Hop("x", SOCKS5, PARIS, None, math.inf),
            id="no limit",
        ),
        pytest.param(
            '{ url = "socks5://paris.example", resolve = "remote" }', Hop("x", SOCKS5, PARIS), id="remote, said aloud"
        ),
        pytest.param('{ url = "socks5://paris.example", tor = true }', Hop("x", SOCKS5, PARIS, tor=True), id="tor"),
        *(
            pytest.param(
                f'{{ url = "socks5://paris.example", isolate = "{isolate}" }}',
                Hop("x", SOCKS5, PARIS, isolate=isolate),
                id=f"isolate-{isolate}",
            )
            for isolate in Isolate
        ),
    ],
)
def test_a_hop(written: str, hop: Hop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMA_PASSWORD", "geheim")
    assert read(f"[hops]\nx = {written}").hops == {"x": hop}


ADDRESS = 'address = "paris.example"'
SOCKS5_HOP = f'protocol = "socks5", {ADDRESS}'


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('"sock5://paris.example"', "hops.x: unknown scheme 'sock5'; did you mean 'socks5'?"),
        ('{ url = "sock5://paris.example" }', "hops.x.url: unknown scheme 'sock5'; did you mean 'socks5'?"),
        ("{ url = 5 }", "hops.x.url: expected a text in quotes"),
        ("5", "hops.x: expected a URL or a table, found 5"),
        ("[]", "hops.x: expected a URL or a table, found a list"),
        ("{}", "hops.x: expected a url, or both protocol and address"),
        ("{ timeout = 5 }", "hops.x: expected a url, or both protocol and address"),
        (f"{{ {ADDRESS} }}", "hops.x: expected a url, or both protocol and address"),
        ('{ protocol = "socks5" }', "hops.x: expected a url, or both protocol and address"),
        (
            f'{{ protocol = "socks", {ADDRESS} }}',
            "hops.x.protocol: found 'socks', expected 'socks4' or 'socks4a' or 'socks5'; did you mean 'socks5'?",
        ),
        (
            f'{{ protocol = "http", {ADDRESS} }}',
            "hops.x.protocol: found 'http', expected 'socks4' or 'socks4a' or 'socks5'",
        ),
        (
            f"{{ protocol = 0x{'f' * 5000}, {ADDRESS} }}",
            "hops.x.protocol: found a number that is too large, expected 'socks4' or 'socks4a' or 'socks5'",
        ),
        (
            f'{{ {SOCKS5_HOP}, resolve = "locl" }}',
            "hops.x.resolve: found 'locl', expected 'remote' or 'local'; did you mean 'local'?",
        ),
        (
            f'{{ {SOCKS5_HOP}, pipeline = "hopp" }}',
            "hops.x.pipeline: found 'hopp', expected 'off' or 'hop' or 'chain'; did you mean 'hop'?",
        ),
        (f'{{ {SOCKS5_HOP}, timeout = "0s" }}', f"hops.x.timeout: found '0s', {NOT_POSITIVE}"),
        (f"{{ {SOCKS5_HOP}, user = 5 }}", "hops.x.user: unknown key; did you mean 'user_id'?"),
        (f'{{ {SOCKS5_HOP}, pasword = "x" }}', "hops.x.pasword: unknown key; did you mean 'password'?"),
        (
            '{ protocol = "socks5", address = "bob:geheim@paris.example" }',
            "hops.x.address: a login does not stand in the address; use username and password, or a url",
        ),
        ('{ protocol = "socks5", address = 1080 }', "hops.x.address: expected a text in quotes"),
        (f'{{ {SOCKS5_HOP}, user_id = "fred" }}', "hops.x: user_id does not go with protocol 'socks5'"),
        (
            f'{{ protocol = "socks4a", {ADDRESS}, username = "bob", password = "geheim" }}',
            "hops.x: password, username does not go with protocol 'socks4a'",
        ),
        (
            f'{{ protocol = "socks4", {ADDRESS}, password_env = "LIMA_PASSWORD" }}',
            "hops.x: password_env does not go with protocol 'socks4'",
        ),
        (
            f'{{ {SOCKS5_HOP}, username = "bob", password = "x", password_env = "LIMA_PASSWORD" }}',
            "hops.x: password and password_env exclude each other",
        ),
        (
            f'{{ {SOCKS5_HOP}, username = "bob", password_env = "LIMA_PASSWORD" }}',
            "hops.x: the environment variable LIMA_PASSWORD is not set",
        ),
        (f'{{ {SOCKS5_HOP}, username = "bob" }}', "hops.x: a username needs a password"),
        (f'{{ {SOCKS5_HOP}, password = "geheim" }}', "hops.x: a password needs a username"),
        (f"{{ {SOCKS5_HOP}, username = 5 }}", "hops.x.username: found something else, expected a text in quotes"),
        (f"{{ {SOCKS5_HOP}, password = 5 }}", "hops.x.password: found something else, expected a text in quotes"),
        (
            f"{{ {SOCKS5_HOP}, password_env = 5 }}",
            "hops.x.password_env: found something else, expected a text in quotes",
        ),
        (
            f'{{ protocol = "socks4", {ADDRESS}, user_id = 5 }}',
            "hops.x.user_id: found something else, expected a text in quotes",
        ),
        (
            '{ url = "socks5://paris.example", username = "bob", password = "geheim", timeout = 5 }',
            "hops.x: the url says it already: take out password, username",
        ),
        (f'{{ {SOCKS5_HOP}, tor = "yes" }}', "hops.x.tor: found 'yes', expected true or false"),
        (
            '{ url = "socks4a://paris.example", tor = true }',
            "hops.x: tor does not go with protocol 'socks4a'; only socks5 has its commands",
        ),
        (
            '{ url = "socks4://paris.example", isolate = "session" }',
            "hops.x: isolate does not go with protocol 'socks4'; only socks5 has logins for it",
        ),
        (
            '{ url = "socks5://bob:geheim@paris.example", isolate = "session" }',
            "hops.x: isolate makes up the username and the password: take yours out",
        ),
        (
            f'{{ {SOCKS5_HOP}, isolate = "sesion" }}',
            "hops.x.isolate: found 'sesion', expected 'off' or 'session' or 'user' or 'client' or 'destination'; "
            "did you mean 'session'?",
        ),
    ],
)
def test_what_a_hop_cannot_be(written: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMA_PASSWORD", raising=False)
    assert problems(f"[hops]\nx = {written}") == [problem]


# --- [chains] ---------------------------------------------------------------------------------------------------------

HOPS = '[hops]\nparis = "socks5://paris.example"\ntor = "socks5://127.0.0.1:9050"\nold = "socks4a://[::1]"\n'
PARIS_HOP, TOR_HOP = parse_hop_url("socks5://paris.example", "paris"), parse_hop_url("socks5://127.0.0.1:9050", "tor")


@pytest.mark.parametrize(
    ("written", "chain"),
    [
        ('["paris"]', Chain(PARIS_HOP, name="x")),
        ('["tor", "paris"]', Chain(TOR_HOP, PARIS_HOP, name="x")),
        ('["tor", "tor"]', Chain(TOR_HOP, TOR_HOP, name="x")),
        (
            '{ hops = ["tor", "paris"], dial = 90, udp = "refuse" }',
            Chain(TOR_HOP, PARIS_HOP, name="x", dial=90, udp=Udp.REFUSE),
        ),
        (
            '{ hops = ["tor"], names_only = "warn" }',
            Chain(TOR_HOP, name="x", names_only=NamesOnly.WARN),
        ),
        ('{ hops = ["tor", "paris"], udp = "nested" }', Chain(TOR_HOP, PARIS_HOP, name="x")),
        ('{ hops = ["tor"], pipeline = "chain" }', Chain(TOR_HOP, name="x", pipeline=Pipeline.CHAIN)),
        ('{ hops = ["tor"], dial = "off" }', Chain(TOR_HOP, name="x", dial=math.inf)),
        ('{ hops = ["tor"], resolver = "9.9.9.9" }', Chain(TOR_HOP, name="x", resolver=Address("9.9.9.9", 53))),
    ],
)
def test_a_chain(written: str, chain: Chain) -> None:
    assert read(f"{HOPS}[chains]\nx = {written}").chains == {"x": chain}


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", "chains.x: expected at least one entry"),
        ("{ hops = [] }", "chains.x.hops: expected at least one entry"),
        ("{ dial = 5 }", "chains.x.hops: this key is missing"),
        ('"paris"', "chains.x: expected a list of hop names or a table, found a text"),
        ('{ hops = "paris" }', "chains.x.hops: found 'paris', expected a list, in square brackets"),
        ("[5]", "chains.x[0]: found 5, expected a text in quotes"),
        ('{ hops = ["paris", 5] }', "chains.x.hops[1]: found 5, expected a text in quotes"),
        (
            '{ hops = ["paris"], names_only = true }',
            "chains.x.names_only: found true, expected 'off' or 'warn' or 'refuse'",
        ),
        ('{ hops = ["paris"], udp = "relay" }', "chains.x.udp: found 'relay', expected 'nested' or 'refuse'"),
        (
            '{ hops = ["paris"], pipeline = true }',
            "chains.x.pipeline: found true, expected 'off' or 'hop' or 'chain'",
        ),
        ('{ hops = ["paris"], dial = 0 }', f"chains.x.dial: found 0, {NOT_POSITIVE}"),
        ('{ hops = ["paris"], hop = 5 }', "chains.x.hop: unknown key; did you mean 'hops'?"),
        (
            '{ hops = ["paris", "old"], udp = "nested" }',
            "chains.x.udp: hop old speaks socks4a, and only socks5 carries UDP; use 'refuse'",
        ),
        ('{ hops = ["paris"], resolver = 53 }', "chains.x.resolver: expected a text in quotes"),
        (
            '{ hops = ["paris"], resolver = "9.9.9.9:0" }',
            "chains.x.resolver: found '9.9.9.9:0', expected a port in 1..65535",
        ),
        (
            '{ hops = ["paris", "old"], resolver = "[2620:fe::fe]" }',
            "chains.x.resolver: socks4a cannot carry the IPv6 address of [2620:fe::fe]:53; only socks5 can",
        ),
        ('["pariss"]', "chains.x[0]: no hop or group is called 'pariss'; did you mean 'paris'?"),
        ('{ hops = ["paris", "rot"] }', "chains.x.hops[1]: no hop or group is called 'rot'; known are old, paris, tor"),
    ],
)
def test_what_a_chain_cannot_be(written: str, problem: str) -> None:
    assert problems(f"{HOPS}[chains]\nx = {written}") == [problem]


def test_a_resolver_takes_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.message", None)
    why = "this takes more than is installed: pip install 'chainsocks[dns]'"
    assert problems(f'{HOPS}[chains]\nx = {{ hops = ["paris"], resolver = "9.9.9.9" }}') == [
        f"chains.x.resolver: {why}"
    ]
    with pytest.raises(ValueError, match=re.escape(why)):
        Chain("socks5://paris.example", resolver=Address("9.9.9.9", 53))


# --- [[users]] --------------------------------------------------------------------------------------------------------


def test_a_user_with_a_hash() -> None:
    (user,) = read(f'[[users]]\nname = "carol"\npassword_hash = "{HASH}"').users
    assert (user.name, user.password) == ("carol", HashedPassword(16, 8, 1, bytes(3), bytes(16)))


def test_a_user_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROL_PASSWORD", "geheim")
    (user,) = read('[[users]]\nname = "carol"\npassword_env = "CAROL_PASSWORD"').users
    assert (user.name, user.password) == ("carol", PlainPassword(b"geheim"))


def test_a_user_of_the_longest_name() -> None:
    name = "é" * 127 + "x"
    (user,) = read(f'[[users]]\nname = "{name}"\npassword_hash = "{HASH}"').users
    assert user.name == name


ONE_PASSWORD = "expected either password_hash (see `chainsocks hash-password`) or password_env"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (f'password_hash = "{HASH}"', "users[0].name: this key is missing"),
        (f'name = ""\npassword_hash = "{HASH}"', "users[0].name: a name has 1 to 255 bytes, this one has 0"),
        (
            f'name = "{"é" * 128}"\npassword_hash = "{HASH}"',
            "users[0].name: a name has 1 to 255 bytes, this one has 256",
        ),
        (f'name = 5\npassword_hash = "{HASH}"', "users[0].name: found 5, expected a text in quotes"),
        ('name = "carol"', f"users[0]: {ONE_PASSWORD}"),
        (f'name = "carol"\npassword_hash = "{HASH}"\npassword_env = "CAROL_PASSWORD"', f"users[0]: {ONE_PASSWORD}"),
        (
            'name = "carol"\npassword_env = "CAROL_PASSWORD"',
            "users[0]: the environment variable CAROL_PASSWORD is not set",
        ),
        ('name = "carol"\npassword_env = 5', "users[0].password_env: found something else, expected a text in quotes"),
        (
            'name = "carol"\npassword_hash = "geheim"',
            "users[0].password_hash: expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it",
        ),
        ('name = "carol"\npassword_hash = 5', "users[0].password_hash: expected a text in quotes"),
        (
            f'name = "carol"\npassword_hash = "{HASH}"\npassword = "geheim"',
            "users[0].password: unknown key; did you mean 'password_env'?",
        ),
    ],
)
def test_what_a_user_cannot_be(lines: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAROL_PASSWORD", raising=False)
    assert problems(f"[[users]]\n{lines}") == [problem]
