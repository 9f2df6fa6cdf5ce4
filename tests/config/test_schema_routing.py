"""``[hops]`` and ``[chains]``: what they become, and what they cannot be. Rules have a file of their own."""

from __future__ import annotations

import math
import re
import sys

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Isolate, NamesOnly, Pipeline, Resolve, Udp, UdpRelay
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UserId, UsernamePassword
from tests.config.files import NOT_POSITIVE, problems, read

SOCKS4, SOCKS4A, SOCKS5, HTTP = HopProtocol
HASH = "scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA"

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
            '{ protocol = "socks5", address = "paris.example", username = "token", password = "" }',
            Hop("x", SOCKS5, PARIS, UsernamePassword(b"token", b"")),
            id="empty password",
        ),
        pytest.param(
            '{ protocol = "socks5", address = "paris.example", username = "", password = "token" }',
            Hop("x", SOCKS5, PARIS, UsernamePassword(b"", b"token")),
            id="empty username",
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
        pytest.param(
            '{ url = "socks5://paris.example", udp_relay = "reported" }',
            Hop("x", SOCKS5, PARIS, udp_relay=UdpRelay.REPORTED),
            id="relay as reported",
        ),
        pytest.param(
            '{ url = "socks5://paris.example", udp_relay = "192.0.2.1" }',
            Hop("x", SOCKS5, PARIS, udp_relay=Address("192.0.2.1", 0)),
            id="relay at an address",
        ),
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
            "hops.x.protocol: found 'socks', expected 'socks4' or 'socks4a' or 'socks5' or 'http'; "
            "did you mean 'socks5'?",
        ),
        (
            f'{{ protocol = "ssh", {ADDRESS} }}',
            "hops.x.protocol: found 'ssh', expected 'socks4' or 'socks4a' or 'socks5' or 'http'",
        ),
        (
            f"{{ protocol = 0x{'f' * 5000}, {ADDRESS} }}",
            "hops.x.protocol: found a number that is too large, expected 'socks4' or 'socks4a' or 'socks5' or 'http'",
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
        (
            f"{{ {SOCKS5_HOP}, user = 5 }}",
            "hops.x.user: unknown key; did you mean 'username' (socks5 and http) or 'user_id' (socks4 and socks4a)?",
        ),
        (
            f'{{ {SOCKS5_HOP}, username = "bob", pasword = "x" }}',
            "hops.x.pasword: unknown key; did you mean 'password'?",
        ),
        (
            '{ protocol = "socks5", address = "bob:geheim@paris.example" }',
            "hops.x.address: an address cannot contain a login; use username and password, or a url",
        ),
        ('{ protocol = "socks5", address = 1080 }', "hops.x.address: expected a text in quotes"),
        (
            f'{{ {SOCKS5_HOP}, udp_relay = "example.org" }}',
            'hops.x.udp_relay: expected "hop", "reported", or an IP address such as 192.0.2.1 or 192.0.2.1:1080',
        ),
        (
            f'{{ protocol = "socks4a", {ADDRESS}, udp_relay = "reported" }}',
            "hops.x: udp_relay cannot be used with protocol 'socks4a'; only socks5 carries UDP",
        ),
        (f'{{ {SOCKS5_HOP}, user_id = "fred" }}', "hops.x: user_id cannot be used with protocol 'socks5'"),
        (
            f'{{ protocol = "socks4a", {ADDRESS}, username = "bob", password = "geheim" }}',
            "hops.x: password, username cannot be used with protocol 'socks4a'",
        ),
        (
            f'{{ protocol = "socks4", {ADDRESS}, password_env = "LIMA_PASSWORD" }}',
            "hops.x: password_env cannot be used with protocol 'socks4'",
        ),
        (
            f'{{ {SOCKS5_HOP}, username = "bob", password = "x", password_env = "LIMA_PASSWORD" }}',
            "hops.x: password and password_env cannot be set together",
        ),
        (
            f'{{ {SOCKS5_HOP}, username = "bob", password_env = "LIMA_PASSWORD", password_file = "x" }}',
            "hops.x: password_env and password_file cannot be set together",
        ),
        (
            f'{{ protocol = "socks4", {ADDRESS}, password_file = "x" }}',
            "hops.x: password_file cannot be used with protocol 'socks4'",
        ),
        (
            f'{{ {SOCKS5_HOP}, username = "bob", password_env = "LIMA_PASSWORD" }}',
            "hops.x: the environment variable LIMA_PASSWORD is not set",
        ),
        (f'{{ {SOCKS5_HOP}, username = "bob" }}', 'hops.x: a username needs a password, which may be empty: ""'),
        (f'{{ {SOCKS5_HOP}, password = "geheim" }}', 'hops.x: a password needs a username, which may be empty: ""'),
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
            "hops.x: the url contains these already: remove password, username",
        ),
        (f'{{ {SOCKS5_HOP}, tor = "yes" }}', "hops.x.tor: found 'yes', expected true or false"),
        (
            '{ url = "socks4a://paris.example", tor = true }',
            "hops.x: tor cannot be used with protocol 'socks4a'; only socks5 has its commands",
        ),
        (
            '{ url = "socks4://paris.example", isolate = "session" }',
            "hops.x: isolate cannot be used with protocol 'socks4'; only socks5 has logins for it",
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
        ('"direct"', Chain(name="x")),
        ('{ hops = "direct", dial = 5, udp = "refuse" }', Chain(name="x", dial=5, udp=Udp.REFUSE)),
        ('{ hops = ["tor", "paris"], udp = "nested" }', Chain(TOR_HOP, PARIS_HOP, name="x")),
        ('{ hops = ["tor"], pipeline = "chain" }', Chain(TOR_HOP, name="x", pipeline=Pipeline.CHAIN)),
        ('{ hops = ["tor"], warm = 2 }', Chain(TOR_HOP, name="x", warm=2, warm_idle=60, warm_age=300)),
        (
            '{ hops = ["tor"], warm = 1, warm_idle = "5m", warm_age = "off" }',
            Chain(TOR_HOP, name="x", warm=1, warm_idle=300, warm_age=math.inf),
        ),
        ('{ hops = ["tor"], warm = 0 }', Chain(TOR_HOP, name="x")),
        ('{ hops = ["tor"], send_proxy = true }', Chain(TOR_HOP, name="x", send_proxy=True)),
        ('{ hops = "direct", send_proxy = true }', Chain(name="x", send_proxy=True)),
        ('{ hops = ["tor"], dial = "off" }', Chain(TOR_HOP, name="x", dial=math.inf)),
        ('{ hops = ["tor"], resolver = "9.9.9.9" }', Chain(TOR_HOP, name="x", resolver=Address("9.9.9.9", 53))),
    ],
)
def test_a_chain(written: str, chain: Chain) -> None:
    assert read(f"{HOPS}[chains]\nx = {written}").chains == {"x": chain}


NO_HOP = 'expected at least one hop; to go without hops, write "direct" in place of the list'


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", f"chains.x: {NO_HOP}"),
        ("{ hops = [] }", f"chains.x.hops: {NO_HOP}"),
        ("{ hops = [], dial = 5 }", f"chains.x.hops: {NO_HOP}"),
        ("{ dial = 5 }", "chains.x.hops: this key is missing"),
        ('"paris"', 'chains.x: expected a list of hop names, a table, or "direct", found a text'),
        ('"Direct"', 'chains.x: expected a list of hop names, a table, or "direct", found a text'),
        (
            '{ hops = "paris" }',
            'chains.x.hops: found a text, expected a list of hop names, in square brackets, or "direct"',
        ),
        (
            '["direct"]',
            'chains.x[1]: "direct" is no hop: to go without hops, write "direct" in place of the list',
        ),
        (
            '{ hops = ["paris", "direct"] }',
            'chains.x.hops[2]: "direct" is no hop: to go without hops, write "direct" in place of the list',
        ),
        *(
            (f'{{ hops = "direct", {key} = {value} }}', f"chains.x: {key} cannot be used in a chain without hops")
            for key, value in (("resolver", '"9.9.9.9"'), ("hedge", 1), ("skip_dead", "true"), ("pipeline", '"hop"'))
        ),
        ('{ hops = "direct", warm = 2 }', "chains.x: warm cannot be used in a chain without hops"),
        ('{ hops = ["paris"], send_proxy = 1 }', "chains.x.send_proxy: found 1, expected true or false"),
        ('{ hops = ["paris"], warm = -1 }', "chains.x.warm: found -1, expected at least 0"),
        ('{ hops = ["paris"], warm = 1001 }', "chains.x.warm: found 1001, expected at most 1000"),
        ('{ hops = ["paris"], warm = true }', "chains.x.warm: found true, expected a whole number"),
        ('{ hops = ["paris"], warm_idle = 5 }', "chains.x: warm_idle needs warm, as in warm = 2"),
        ('{ hops = ["paris"], warm = 0, warm_age = 5 }', "chains.x: warm_age needs warm, as in warm = 2"),
        (
            '{ hops = ["paris"], warm_age = 5, warm_idle = 5 }',
            "chains.x: warm_age, warm_idle need warm, as in warm = 2",
        ),
        ('{ hops = ["paris"], warm = 1, warm_age = 0 }', f"chains.x.warm_age: found 0, {NOT_POSITIVE}"),
        ("[5]", "chains.x[1]: found 5, expected a text in quotes"),
        ('{ hops = ["paris", 5] }', "chains.x.hops[2]: found 5, expected a text in quotes"),
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
            "chains.x.resolver: socks4a cannot carry the IPv6 address of [2620:fe::fe]:53; only socks5 and http can",
        ),
        ('["pariss"]', "chains.x[1]: no hop or group is called 'pariss'; did you mean 'paris'?"),
        ('{ hops = ["paris", "rot"] }', "chains.x.hops[2]: no hop or group is called 'rot'; known are old, paris, tor"),
    ],
)
def test_what_a_chain_cannot_be(written: str, problem: str) -> None:
    assert problems(f"{HOPS}[chains]\nx = {written}") == [problem]


def test_a_resolver_takes_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.message", None)
    why = "this needs the extra dns, which is not installed: pip install '.[dns]' in the folder with pyproject.toml"
    assert problems(f'{HOPS}[chains]\nx = {{ hops = ["paris"], resolver = "9.9.9.9" }}') == [
        f"chains.x.resolver: {why}"
    ]
    with pytest.raises(ValueError, match=re.escape(why)):
        Chain("socks5://paris.example", resolver=Address("9.9.9.9", 53))
