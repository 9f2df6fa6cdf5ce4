"""`chainsocks check`: what a file without problems means, and every problem of one that has some."""

from __future__ import annotations

import io
from ipaddress import ip_address
from pathlib import Path
from textwrap import dedent

import pytest
from rich.console import Console

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Resolve
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config, Server, ServerGssapi
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.tools.check import show_config
from chainsocks.tools.warnings import warnings
from tests.commands import run_main, run_program

GOOD = """
[server]
listen = ["127.0.0.1:1081", "[::1]:1081", "unix:/run/chainsocks.sock"]
bind_address = "203.0.113.7"
ident = "check"

[limits]
sessions_per_client = 200
new_per_second = 2.5
trusted = ["10.0.0.0/8", "unix:/run/chainsocks.sock"]

[timeouts]
idle = "1m30s"
bind = "off"
hop = 0.5

[hops]
paris = "socks5://alice:hunter2@10.0.0.1:1080"
osaka = { protocol = "socks4a", address = "osaka.example:1080", user_id = "fred", timeout = 5 }
lima = { protocol = "socks5", address = "[2001:db8::1]:1080", resolve = "local" }
tor = { url = "socks5://127.0.0.1:9050", tor = true, isolate = "destination" }

[chains]
default = ["paris", "lima", "osaka"]
slow = { hops = ["osaka"], dial = "off" }
onion = ["tor"]
names = { hops = ["osaka"], resolver = "9.9.9.9" }

[[users]]
name = "carol"
password_hash = "scrypt:16384:8:1:Ts0zvk-LykGf9gEhELPRXA:8sijjYQnHe8f-WOYjQYm9PtEyj1TA8S4343NtRW6jWM"
"""

MEANING = """\
listen: 127.0.0.1:1081, [::1]:1081, unix:/run/chainsocks.sock
users: carol
udp: any port at the address that the client connected to
bind_address: 203.0.113.7
ident: check
limits: sessions_per_client 200, new_per_second 2.5, trusted 10.0.0.0/8 unix:/run/chainsocks.sock

chain    hop      protocol  address             seconds
default  1 paris  socks5    10.0.0.1:1080           0.5  with login
         2 lima   socks5    [2001:db8::1]:1080      0.5  names resolved locally
         3 osaka  socks4a   osaka.example:1080        5  with login
         total                                       30  no UDP
slow     1 osaka  socks4a   osaka.example:1080        5  with login
         total                                      off  no UDP
onion    1 tor    socks5    127.0.0.1:9050          0.5  supports RESOLVE, isolated by destination
         total                                       30
names    1 osaka  socks4a   osaka.example:1080        5  with login
         total                                       30  no UDP, resolver 9.9.9.9:53

deadline        seconds
handshake            10
proxy_protocol        5
ident                 5
resolve               5
connect              10
hop                 0.5
dial                 30
reply                 5
idle                 90
half_close           60
next_request         60
bind                off
udp_idle            120
grace                10
"""

SEVEN_MISTAKES = """
[server]
lisen = ["127.0.0.1:1081"]

[timeouts]
hop = -1

[hops]
paris = "socks5://alice:hunter2@10.0.0.1:99999"
osaka = "sock5://bob:hunter2@10.0.0.2"
lima = { protocol = "socks4", address = "10.0.0.3:1080", username = "dave", password = "hunter2" }

[chains]
default = ["pari"]

[[users]]
name = "carol"
password_hash = "hunter2"
"""

COMPLAINTS = [
    "server.lisen: unknown key; did you mean 'listen'?",
    'timeouts.hop: found -1, expected more than 0 seconds; "off" disables it',
    "hops.paris: expected host:port, as in example.org:1080 or [::1]:1080, with a name of at most 255 bytes and a port "
    "in 1..65535; a login stands before an @, or under keys of its own",
    "hops.osaka: unknown scheme 'sock5'; did you mean 'socks5'?",
    "hops.lima: password, username cannot be used with protocol 'socks4'",
    "chains.default[1]: no hop or group is called 'pari'; did you mean 'paris'?",
    "users[1].password_hash: expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it",
]

SECRETS = ["hunter2", "alice", "fred", "scrypt:16384"]


def shown(config: Config) -> str:
    """What `show_config` prints; spaces at the ends of lines do not count."""
    output = io.StringIO()
    show_config(config, Console(file=output, width=1000, markup=False, emoji=False, highlight=False))
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def write(folder: Path, text: str) -> Path:
    path = folder / "chainsocks.toml"
    path.write_text(dedent(text))
    return path


def test_gssapi_is_shown() -> None:
    rule = ServerGssapi(Protection.CONFIDENTIALITY, principals=("carol@EXAMPLE.ORG", "*@STAFF"))
    server = Server(gssapi=rule)
    ways = [Gssapi(Protection.NONE), Gssapi(service="socks", host="inner.example")]
    hops = [Hop(f"h{n}", HopProtocol.SOCKS5, Address("h", n), login) for n, login in enumerate(ways, 1)]
    output = shown(Config(server, chains={"default": Chain(*hops)}))
    assert "users: none\ngssapi: required; carol@EXAMPLE.ORG, *@STAFF; for rcmd or socks; " in output
    assert "; protection: confidentiality at least\n" in output
    assert " GSSAPI login to rcmd@h, protection: none\n" in output
    assert " GSSAPI login to socks@inner.example, protection: integrity\n" in output
    server = Server(gssapi=ServerGssapi(required=False))
    output = shown(Config(server))
    assert "users: none, no login is required\ngssapi: not required; all principals; for rcmd or socks" in output


def test_a_configuration_is_shown_with_every_limit_and_no_secret() -> None:
    output = shown(parse_config(GOOD))
    assert output == MEANING
    assert not [secret for secret in SECRETS if secret in output]


@pytest.mark.parametrize(
    ("server", "line"),
    [
        (Server(udp_ports=range(40_000, 40_101)), "ports 40000-40100 at the address that the client connected to"),
        (Server(udp_address=ip_address("203.0.113.1")), "any port at 203.0.113.1"),
    ],
)
def test_where_datagrams_go_is_shown(server: Server, line: str) -> None:
    assert f"\nudp: {line}\n" in shown(Config(server))


def test_a_chain_of_socks5_hops_carries_udp_unless_it_says_otherwise() -> None:
    hop = 'paris = "socks5://10.0.0.1"\n'
    assert "no UDP" not in shown(parse_config(f'[hops]\n{hop}[chains]\ndefault = ["paris"]'))
    assert "no UDP" in shown(parse_config(f'[hops]\n{hop}[chains]\ndefault = {{ hops = ["paris"], udp = "refuse" }}'))


def test_rules_are_shown_between_chains_and_deadlines() -> None:
    output = shown(parse_config(GOOD + "[[rules]]\nto = '*.lan'\nchain = 'direct'\n"))
    table = "rule  to     ports  from  other conditions  action\n1     *.lan  any    any                     direct\n"
    assert f"resolver 9.9.9.9:53\n\n{table}none  any    any    any                     default\n\ndeadline " in output


def test_who_wants_names_is_shown() -> None:
    output = shown(
        parse_config(
            "[server]\nlisten = ['127.0.0.1:1080', { address = '[::1]:1080', names_only = 'refuse', chain = 'direct' }]"
            "\n[hops]\ntor = 'socks5://10.0.0.1'\n[chains]\ndefault = { hops = ['tor'], names_only = 'warn' }\n"
        )
    )
    assert output.startswith("listen: 127.0.0.1:1080, [::1]:1080 (names_only = refuse, chain direct)\n")
    assert "  30  names_only = warn\n" in output


def test_with_rules_there_need_be_no_default() -> None:
    text = "[hops]\ntor = 'socks5://10.0.0.1'\n[chains]\nonion = ['tor']\n"
    assert warnings(parse_config(text)) == ['no chain is called "default": every request will be refused']
    assert warnings(parse_config(text + "[[rules]]\nto = '*.onion'\nchain = 'onion'\n")) == []


def test_without_a_chain_the_way_is_direct() -> None:
    lines = shown(Config()).splitlines()
    assert lines[:2] == ["listen: 127.0.0.1:1080", "users: none, no login is required"]
    assert [line.split() for line in lines[4:6]] == [
        ["chain", "hop", "protocol", "address", "seconds"],
        ["direct", "none", "30"],
    ]


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in brackets or between colons is neither a colour nor a picture."""
    path = write(tmp_path, '[hops]\n"[/b]:smile:" = "socks5://10.0.0.1"\n[chains]\n"[red]default" = ["[/b]:smile:"]')
    status, out, err = run_main(capsys, "check", path)
    assert status == 0
    assert "1 [/b]:smile:" in out
    assert "[red]default" in out
    assert err == 'warning: no chain is called "default": every request will be refused\n'


def test_names_cannot_write_to_the_terminal() -> None:
    config = Config(
        Server(listen=(Listener(UnixPath("/tmp/\x1b[2J")),)),
        hops={"\x1b[31m": Hop("\x1b[31m", HopProtocol.SOCKS5, Address("10.0.0.1", 1080))},
        chains={"a\rb": Chain(Hop("\x1b[32m", HopProtocol.SOCKS5, Address("10.0.0.1", 1080)), name="a\rb")},
    )
    assert len(warnings(config)) == 2
    for text in (shown(config), *warnings(config)):
        assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("columns", ["20", "80", "300"])
def test_no_terminal_is_too_narrow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Nothing is cut off or broken, so that it can be copied, and searched for."""
    monkeypatch.setenv("COLUMNS", columns)
    status, out, err = run_main(capsys, "check", write(tmp_path, GOOD))
    assert (status, err) == (0, "")
    assert "".join(f"{line.rstrip()}\n" for line in out.splitlines()) == MEANING


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(Config(), [], id="direct"),
        pytest.param(parse_config(GOOD), [], id="good"),
        pytest.param(
            Config(
                hops={"a": Hop("a", HopProtocol.SOCKS5, Address("10.0.0.1", 1), resolve=Resolve.LOCAL)},
                chains={"onion": Chain("socks5://10.0.0.2", name="onion")},
            ),
            ['no chain is called "default": every request will be refused', "hop a is in no chain"],
            id="both",
        ),
    ],
)
def test_warnings(config: Config, expected: list[str]) -> None:
    assert warnings(config) == expected


def test_seven_mistakes_are_all_reported_at_once(tmp_path: Path) -> None:
    status, out, err = run_program(tmp_path, "check", write(tmp_path, SEVEN_MISTAKES))
    assert (status, out) == (2, "")
    said = [*COMPLAINTS, "there may be more; mend these and check again"]  # a hop that is none is in no chain
    assert err.splitlines() == [f"chainsocks: {tmp_path}/chainsocks.toml: {each}" for each in said]
    assert not [secret for secret in SECRETS if secret in err]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_the_file_is_found_where_we_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    write(tmp_path, "[server]\nports = [1]")
    monkeypatch.chdir(tmp_path)
    status, _, err = run_main(capsys, command)
    assert status == 2
    assert err.startswith("chainsocks: chainsocks.toml: server.ports: unknown key")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(lambda path: None, "No such file or directory", id="no-file"),
        pytest.param(lambda path: path.mkdir(), "Is a directory", id="folder"),
        pytest.param(lambda path: path.write_bytes(b"\xff"), "not UTF-8 text, as TOML must be", id="binary"),
        pytest.param(
            lambda path: path.write_text("[server"),
            "not valid TOML: a ] is missing behind the name of a table (at end of document)",
            id="no-toml",
        ),
    ],
)
@pytest.mark.parametrize("command", [("check",), ("serve", "-c")], ids=["check", "serve"])
def test_a_file_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], make: object, complaint: str
) -> None:
    path = tmp_path / "chainsocks.toml"
    assert callable(make)
    make(path)
    status, out, err = run_main(capsys, *command, path)
    assert (status, out, err.splitlines()[0]) == (2, "", f"chainsocks: {path}: {complaint}")


def test_no_file_to_be_found(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainsocks.commands.check.find_config", lambda: None)
    status, out, err = run_main(capsys, "check")
    assert (status, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith("chainsocks: no configuration file: looked for ")
    assert first.endswith("/etc/chainsocks/chainsocks.toml; name it: chainsocks check FILE")
    assert second == "Try: chainsocks check --help"


def test_the_times_of_backoff_are_shown_where_they_count() -> None:
    hops = "[hops]\na = 'socks5://10.0.0.1'\nb = 'socks5://10.0.0.2'\n[health]\nrest = 7\n"
    groups = "[groups]\nexits = { hops = ['a', 'b'], pick = 'random', weights = { b = 2 }, hedge = 0.5, check = 30 }\n"
    output = shown(parse_config(f"{hops}{groups}[chains]\ndefault = ['exits']\n"))
    assert "1 exits  group     random" in output
    assert "weights 1 : 2, hedge after 0.5 s, health check every 30 s (greeting)" in output
    assert "\nhealth        seconds\nrest                7\nlongest_rest      120\n" in output
    assert "health" not in shown(parse_config(f"{hops}[chains]\ndefault = ['a', 'b']\n"))


def test_a_group_in_no_chain_is_a_warning() -> None:
    hops = "[hops]\na = 'socks5://10.0.0.1'\n[groups]\nexits = ['a']\n[chains]\ndefault = ['a']\n"
    assert warnings(parse_config(hops)) == ["group exits is in no chain"]


def test_private_places_are_shown_for_listeners_beyond_loopback() -> None:
    text = "[server]\nopen = true\nlisten = ['127.0.0.1:7', '0.0.0.0:8']\n"
    assert "private places: no direct way for clients of 0.0.0.0:8, unless a rule names them" in shown(
        parse_config(text)
    )
    assert "private places" not in shown(parse_config(text + "private = true\n"))
    assert "private places" not in shown(parse_config("[server]\nlisten = ['127.0.0.1:7']\n"))


def test_a_listener_for_load_balancers_is_shown() -> None:
    text = "[server]\nopen = true\nlisten = { address = '127.0.0.1:7', proxy_protocol = ['10.0.0.0/8'] }\n"
    output = shown(parse_config(text))
    assert "listen: 127.0.0.1:7 (PROXY protocol from 10.0.0.0/8)\n" in output
    assert "private places: no direct way for clients of 127.0.0.1:7, unless a rule names them" in output


def test_a_chain_that_tells_of_its_clients_is_shown() -> None:
    text = "[chains]\ndefault = { hops = 'direct', send_proxy = true }\n"
    assert "  30  sends a PROXY protocol header\n" in shown(parse_config(text))


PIPELINED = """
[hops]
paris = "socks5://10.0.0.1"
osaka = { url = "socks5://10.0.0.2", pipeline = "hop" }
lima  = "socks5://10.0.0.3"
kyoto = { url = "socks5://10.0.0.4", pipeline = "off" }
[groups]
exits = ["osaka", "lima", "kyoto"]
[chains]
"""


@pytest.mark.parametrize(
    ("written", "hops", "remarks"),
    [
        ('["paris", "lima"]', ["", ""], ""),
        ('["paris", "osaka"]', ["", "pipelined: hop"], "7 round trips instead of 9"),
        (
            '{ hops = ["paris", "lima"], pipeline = "chain", udp = "refuse" }',
            ["pipelined: chain", "pipelined: chain"],
            "no UDP, hops asked together: 1-2, 5 round trips instead of 9",
        ),
        (
            '{ hops = ["paris", "osaka", "kyoto", "lima", "paris"], pipeline = "chain" }',
            ["pipelined: chain", "pipelined: hop", "", "pipelined: chain", "pipelined: chain"],
            "hops asked together: 1-2 and 4-5, 19 round trips instead of 36",
        ),
        # Which of them a request uses is decided with each request.
        (
            '{ hops = ["paris", "exits"], pipeline = "chain" }',
            ["pipelined: chain", "", "pipelined: hop", "pipelined: chain", ""],
            "hops asked together depend on the route chosen",
        ),
        (
            '{ hops = ["paris", "kyoto"], pipeline = "chain", skip_dead = true }',
            ["pipelined: chain", ""],
            "dead hops are skipped, hops asked together depend on the route chosen",
        ),
        ('{ hops = ["kyoto", "paris"], skip_dead = true }', ["", ""], "dead hops are skipped"),
    ],
)
def test_pipelining_is_shown(written: str, hops: list[str], remarks: str) -> None:
    output = shown(parse_config(f"{PIPELINED}default = {written}"))
    table = output[output.index("chain    hop") : output.index("\n\ndeadline")].splitlines()
    start = table[0].index("seconds") + len("seconds")
    assert [line[start:].strip() for line in table[1:]] == [*hops, remarks]


@pytest.mark.parametrize(
    ("written", "remarks"),
    [
        (
            '{ hops = ["paris", "kyoto", "paris"], warm = 2 }',
            "up to 2 warm ways (idle after 60 s, replaced after 300 s), warm: 4 round trips instead of 16",
        ),
        (
            '{ hops = ["paris", "lima"], pipeline = "hop", warm = 1, warm_idle = "1h", warm_age = "off" }',
            "6 round trips instead of 9, up to 1 warm way (idle after 3600 s), warm: 3 round trips",
        ),
        ('{ hops = ["paris", "kyoto"], skip_dead = true, warm = 3, udp = "refuse" }', None),
    ],
)
def test_warm_ways_are_shown(written: str, remarks: str | None) -> None:
    output = shown(parse_config(f"{PIPELINED}default = {written}"))
    last = output[: output.index("\n\ndeadline")].splitlines()[-1]
    wanted = remarks or "no UDP, dead hops are skipped, up to 3 warm ways (idle after 60 s, replaced after 300 s)"
    assert last.endswith(f" {wanted}")


def test_a_warning_names_the_pipelined_hops_once() -> None:
    config = parse_config(
        f'{PIPELINED}default = ["osaka", "paris"]\nslow = {{ hops = ["lima", "osaka"], pipeline = "hop" }}'
    )
    [warning] = [line for line in warnings(config) if line.startswith("pipelining")]
    assert warning.startswith("pipelining is on for osaka, lima: through a hop that does not support it, ")
    grouped = parse_config(f'{PIPELINED}default = {{ hops = ["paris", "exits"], pipeline = "chain" }}')
    assert any(line.startswith("pipelining is on for paris, osaka, lima: ") for line in warnings(grouped))
    assert warnings(Config()) == []


def test_where_connections_leave_from_is_shown() -> None:
    text = """
        [hops]
        paris = { url = "socks5://10.0.0.1", source = ["192.0.2.5", "2001:db8::5"], mark = 7, family = "ipv4" }
        osaka = "socks5://unix:/run/tor/socks"
        [chains]
        default = { hops = ["paris"], idle = "2h", half_close = "off" }
        onion = ["osaka"]
        direct = { source = "same", interface = "eth0", udp_filter = "any" }
        [[rules]]
        chain = "direct"
        idle = 30
        """
    said = shown(parse_config(dedent(text)))
    for line in (
        "source 192.0.2.5 2001:db8::5, mark 7, family ipv4",
        "idle 7200 s, half_close off\n",
        "1 osaka  socks5    unix:/run/tor/socks",
        "source same, interface eth0, udp_filter any",
        "direct, idle = 30",
    ):
        assert line in said
