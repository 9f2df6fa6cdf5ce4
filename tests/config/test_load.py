"""The file as a whole: where it is looked for, what it means, and every mistake in it at once."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Resolve, Udp
from chainsocks.config.groups import hops_of
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.listeners import Listener, UnixPath
from chainsocks.config.load import load_config, parse_config
from chainsocks.config.models import Config, Server, Timeouts, User
from chainsocks.config.passwords import parse_hash
from chainsocks.config.schema import ServerTable, TimeoutsTable, UserTable
from chainsocks.config.schema_routing import ChainTable, HopTable
from chainsocks.config.sections import SECTIONS
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UserId, UsernamePassword
from tests.config.files import Toml, emit, problems, read, reading

SOCKS4, SOCKS4A, SOCKS5, HTTP = HopProtocol
HASH = "scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA"

# --- a file that is fine ----------------------------------------------------------------------------------------------


def test_an_empty_file_is_the_defaults() -> None:
    assert read("") == Config()


def test_empty_sections_are_the_defaults() -> None:
    assert read("users = []\n[server]\n[timeouts]\n[hops]\n[chains]") == Config()


def test_the_defaults_as_they_are_documented() -> None:
    documented = """
        [server]
        listen    = ["127.0.0.1:1080"]     # "[::1]:1080", "unix:/run/chainsocks.sock" too
        workers   = 1                      # processes that share the port; 0 = one per core
        max_sessions = 10000

        [timeouts]                         # a number of seconds, or "1m30s"; "off" disables
        handshake  = 10    # accepted .. a complete request
        resolve    = 5     # one local name lookup
        connect    = 10    # one TCP connect (first hop, or destination when direct)
        hop        = 10    # one hop's whole negotiation; a hop may set its own
        dial       = 30    # the whole chain
        reply      = 5     # delivering our reply to the client
        idle       = 300   # silence in both directions
        half_close = 60    # silence after one side has finished
        next_request = 60  # between two plain HTTP requests
        bind       = 120   # waiting for the inbound connection of a BIND
        udp_idle   = 120   # silence on a UDP association
        grace      = 10    # shutdown and reload: from signal to cancel
    """
    assert read(documented) == Config()


def test_a_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMA_PASSWORD", "geheim")
    config = read(
        f"""
        [server]
        listen = ["0.0.0.0:1080", "unix:/run/chainsocks.sock"]
        workers = 0

        [timeouts]
        idle = "1h"

        [hops]
        paris = "socks5://alice:secret@10.0.0.1:1080"
        osaka = {{ protocol = "socks4a", address = "osaka.example:1080", user_id = "fred", timeout = 5 }}
        lima  = {{ protocol = "socks5", address = "lima.example", username = "bob", password_env = "LIMA_PASSWORD" }}

        [chains]
        default = ["paris", "osaka"]
        slow    = {{ hops = ["lima", "paris"], dial = 90, udp = "refuse" }}

        [[users]]
        name = "carol"
        password_hash = "{HASH}"
        """
    )
    paris = Hop("paris", SOCKS5, Address("10.0.0.1", 1080), UsernamePassword(b"alice", b"secret"))
    osaka = Hop("osaka", SOCKS4A, Address("osaka.example", 1080), UserId(b"fred"), timeout=5)
    lima = Hop("lima", SOCKS5, Address("lima.example", 1080), UsernamePassword(b"bob", b"geheim"))
    assert config == Config(
        Server(listen=(Listener(Address("0.0.0.0", 1080)), Listener(UnixPath("/run/chainsocks.sock"))), workers=0),
        Timeouts(idle=3600),
        {"paris": paris, "osaka": osaka, "lima": lima},
        {"default": Chain(paris, osaka), "slow": Chain(lima, paris, name="slow", dial=90, udp=Udp.REFUSE)},
        (User("carol", parse_hash(HASH)),),
    )


def test_hops_chains_and_users_stay_in_order() -> None:
    config = read(
        f"""
        [hops]
        z = "socks5://z.example"
        a = "socks5://a.example"
        [chains]
        z = ["a", "z"]
        a = ["z", "a", "z"]
        [[users]]
        name = "z"
        password_hash = "{HASH}"
        [[users]]
        name = "a"
        password_hash = "{HASH}"
        """
    )
    assert (list(config.hops), list(config.chains)) == (["z", "a"], ["z", "a"])
    assert [str(chain) for chain in config.chains.values()] == ["a -> z", "z -> a -> z"]
    assert [user.name for user in config.users] == ["z", "a"]


# --- every mistake at once --------------------------------------------------------------------------------------------

MISTAKES = """
[server]
lisen = ["127.0.0.1:1080"]

[timeouts]
idle = "5 minutes"

[hops]
paris = "sock5://alice:hunter2@10.0.0.1:1080"
osaka = { protocol = "socks4", address = "osaka.example", user_id = "fred", pasword = "hunter2" }
lima  = "socks5://10.0.0.2:99999"

[chains]
default = ["paris", "lyma"]

[[users]]
name = "carol"
password_hash = "hunter2"
"""


def test_all_mistakes_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MISTAKES, "chainsocks.toml")
    assert str(caught.value).splitlines() == [
        "chainsocks.toml: server.lisen: unknown key; did you mean 'listen'?",
        "chainsocks.toml: timeouts.idle: found '5 minutes', "
        'expected a number of seconds, a text such as "1m30s", or "off"',
        "chainsocks.toml: hops.paris: unknown scheme 'sock5'; did you mean 'socks5'?",
        "chainsocks.toml: hops.osaka.pasword: unknown key; did you mean 'password'?",
        "chainsocks.toml: hops.osaka: password cannot be used with protocol 'socks4'",
        "chainsocks.toml: hops.lima: expected host:port, as in example.org:1080 or [::1]:1080, with a name of at most "
        "255 bytes and a port in 1..65535; a login stands before an @, or under keys of its own",
        "chainsocks.toml: chains.default[2]: no hop or group is called 'lyma'; did you mean 'lima'?",
        "chainsocks.toml: users[1].password_hash: "
        "expected scrypt:N:r:p:SALT:HASH, as `chainsocks hash-password` prints it",
    ]
    assert "hunter2" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "[[rules]]\nchian = 'direct'\n[[rules]]\nfrmo = ['10.0.0.1']\nchain = 'tunel'",
            ["rules[1].chian: unknown", "rules[2].frmo: unknown", "rules[2].chain: no chain is called 'tunel'"],
            id="rule",
        ),
        pytest.param(
            "[server]\nlisten = '0.0.0.0:1080'\nwrokers = 0",
            ["server.wrokers: unknown", "server.listen: 0.0.0.0:1080 can be reached from beyond"],
            id="open-proxy",
        ),
        pytest.param(
            "[server]\nlisten = '0.0.0.0:1080'\nfoo = 0\n[[rules]]\nfrom = 'x'",
            ["server.foo: unknown", "rules[1].from: ", "+"],
            id="rules-that-may-close-it",
        ),
        pytest.param("[server]\nlisten = '0.0.0.0:1080'\nopen = 1", ["server.open: found 1", "+"], id="maybe-open"),
        pytest.param("[server]\nworkres = 'x'", ["server.workres: unknown", "server.workres: found 'x'"], id="value"),
        pytest.param(
            "[timeout]\ndial = 'x'\nhpo = 1\n[hop]\na = 'socks5://h'\n[chains]\ndefault = ['a', 'b']",
            [
                "timeout: unknown",
                "hop: unknown",
                "timeout.dial: found 'x'",
                "timeout.hpo: unknown",
                "chains.default[2]: no hop or group is called 'b'; known are a",
            ],
            id="section",
        ),
        pytest.param(
            "[server]\nlisten = [{ adress = 1080, tls = { cret = 5, key = 'k' } }]",
            [
                "server.listen[1].tls.cret: unknown",
                "server.listen[1].adress: unknown",
                "server.listen[1].tls.cret: found 5",
            ],
            id="within",
        ),
        pytest.param("[hops]\na = { prtocol = 5 }", ["hops.a.prtocol: unknown", "*"], id="guess"),
        pytest.param("[hops]\na = 'x'", ["hops.a: ", "+"], id="nothing-left"),
        pytest.param("[hops]\na = 'socks5://h'\na = 1", ["not valid TOML", "+"], id="toml"),
    ],
)
def test_a_mistake_hides_no_other_one(text: str, found: list[str]) -> None:
    """A row ends in + where the error has to say that there may be more, and in * where it may say more."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    said = [str(problem) for problem in caught.value.problems]
    expected = [each for each in found if each not in "*+"]
    assert [each[: len(start)] for each, start in zip(said, expected, strict=found[-1] != "*")] == expected
    if found[-1] != "*":
        assert caught.value.is_whole is (found[-1] != "+")


def test_several_mistakes_in_one_entry() -> None:
    assert problems('[server]\nworkers = -1\nopen = 0\n[chains]\nx = ["a", 5, "b", 6]') == [
        "server.workers: found -1, expected at least 0",
        "server.open: found 0, expected true or false",
        "chains.x[2]: found 5, expected a text in quotes",
        "chains.x[4]: found 6, expected a text in quotes",
    ]


def test_a_broken_hop_is_not_an_unknown_one() -> None:
    assert problems('[hops]\nparis = "ssh://x"\n[chains]\ndefault = ["paris"]')[1:] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sever]", "sever: unknown section; did you mean 'server'?"),
        ("user = []", "user: unknown section; did you mean 'users'?"),
        ("workers = 1", f"workers: unknown section; known are {', '.join(sorted(SECTIONS))}"),
        ("server = []", "server: expected a table, found a list"),
        ("[[server]]", "server: expected a table, found a list"),
        ("server = 5", "server: expected a table, found 5"),
        ('timeouts = "off"', "timeouts: expected a table, found a text"),
        ("hops = 5", "hops: expected a table [hops], found 5"),
        ('hops = ["socks5://paris.example"]', "hops: expected a table [hops], found a list"),
        ('hops = "paris:geheim"', "hops: expected a table [hops], found a text"),
        ("chains = true", "chains: expected a table [chains], found true"),
        ("chains = 2020-02-29", "chains: expected a table [chains], found a date or a time"),
        ('users = "x"', "users: expected [[users]], in double brackets, once for each user"),
        ("[users]", "users: expected [[users]], in double brackets, once for each user"),
        ('users = ["carol:geheim"]', "users[1]: expected a table, found a text"),
        ("users = [[]]", "users[1]: expected a table, found a list"),
    ],
)
def test_sections_of_the_wrong_name_or_type(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_nothing_in_a_problem_breaks_its_line() -> None:
    assert problems('[hops]\n"a\\nb" = { "c\\u001b" = 5 }\n[chains]\nx = ["\\n"]') == [
        r"hops.a\nb.c\x1b: unknown key; known are address, family, gssapi, gssapi_host, gssapi_service, interface, "
        "isolate, mark, password, password_env, password_file, pipeline, protocol, resolve, source, timeout, tls, tor, "
        "udp_relay, url, user_id, username",
        r"chains.x[1]: no hop or group is called '\n'; known are a\nb",
    ]


# --- chains that cannot work ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "carried"),
    [
        ("socks4", "socks5://10.0.0.2", True),
        ("socks4", "socks5://osaka.example", False),
        ("socks4", "socks5://[::1]", False),
        ("socks4a", "socks5://osaka.example", True),
        ("socks4a", "socks5://[::1]", False),
        ("socks5", "socks5://osaka.example", True),
        ("socks5", "socks5://[::1]", True),
    ],
)
@pytest.mark.parametrize("chain", ['["paris", "osaka"]', '{ hops = ["paris", "osaka"] }'], ids=["list", "table"])
def test_a_hop_must_be_able_to_carry_the_next(first: str, second: str, carried: bool, chain: str) -> None:  # noqa: FBT001
    text = f'[hops]\nparis = "{first}://10.0.0.1"\nosaka = "{second}"\n[chains]\nx = {chain}'
    if carried:
        assert str(read(text).chains["x"]) == "paris -> osaka"
    else:
        (problem,) = problems(text)
        assert problem.startswith("chains.x.hops[1]: " if "{" in chain else "chains.x[1]: ")
        assert f"{first} cannot carry the" in problem


def test_plain_socks4_carries_a_named_hop_that_we_look_up() -> None:
    config = read(
        """
        [hops]
        paris = { url = "socks4://10.0.0.1", resolve = "local" }
        osaka = "socks5://osaka.example"
        [chains]
        default = ["paris", "osaka"]
        """
    )
    assert [hop.resolve for hop in hops_of(config.chains["default"].hops)] == [Resolve.LOCAL, Resolve.REMOTE]


def test_each_leg_of_a_chain_is_checked() -> None:
    text = '[hops]\na = "socks4://a.example"\nb = "socks4://10.0.0.1"\n[chains]\nx = ["b", "a", "b", "b", "a"]'
    assert [problem.partition(":")[0] for problem in problems(text)] == ["chains.x[1]", "chains.x[4]"]


@pytest.mark.parametrize("value", ['["paris"]', '{ hops = ["paris"] }', '"paris"', '"direct"', "{ hops = [] }"])
def test_direct_is_the_way_without_hops(value: str) -> None:
    assert problems(f'[hops]\nparis = "socks5://paris.example"\n[chains]\ndirect = {value}') == [
        'chains.direct: "direct" is the way without hops: write a table without `hops`, or choose another name'
    ]


def test_the_way_without_hops_can_be_changed() -> None:
    config = parse_config("[chains]\ndirect = { idle = 7 }")
    assert config.direct == Chain(name="direct", idle=7)
    assert config.chains == {}
    assert config.default_chain == config.direct
    config = parse_config('[chains]\ndirect = { hops = "direct", idle = 7 }\nother = "direct"')
    assert config.direct == Chain(name="direct", idle=7)
    assert config.default_chain is None, "a chain is declared, and none is the default"
    assert config.chains == {"other": Chain(name="other")}


def test_the_way_without_hops_has_no_keys_about_hops() -> None:
    assert problems("[chains]\ndirect = { warm = 2, skip_dead = true }") == [
        "chains.direct: skip_dead, warm cannot be used in a chain without hops"
    ]


def test_a_way_is_not_warm_for_clients_that_are_not_known_yet() -> None:
    hop = '[hops]\nparis = { url = "socks5://10.0.0.1", source = "same" }'
    assert problems(f'{hop}\n[chains]\ndefault = {{ hops = ["paris"], warm = 1 }}') == [
        "chains.default.warm: warm ways are opened before their clients are known, and hop paris has source = "
        '"same", the address by which the client came in; take one of the two out'
    ]


@pytest.mark.parametrize("line", ['source = "192.0.2.5"', 'interface = "eth0"', "mark = 7"])
def test_where_a_chain_with_hops_leaves_from_is_the_affair_of_its_first_hop(line: str) -> None:
    key = line.partition(" ")[0]
    text = f'[hops]\nparis = "socks5://10.0.0.1"\n[chains]\ndefault = {{ hops = ["paris"], {line} }}'
    assert problems(text) == [
        f"chains.default: {key} cannot be used in a chain with hops: the connection to its first hop is that hop's "
        "affair, so move this to the hop"
    ]


@pytest.mark.parametrize("key", ["idle", "half_close"])
def test_a_denied_request_has_no_relay(key: str) -> None:
    assert problems(f"[[rules]]\ndeny = true\n{key} = 7") == [
        f"rules[1]: {key} cannot be used with deny: a denied request has no relay"
    ]


# --- users ------------------------------------------------------------------------------------------------------------


def test_a_user_is_declared_once() -> None:
    names = ["carol", "dave", "carol", "carol", "", ""]
    text = "".join(f'[[users]]\nname = "{name}"\npassword_hash = "{HASH}"\n' for name in names)
    assert problems(text) == [
        "users[3].name: 'carol' is declared twice; remove one",
        "users[4].name: 'carol' is declared twice; remove one",
        "users[6].name: '' is declared twice; remove one",
    ]


# --- no open proxy by accident ----------------------------------------------------------------------------------------

CAROL = f'[[users]]\nname = "carol"\npassword_hash = "{HASH}"\n'


def refusal(listen: str) -> str:
    return (
        f"server.listen: {listen} can be reached from beyond this machine, and no login is required: "
        "declare [[users]]; or [[rules]] with `from`, followed by one that has only deny = true; "
        "or set open = true in [server] if this is to be an open proxy"
    )


@pytest.mark.parametrize(
    ("listen", "exposed"),
    [
        ('"127.0.0.1:1080", "[::1]:1080", "localhost:1080", "unix:/run/x"', []),
        ('"0.0.0.0:1080"', ["0.0.0.0:1080"]),
        ('"127.0.0.1:1080", "[::]:1080", "proxy.example:1080"', ["[::]:1080", "proxy.example:1080"]),
    ],
    ids=["loopback", "everywhere", "each is named"],
)
def test_an_open_proxy_is_refused_unless_it_is_meant(listen: str, exposed: list[str]) -> None:
    text = f"[server]\nlisten = [{listen}]\n"
    if exposed:
        assert problems(text) == [refusal(each) for each in exposed]
        assert problems(text + "open = false") == [refusal(each) for each in exposed]
    for protected in (text + CAROL, text + "open = true"):
        assert len(read(protected).server.listen) == listen.count(",") + 1


@pytest.mark.parametrize(
    ("users", "problem"),
    [
        ('[[users]]\nname = "carol"', "users[1]: expected one of password_hash"),
        ("[users]", "users: expected [[users]]"),
    ],
    ids=["a mistake in a user", "a mistake in the section"],
)
def test_users_with_a_mistake_are_users_all_the_same(users: str, problem: str) -> None:
    (only,) = problems(f'[server]\nlisten = ["0.0.0.0:1080"]\n{users}')
    assert only.startswith(problem)


def test_an_empty_list_of_users_protects_nobody() -> None:
    assert problems('users = []\n[server]\nlisten = ["0.0.0.0:1080"]') == [refusal("0.0.0.0:1080")]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text('[hops]\n"bücher" = "socks5://paris.example"', "utf-8")
    assert list(load_config(path).hops) == ["bücher"]


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text("[server]\nworkers = 2", "utf-8-sig")
    assert load_config(path).server.workers == 2


def loading(path: Path) -> tuple[str, list[str]]:
    """Load a file that cannot be used; return where the error says it is, and its problems."""
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return caught.value.source, [str(problem) for problem in caught.value.problems]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert loading(tmp_path / "x.toml") == (str(tmp_path / "x.toml"), ["No such file or directory"])


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    assert loading(tmp_path) == (str(tmp_path), ["Is a directory"])


@pytest.mark.parametrize(
    ("error", "problem"),
    [(PermissionError(13, "Permission denied"), "Permission denied"), (OSError("odd"), "odd")],
    ids=["permission", "without a number"],
)
def test_a_file_that_cannot_be_read(error: OSError, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _encoding: str) -> str:
        raise error

    monkeypatch.setattr(Path, "read_text", refuse)
    assert loading(Path("x.toml")) == ("x.toml", [problem])


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"[hops]\nb\xfccher = 5")
    assert loading(path) == (str(path), ["not UTF-8 text, as TOML must be"])


def test_the_problems_of_a_file_name_it(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[server]\nworkers = -1")
    assert loading(path) == (str(path), ["server.workers: found -1, expected at least 0"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("[server", "(at end of document)", id="bracket left open"),
        pytest.param("[hops]\nparis = socks5://x", "(at line 2, column 9)", id="no quotes"),
        pytest.param("[hops]\n[hops]", "(at line 2, column 6)", id="section twice"),
        pytest.param("[hops]\nparis = 'socks5://x\n'", "(at line 2, column 20)", id="text over two lines"),
        pytest.param("a = 1" + "0" * 5000, "digits", id="number of thousands of digits"),
    ],
)
def test_what_is_not_toml_is_placed(text: str, problem: str) -> None:
    (only,) = problems(text)
    assert only.startswith("not valid TOML: ")
    assert problem in only


def test_nesting_has_an_end() -> None:
    assert problems("x = " + "[" * 100_000) == ["lists or tables are nested too deeply"]


# --- secrets ----------------------------------------------------------------------------------------------------------

CORE = "hUnT3r2"
"""What no message may ever show. Around it stands whatever could lead a parser, or a mask, astray."""

JUNK = st.text(st.sampled_from("@:/?#%[]{}()<>=,;'\"\\` \t\n\0.0aé\u2028😀"), max_size=6)
SECRETS = st.builds("{}{}{}".format, JUNK, st.just(CORE), JUNK)


def hop(written: Toml) -> dict[str, Toml]:
    return {"hops": {"paris": written}, "chains": {"default": ["paris", "nobody"]}}


def part(protocol: str, **keys: Toml) -> dict[str, Toml]:
    return hop({"protocol": protocol, "address": "paris.example"} | keys)


def user(**keys: Toml) -> dict[str, Toml]:
    return {"users": [{"name": "carol"} | keys]}


def bare(secret: str) -> str:
    """A login that is not followed by an @ must not hold one: what comes behind would be taken for the host."""
    return secret.replace("@", "")


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s: f"socks5://alice:{quote(s, safe='')}@paris.example", id="password in a URL"),
        pytest.param(lambda s: f"socks5://alice:{s.replace('%', '%25')}@paris.example", id="password in a URL, bare"),
        pytest.param(lambda s: f"socks5://{quote(s, safe='')}:x@paris.example", id="username in a URL"),
        pytest.param(
            lambda s: f"socks4a://{quote(s.replace(chr(0), ''), safe='')}@paris.example", id="user id in a URL"
        ),
        pytest.param(
            lambda s: {"protocol": "socks5", "address": "paris.example", "username": s, "password": s}, id="parts"
        ),
        pytest.param(
            lambda s: {"protocol": "socks4", "address": "10.0.0.1", "user_id": s.replace("\0", "")}, id="user id"
        ),
    ],
)
@given(secret=SECRETS)
@settings(max_examples=30)
def test_a_good_hop_shows_no_secret(write: Callable[[str], Toml], secret: str) -> None:
    config = parse_config(emit({"hops": {"paris": write(secret)}, "chains": {"default": ["paris"]}}))
    assert config.hops["paris"].credentials is not None
    assert CORE not in f"{config!r} {config!s} {config.chains['default']}"


def test_a_good_user_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROL_PASSWORD", CORE)
    salted = f"scrypt:16:8:1:{CORE}A:{CORE * 4}"
    text = emit({"users": [{"name": "a", "password_env": "CAROL_PASSWORD"}, {"name": "b", "password_hash": salted}]})
    config = parse_config(text)
    assert [user.name for user in config.users] == ["a", "b"]
    assert CORE not in repr(config)
    assert "salt" not in repr(config)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s: hop(f"alice:{s}@paris.example:1080"), id="url: no scheme"),
        pytest.param(lambda s: hop(f"sock5://alice:{s}@paris.example"), id="url: misspelt scheme"),
        pytest.param(lambda s: hop(f"ssh://alice:{s}@paris.example"), id="url: another scheme"),
        pytest.param(lambda s: hop(f"socks5:/alice:{s}@paris.example"), id="url: one slash"),
        pytest.param(lambda s: hop(f"socks5://alice:{s}@paris.example:port"), id="url: bad port"),
        pytest.param(lambda s: hop(f"socks5://alice:{s}@paris.example:65536"), id="url: high port"),
        pytest.param(lambda s: hop(f"socks5://alice:{s}@::1"), id="url: bare IPv6"),
        pytest.param(lambda s: hop(f"socks5://alice:{s}@[paris]"), id="url: name in brackets"),
        pytest.param(lambda s: hop(f"socks5://alice:{s}@"), id="url: nothing behind the @"),
        pytest.param(lambda s: hop(f"socks5://alice:{bare(s)}"), id="url: login only"),
        pytest.param(lambda s: hop(f"socks5://paris.example:1080:alice:{bare(s)}"), id="url: login behind"),
        pytest.param(lambda s: hop(f"socks5://alice:{bare(s)}:paris.example:1080"), id="url: colon for @"),
        pytest.param(lambda s: hop(f"socks4://alice:{s}@paris.example"), id="url: password for socks4"),
        pytest.param(lambda s: hop(f"socks4://{s}%00@paris.example"), id="url: NUL in a user id"),
        pytest.param(lambda s: hop(f"socks5://{quote(s)}@paris.example"), id="url: no password"),
        pytest.param(lambda s: hop(f"socks5://alice:{s * 40}@paris.example"), id="url: too long"),
        pytest.param(lambda s: hop([f"socks5://alice:{s}@paris.example"]), id="url: in a list"),
        pytest.param(lambda s: hop({"url": [f"socks5://alice:{s}@paris.example"]}), id="url: list under the key"),
        pytest.param(lambda s: hop({"url": {"password": s}}), id="url: table under the key"),
        pytest.param(lambda s: hop({"url": "socks5://paris.example", "password": s}), id="url and password"),
        pytest.param(lambda s: part("socks5", address=f"alice:{s}@paris.example:1080"), id="address with a login"),
        pytest.param(lambda s: part("socks5", address=f"paris.example:1080:alice:{bare(s)}"), id="address: behind"),
        pytest.param(lambda s: part("socks5", address=[s]), id="address: list"),
        pytest.param(lambda s: part("socks5", username=s), id="username without password"),
        pytest.param(lambda s: part("socks5", username=[s], password="x"), id="username: list"),
        pytest.param(lambda s: part("socks5", username=s * 40, password="x"), id="username: too long"),
        pytest.param(lambda s: part("socks5", user_id=s), id="user id for socks5"),
        pytest.param(lambda s: part("socks4", user_id={"x": s}), id="user id: table"),
        pytest.param(lambda s: part("socks4", user_id=s * 80), id="user id: too long"),
        pytest.param(lambda s: part("socks4", username=s, password=s), id="login for socks4"),
        pytest.param(lambda s: part("socks5", password=s), id="password without username"),
        pytest.param(lambda s: part("socks5", username="alice", password=[s]), id="password: list"),
        pytest.param(lambda s: part("socks5", username="alice", password=s * 40), id="password: too long"),
        pytest.param(lambda s: part("socks5", username="alice", pasword=s), id="password: misspelt key"),
        pytest.param(lambda s: part("socks5", username="alice", password=s, password_env="X"), id="both passwords"),
        pytest.param(lambda s: part("socks5", username="alice", password_env=s), id="password as its variable"),
        pytest.param(lambda s: part("socks5", username="alice", password_file=s), id="password as its file"),
        pytest.param(lambda s: part("socks5", username="alice", password_env=[s]), id="password_env: list"),
        pytest.param(lambda s: part(f"socks5://alice:{s}@paris.example"), id="protocol: a URL"),
        pytest.param(lambda s: part("socks5", resolve=f"socks5://alice:{s}@paris.example"), id="resolve: a URL"),
        pytest.param(lambda s: part("socks5", timeout=f"socks5://alice:{s}@paris.example"), id="timeout: a URL"),
        pytest.param(lambda s: {"hops": f"socks5://alice:{bare(s)}"}, id="hops: a URL"),
        pytest.param(lambda s: {"hops": [f"socks5://alice:{s}@paris.example"]}, id="hops: a list"),
        pytest.param(
            lambda s: {"hops": {f"socks5://alice:{s}@paris.example": "paris"}, "chains": {"default": ["paris"]}},
            id="hop: key and value exchanged",
        ),
        pytest.param(lambda s: {"chains": {"default": [f"socks5://alice:{s}@paris.example"]}}, id="chain: a URL"),
        pytest.param(lambda s: {"chains": {"default": f"paris:{bare(s)}"}}, id="chain: a text"),
        pytest.param(lambda s: {"server": {"listen": [f"carol:{s}@0.0.0.0:1080"]}}, id="listen: login"),
        pytest.param(lambda s: {"server": {"listen": f"carol:{s}@0.0.0.0:1080"}}, id="listen: login, no list"),
        pytest.param(lambda s: user(password=s), id="user: plain password"),
        pytest.param(lambda s: user(password_hash=s), id="user: password for a hash"),
        pytest.param(lambda s: user(password_hash=[s]), id="user: hash in a list"),
        pytest.param(lambda s: user(password_hash=f"scrypt:12:8:1:{CORE}A:{CORE * 4}", x=s), id="user: bad hash"),
        pytest.param(lambda s: user(password_hash=f"scrypt:16:8:1:{CORE}A:{CORE}A", x=s), id="user: short hash"),
        pytest.param(lambda s: user(password_hash=HASH, password_env=s), id="user: hash and variable"),
        pytest.param(lambda s: user(password_env=s), id="user: password as its variable"),
        pytest.param(lambda s: user(password_file=s), id="user: password as its file"),
        pytest.param(lambda s: {"users": [f"carol:{s}"]}, id="users: a list of texts"),
        pytest.param(lambda s: {"users": f"carol:{s}"}, id="users: a text"),
        pytest.param(lambda s: {"users": {"carol": s}}, id="users: a table"),
    ],
)
@given(secret=SECRETS)
@settings(max_examples=30)
def test_a_mistake_shows_no_secret(write: Callable[[str], dict[str, Toml]], secret: str) -> None:
    text = emit(write(secret))
    assert CORE in text
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert CORE not in f"{caught.value!s} {caught.value!r} {caught.value.problems!r}"


@pytest.mark.parametrize(
    "text",
    [
        f"password = {CORE}",
        f'password = "{CORE}',
        f'password = "{CORE}\n"',
        f'password = "{CORE}" "x"',
        f'paris = "socks5://alice:{CORE}@paris.example" # \0',
        f'paris = "socks5://alice:\\{CORE}@paris.example"',
        f'"socks5://alice:{CORE}@paris.example" = "x"\n' * 2,
        f'["socks5://alice:{CORE}@paris.example"]\n' * 2,
        f'paris = {{ "alice:{CORE}@paris" = 1, "alice:{CORE}@paris" = 2 }}',
    ],
)
def test_what_is_not_toml_shows_no_secret(text: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(("not valid TOML", "***@"))
    assert CORE not in problem


# --- anything at all --------------------------------------------------------------------------------------------------

TABLES_OF_THE_FILE = (ServerTable, TimeoutsTable, HopTable, ChainTable, UserTable)
KEYS = st.sampled_from([key for table in TABLES_OF_THE_FILE for key in table.model_fields] + ["paris", "default"])
PLACES = ["socks5://paris.example", "socks4://10.0.0.1", "paris.example", "127.0.0.1:1080", "[::]:1080", "unix:/run/x"]
NAMES = ["paris", "default", "direct", "carol", "socks4", "socks5", "local", "refuse", "off", "1m30s", "HOME", HASH]
WORDS = st.sampled_from([*PLACES, *NAMES])
TEXT = st.text(st.sampled_from("aé:/@.5s\0\n\x7f\u2028😀"), max_size=6)
SCALARS = WORDS | TEXT | st.integers() | st.floats() | st.booleans() | st.dates() | st.datetimes() | st.times()
ENTRIES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(KEYS | TEXT, SCALARS, max_size=4)
TABLES = st.dictionaries(KEYS | TEXT, ENTRIES, max_size=4)
NAMES_OF_SECTIONS = st.sampled_from(["server", "timeouts", "hops", "chains", "users"]) | TEXT
FILES = st.dictionaries(NAMES_OF_SECTIONS, ENTRIES | TABLES | st.lists(TABLES, max_size=3), max_size=5)


@given(FILES)
@settings(max_examples=100)
def test_any_data_is_a_configuration_or_a_list_of_problems(data: dict[str, Toml]) -> None:
    outcome = reading(emit(data))
    if isinstance(outcome, ConfigError):
        assert outcome.problems
        assert all(str(problem).isprintable() for problem in outcome.problems)
    else:
        assert all(chain.hops for chain in outcome.chains.values())


@given(st.text() | st.text(st.sampled_from("[]{}=\"'\\#.,\n 0x_-:a\0")))
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str) -> None:
    outcome = reading(text)
    assert outcome.problems if isinstance(outcome, ConfigError) else outcome == Config()


def test_what_the_fuzz_writes_is_toml() -> None:
    everything: dict[str, Toml] = {
        "": '"\\\x7f\0\n\u2028😀',
        "a b": [True, -1, 1e300, datetime.time(1, 2, 3, 4), datetime.datetime(1, 1, 1), {"x": []}],
        "c": datetime.date(2020, 2, 29),
    }
    assert tomllib.loads(emit(everything)) == everything
