"""``[[rules]]``: what may stand there, the complaints about anything else, and whether unknown clients are allowed."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from chainsocks.config.rules import EXPECTED, Family, Hosts, Rule, Spoken, allows_unknown_clients, parse_to
from chainsocks.protocol.messages import Command
from tests.config.files import complaint_of, problems, read

NETWORK = "expected an IP address, a network such as 10.0.0.0/8, or a range such as 10.0.0.1-10.0.0.9"


def names(*names: str) -> Hosts:
    return Hosts(frozenset(names))


def networks(*texts: str) -> Hosts:
    return Hosts(networks=tuple(map(ip_network, texts)))


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("Example.ORG.", names("example.org")),
        ("münchen.example", names("xn--mnchen-3ya.example")),
        ("my-host-1", names("my-host-1")),
        ("localhost", names("localhost")),
        ("*.Example.org", Hosts(suffixes=frozenset({"example.org"}))),
        (".example.org.", Hosts(frozenset({"example.org"}), frozenset({"example.org"}))),
        ("*.onion", Hosts(suffixes=frozenset({"onion"}))),
        ("10.0.0.1", networks("10.0.0.1/32")),
        ("10.0.0.0/8", networks("10.0.0.0/8")),
        ("2001:db8::/32", networks("2001:db8::/32")),
        ("::ffff:10.0.0.1", networks("10.0.0.1/32")),
        ("::ffff:10.0.0.0/104", networks("10.0.0.0/8")),
        ("::/0", networks("::/0")),
        ("10.0.0.0-10.0.0.5", networks("10.0.0.0/30", "10.0.0.4/31")),
        ("10.0.0.7 - 10.0.0.7", networks("10.0.0.7/32")),
        ("2001:db8::-2001:db8::1", networks("2001:db8::/127")),
        ("::ffff:10.0.0.0-::ffff:10.0.0.1", networks("10.0.0.0/31")),
    ],
)
def test_destinations(text: str, hosts: Hosts) -> None:
    assert parse_to(text) == hosts


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("*", "found '*': leave out `to` for any destination"),
        ("", f"found '': the host is empty; {EXPECTED}"),
        ("*.", f"found '*.': the host is empty; {EXPECTED}"),
        ("*.*.org", f"found '*.*.org', {EXPECTED}"),
        ("a b", f"found 'a b', {EXPECTED}"),
        ("example.org:80", f"found 'example.org:80', {EXPECTED}"),
        ("socks5://alice:geheim@example.org", f"found something with a login in it, {EXPECTED}"),
        ("127.1", "found '127.1', which is an IP address in another form; write 127.0.0.1"),
        ("0x7f000001", "found '0x7f000001', which is an IP address in another form; write 127.0.0.1"),
        ("1.2.3.4.5", "1.2.3.4.5 is neither a name nor an IP address"),
        ("10.0.0.1/8", "found '10.0.0.1/8', which is an address within a network; did you mean '10.0.0.0/8'?"),
        ("10.0.0.0/33", "found '10.0.0.0/33', expected a network such as 10.0.0.0/8 or 2001:db8::/32"),
        (
            "10.0.0.9-10.0.0.1",
            "found '10.0.0.9-10.0.0.1', expected a range of addresses of one kind, the lower one first",
        ),
        ("10.0.0.9-::1", "found '10.0.0.9-::1', expected a range of addresses of one kind, the lower one first"),
        ("10.0.0.9-x", "found '10.0.0.9-x', expected a range of addresses of one kind, the lower one first"),
        ("fe80::1%eth0", f"found 'fe80::1%eth0', {EXPECTED}"),
    ],
)
def test_what_is_no_destination(text: str, complaint: str) -> None:
    assert complaint_of(parse_to, text) == complaint


FILE = """
[server]
ident = "check"
[hops]
tor = "socks5://127.0.0.1:9050"
[chains]
default = ["tor"]
onion = ["tor"]
"""


def rules(text: str) -> tuple[Rule, ...]:
    return read(FILE + text).rules


def test_every_condition() -> None:
    [rule] = rules(
        """
        [[rules]]
        to = ["*.onion", "10.0.0.0/8"]
        ports = [25, "6000-6100"]
        from = ["192.168.7.0/24", "::1"]
        users = ["ident:carol", "ident:dave"]
        commands = ["connect", "bind", "udp", "resolve"]
        versions = ["4", "4a", 5, "http", "redirect", "tunnel", "dns"]
        resolve = true
        chain = "onion"
        """.replace("        ", "")
    )
    assert rule == Rule(
        1,
        "onion",
        Hosts(suffixes=frozenset({"onion"}), networks=(ip_network("10.0.0.0/8"),)),
        (range(25, 26), range(6000, 6101)),
        (ip_network("192.168.7.0/24"), ip_network("::1")),
        frozenset({b"ident:carol", b"ident:dave"}),
        frozenset(Command),
        frozenset(Spoken),
        resolve=True,
    )
    assert str(rule) == (
        'to = ["*.onion", "10.0.0.0/8"], ports = [25, "6000-6100"], from = ["192.168.7.0/24", "::1"], '
        'users = ["ident:carol", "ident:dave"], commands = ["connect", "bind", "udp", "resolve"], '
        'versions = ["4", "4a", 5, "http", "redirect", "tunnel", "dns"], resolve = true, chain = "onion"'
    )


def test_a_single_value_stands_for_a_list_of_it() -> None:
    text = "to = '*.lan'\nports = 25\nfrom = '::1'\nusers = 'ident:carol'\ncommands = 'udp'\nversions = 4\ndeny = true"
    listed = "to = ['*.lan']\nports = [25]\nfrom = ['::1']\nusers = ['ident:carol']\ncommands = ['udp']\nversions = [4]"
    assert rules(f"[[rules]]\n{text}") == rules(f"[[rules]]\n{listed}\ndeny = true")


def test_rules_are_counted_from_1() -> None:
    assert [rule.number for rule in rules("[[rules]]\nchain = 'direct'\n" * 3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("chain = 'onoin'", ["rules[1].chain: no chain is called 'onoin'; did you mean 'onion'?"]),
        ("chain = 'paris'", ["rules[1].chain: no chain is called 'paris'; known are default, direct, onion"]),
        ("", ['rules[1]: expected either chain = NAME, which may be "direct", or deny = true']),
        (
            "chain = 'onion'\ndeny = true",
            ['rules[1]: expected either chain = NAME, which may be "direct", or deny = true'],
        ),
        ("deny = false", ["rules[1].deny: found false, expected true; leave deny out of a rule that allows requests"]),
        ("deny = 'yes'", ["rules[1].deny: found 'yes', expected true or false"]),
        ("too = 'x'\ndeny = true", ["rules[1].too: unknown key; did you mean 'to'?"]),
        ("form = '::1'\ndeny = true", ["rules[1].form: unknown key; did you mean 'from'?"]),
        ("clients = '::1'\ndeny = true", ["rules[1].clients: unknown key"]),
        ("to = []\ndeny = true", ["rules[1].to: expected at least one entry"]),
        ("to = 5\ndeny = true", ["rules[1].to: expected a text in quotes"]),
        ("to = ['x', 5]\ndeny = true", ["rules[1].to[2]: expected a text in quotes"]),
        (
            "ports = [0, 'x', true]\ndeny = true",
            [
                "rules[1].ports[1]: found '0', expected ports in 1..65535, the lower one first",
                "rules[1].ports[2]: found 'x', expected a range of ports, as in 40000-40100",
                "rules[1].ports[3]: expected a text in quotes",
            ],
        ),
        ("from = 'example.org'\ndeny = true", [f"rules[1].from: found 'example.org', {NETWORK}"]),
        ("from = 'carol:geheim@x'\ndeny = true", [f"rules[1].from: found something with a login in it, {NETWORK}"]),
        (
            "commands = 'conect'\nversions = ['6']\ndeny = true",
            [
                "rules[1].commands: found 'conect', expected 'connect' or 'bind' or 'udp' or 'resolve'; "
                "did you mean 'connect'?",
                "rules[1].versions[1]: found '6', "
                "expected '4' or '4a' or '5' or 'http' or 'redirect' or 'tunnel' or 'dns'",
            ],
        ),
        (
            "to = 'example.org'\nresolve = true\ndeny = true",
            ["rules[1]: resolve needs an IP address or a network in `to`, to compare resolved addresses with"],
        ),
    ],
)
def test_what_a_rule_cannot_be(text: str, complaints: list[str]) -> None:
    found = problems(f"{FILE}[[rules]]\n{text}")
    assert [each.partition("; known are chain,")[0] for each in found] == complaints


def test_with_bad_rules_nothing_is_said_about_unknown_clients() -> None:
    assert problems("rules = 5\n[server]\nlisten = ['0.0.0.0:1080']") == [
        "rules: expected [[rules]], in double brackets, once for each rule"
    ]


def test_rules_in_the_wrong_brackets() -> None:
    assert problems("[rules]\ndeny = true") == ["rules: expected [[rules]], in double brackets, once for each rule"]


def test_a_bad_rule_does_not_hide_another() -> None:
    text = "[[rules]]\nto = '*'\ndeny = true\n[[rules]]\nchain = 'nix'\n[[rules]]\nports = 'x'\ndeny = true"
    assert [each.partition(":")[0] for each in problems(text)] == ["rules[1].to", "rules[3].ports", "rules[2].chain"]


CAROL = "[[users]]\nname = 'carol'\npassword_hash = 'scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA'\n"


def test_users_have_to_exist() -> None:
    text = "[[rules]]\nusers = ['carol', 'carl']\nchain = 'direct'\n"
    assert problems(text) == [
        "rules[1].users: no client logs in: declare [[users]], or set ident or gssapi in [server]"
    ]
    assert problems(CAROL + text) == ["rules[1].users: no user is called 'carl'; did you mean 'carol'?"]
    assert problems("[server]\nident = 'require'\n" + text) == [
        "rules[1].users: found 'carl', and there are no [[users]]; write 'ident:carl' for a user id",
        "rules[1].users: found 'carol', and there are no [[users]]; write 'ident:carol' for a user id",
    ]


DENY_ALL = "[[rules]]\ndeny = true\n"
LOCALS = "[[rules]]\nfrom = ['10.0.0.0/8', '2001:db8::/32']\nchain = 'direct'\n"
ALL_OF_IPV4 = "[[rules]]\nfrom = ['0.0.0.0/1', '128.0.0.0/1']\nchain = 'direct'\n"


@pytest.mark.parametrize(
    ("text", "four", "six"),
    [
        ("", None, None),
        (LOCALS, None, None),
        (LOCALS + DENY_ALL, False, False),
        (DENY_ALL + LOCALS, False, False),
        (ALL_OF_IPV4 + DENY_ALL, True, False),
        ("[[rules]]\nfrom = '::/0'\nchain = 'direct'\n" + DENY_ALL, False, True),
        ("[[rules]]\nto = '*.lan'\nchain = 'direct'\n" + DENY_ALL, True, True),
        ("[[rules]]\nto = '0.0.0.0/0'\ndeny = true\n" + LOCALS, None, None),
        ("[[rules]]\ncommands = ['connect', 'bind', 'udp']\ndeny = true\n", None, None),
        ("[[rules]]\nfrom = '10.0.0.0/8'\ndeny = true\n", None, None),
        ("[[rules]]\nfrom = '0.0.0.0/0'\ndeny = true\n", False, None),
        ("[[rules]]\nusers = 'ident:carol'\ndeny = true\n", None, None),
        ("[[rules]]\nusers = 'ident:carol'\nchain = 'direct'\n" + DENY_ALL, True, True),
    ],
)
def test_whether_strangers_are_let_in(text: str, four: bool | None, six: bool | None) -> None:  # noqa: FBT001
    found = read(f"[server]\nident = 'check'\n{text}").rules
    assert (allows_unknown_clients(found, Family.IPV4), allows_unknown_clients(found, Family.IPV6)) == (four, six)


@pytest.mark.parametrize(
    ("listen", "text", "exposed"),
    [
        ("'0.0.0.0:1080'", LOCALS, ["0.0.0.0:1080"]),
        ("'0.0.0.0:1080', '[::]:1080'", LOCALS + DENY_ALL, []),
        ("'0.0.0.0:1080', '[::]:1080', 'proxy.example:1080'", ALL_OF_IPV4 + DENY_ALL, ["0.0.0.0", "proxy.example"]),
        ("'127.0.0.1:1080'", LOCALS, []),
        ("'0.0.0.0:1080'", "[hops]\ntor = 'socks5://::1'\n[chains]\nonion = ['tor']\n" + LOCALS, []),
    ],
    ids=["the rest is direct", "the rest is denied", "all of IPv4", "loopback", "the rest has no chain"],
)
def test_an_open_proxy_in_spite_of_rules(listen: str, text: str, exposed: list[str]) -> None:
    text = text.replace("::1'", "127.0.0.1'")
    file = f"[server]\nlisten = [{listen}]\n{text}"
    if exposed:
        assert [each.split(" ")[1].removesuffix(":1080") for each in problems(file)] == [
            each.removesuffix(":1080") for each in exposed
        ]
    else:
        read(file)
