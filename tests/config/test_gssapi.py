"""What may stand under the keys for GSSAPI, of the server and of a hop, and what is said when something else does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chainsocks.config import gssapi
from chainsocks.config.chains import Chain
from chainsocks.config.choices import Udp
from chainsocks.config.extras import require
from chainsocks.config.hops import Hop
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.models import Config, Server, ServerGssapi
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi, Protection
from tests.config.files import problems, read

NONE, INTEGRITY, CONFIDENTIALITY = list(Protection)[:3]
ADDRESS = 'address = "proxy.example:1080"'
WITHOUT = 'needs gssapi, as in gssapi = "integrity"'
NO_PRINCIPAL = "expected a principal as in 'carol@EXAMPLE.ORG', or '*@EXAMPLE.ORG' for all"
NO_SERVICE = "expected the name of a service, such as 'rcmd', without its host"
NO_HOST = "expected the name of the host that the service's key is for"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is there, as far as anybody can see."""
    monkeypatch.setattr(gssapi, "require", lambda *_: None)


# --- [server] ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", None),
        ('gssapi = "integrity"', ServerGssapi()),
        ('gssapi = "none"', ServerGssapi(NONE)),
        ('gssapi = "confidentiality"', ServerGssapi(CONFIDENTIALITY)),
        ('gssapi = "none"\ngssapi_services = ["socks"]', ServerGssapi(NONE, services=("socks",))),
        ('gssapi = "none"\ngssapi_keytab = "/dev/null"', ServerGssapi(NONE, keytab="/dev/null")),
        ('gssapi = "none"\ngssapi_required = false', ServerGssapi(NONE, required=False)),
        (
            'gssapi = "none"\ngssapi_principals = ["carol@EXAMPLE.ORG", "*@STAFF.EXAMPLE"]',
            ServerGssapi(NONE, principals=("carol@EXAMPLE.ORG", "*@STAFF.EXAMPLE")),
        ),
    ],
)
def test_the_server(lines: str, expected: ServerGssapi | None) -> None:
    assert read(f"[server]\n{lines}").server == Server(gssapi=expected)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            'gssapi = "intergity"',
            "server.gssapi: found 'intergity', expected 'none' or 'integrity' or 'confidentiality'; "
            "did you mean 'integrity'?",
        ),
        ('gssapi = "any"', "server.gssapi: found 'any', expected 'none' or 'integrity' or 'confidentiality'"),
        ('gssapi = "selective"', "server.gssapi: found 'selective', expected 'none' or 'integrity'..."),
        ("gssapi = true", "server.gssapi: expected a text in quotes"),
        ('gssapi_keytab = "/dev/null"', f"server: gssapi_keytab: {WITHOUT}"),
        (
            'gssapi_services = ["a"]\ngssapi_required = false',
            f"server: gssapi_required, gssapi_services: {WITHOUT}",
        ),
        (
            'gssapi = "none"\ngssapi_keytab = "/nonexistent"',
            "server.gssapi_keytab: found '/nonexistent', which does not exist or cannot be read",
        ),
        ('gssapi = "none"\ngssapi_services = []', "server.gssapi_services: expected at least one entry"),
        (
            'gssapi = "none"\ngssapi_services = ["rcmd", "rcmd/proxy.example"]',
            f"server.gssapi_services[2]: found 'rcmd/proxy.example', {NO_SERVICE}",
        ),
        ('gssapi = "none"\ngssapi_services = [""]', f"server.gssapi_services[1]: found '', {NO_SERVICE}"),
        (
            'gssapi = "none"\ngssapi_principals = ["carol"]',
            f"server.gssapi_principals[1]: found 'carol', {NO_PRINCIPAL}",
        ),
        (
            'gssapi = "none"\ngssapi_principals = ["*/admin@EXAMPLE.ORG"]',
            f"server.gssapi_principals[1]: found '***@EXAMPLE.ORG', {NO_PRINCIPAL}",
        ),
        ('gssapi = "none"\ngssapi_principals = ["@R"]', f"server.gssapi_principals[1]: found '***@R', {NO_PRINCIPAL}"),
        ('gssapi = "none"\ngssapi_required = 1', "server.gssapi_required: found 1, expected true or false"),
        (
            'gssapi = "none"\ngssapi_service = ["rcmd"]',
            "server.gssapi_service: unknown key; did you mean 'gssapi_services'?",
        ),
    ],
)
def test_mistakes_of_the_server(lines: str, problem: str) -> None:
    [found] = problems(f"[server]\n{lines}")
    assert found.startswith(problem.removesuffix("..."))


@pytest.mark.parametrize(
    ("principals", "admitted"),
    [
        ((), "carol@A eve@A carol@B"),
        (("carol@A",), "carol@A"),
        (("carol@A", "eve@A"), "carol@A eve@A"),
        (("*@A",), "carol@A eve@A"),
        (("*@B",), "carol@B"),
        (("carol@C",), ""),
    ],
)
def test_who_is_admitted(principals: tuple[str, ...], admitted: str) -> None:
    rule = ServerGssapi(principals=principals)
    assert [who for who in ("carol@A", "eve@A", "carol@B") if rule.admits(who)] == admitted.split()


def test_users_have_no_way_in_where_it_is_required() -> None:
    users = '[[users]]\nname = "carol"\npassword_hash = "scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA"'
    assert problems(f'[server]\ngssapi = "none"\n{users}') == [
        "server.gssapi: with it, [[users]] cannot log in: remove them, or set gssapi_required = false"
    ]
    assert read(f'[server]\ngssapi = "none"\ngssapi_required = false\n{users}').users


def test_rules_may_speak_of_principals() -> None:
    rule = '[[rules]]\nusers = ["gssapi:carol@EXAMPLE.ORG"]\ndeny = true'
    assert read(f'[server]\ngssapi = "none"\n{rule}').rules[0].users == {b"gssapi:carol@EXAMPLE.ORG"}
    [problem] = problems(rule)
    assert problem.endswith("no client can prove that: set gssapi in [server]")


def test_rules_may_speak_of_principals_beside_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAVE", "geheim")
    server = '[server]\ngssapi = "none"\ngssapi_required = false\n[[users]]\nname = "dave"\npassword_env = "DAVE"\n'
    assert read(f'{server}[[rules]]\nusers = ["gssapi:carol@EXAMPLE.ORG", "dave"]\ndeny = true').rules[0].users
    [problem] = problems(f'{server}[[rules]]\nusers = "carol"\ndeny = true')
    assert problem == "rules[1].users: no user is called 'carol'; known are dave"


def test_it_protects_a_server_where_it_is_required() -> None:
    lines = '[server]\nlisten = ["0.0.0.0:1080"]\ngssapi = "none"\n'
    assert read(lines).exposed == ()
    [problem] = problems(f"{lines}gssapi_required = false")
    assert problem.startswith("server.listen: 0.0.0.0:1080 can be reached")


def test_without_the_package_a_file_is_refused_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gssapi, "require", require)
    monkeypatch.setitem(sys.modules, "gssapi", None)
    missing = (
        "this needs the extra gssapi, which is not installed: pip install '.[gssapi]' in the folder with pyproject.toml"
    )
    hop = f'[hops]\na = {{ protocol = "socks5", {ADDRESS}, gssapi = "none" }}'
    assert problems(f'[server]\ngssapi = "none"\n{hop}') == [f"server: {missing}", f"hops.a: {missing}"]


def test_a_keytab_is_a_file_that_we_can_read(tmp_path: Path) -> None:
    keytab = tmp_path / "keys"
    keytab.touch()
    assert gssapi.parse_keytab(str(keytab)) == str(keytab)


# --- hops -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "login"),
    [
        ('gssapi = "integrity"', Gssapi()),
        ('gssapi = "none"', Gssapi(NONE)),
        (
            'gssapi = "confidentiality", gssapi_service = "socks", gssapi_host = "inner.example"',
            Gssapi(CONFIDENTIALITY, "socks", "inner.example"),
        ),
    ],
)
def test_a_hop(keys: str, login: Gssapi) -> None:
    expected = Hop("a", HopProtocol.SOCKS5, Address("proxy.example", 1080), login)
    for address in (f'protocol = "socks5", {ADDRESS}', 'url = "socks5://proxy.example"'):
        config = read(f"[hops]\na = {{ {address}, {keys} }}")
        assert config.hops["a"] == expected


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (f'protocol = "socks4a", {ADDRESS}, gssapi = "none"', "hops.a: gssapi cannot be used with protocol 'socks4a'"),
        ('url = "socks5://u:p@h", gssapi = "none"', "hops.a: gssapi and username cannot both be set"),
        (
            'url = "socks5://h", gssapi = "none", pipeline = "hop"',
            "hops.a: pipeline cannot be used with gssapi, whose messages each depend on the answer before",
        ),
        (
            f'protocol = "socks5", {ADDRESS}, username = "u", password = "p", gssapi = "none"',
            "hops.a: gssapi and username cannot both be set",
        ),
        ('url = "socks5://h", gssapi_host = "x"', f"hops.a: gssapi_host: {WITHOUT}"),
        ('url = "socks5://h", gssapi = "full"', "hops.a.gssapi: found 'full', expected 'none'..."),
        (
            'url = "socks5://h", gssapi = "none", gssapi_service = "a@b"',
            f"hops.a.gssapi_service: found '***@b', {NO_SERVICE}",
        ),
        (
            'url = "socks5://h", gssapi = "none", gssapi_services = "rcmd"',
            "hops.a.gssapi_services: unknown key; did you ...",
        ),
    ],
)
def test_mistakes_of_a_hop(keys: str, problem: str) -> None:
    [found] = problems(f"[hops]\na = {{ {keys} }}")
    assert found.startswith(problem.removesuffix("..."))


def test_who_requires_it() -> None:
    assert not Config().requires_gssapi
    assert Config(Server(gssapi=ServerGssapi())).requires_gssapi
    assert not Config(Server(gssapi=ServerGssapi(required=False))).requires_gssapi


def test_datagrams_go_where_nothing_is_promised_to_protect_them() -> None:
    plain, bare, sealed = (
        Hop(name, HopProtocol.SOCKS5, Address("h", 1), login)
        for name, login in (("plain", None), ("bare", Gssapi(NONE)), ("sealed", Gssapi()))
    )
    assert Chain(plain, bare).udp is Udp.NESTED
    assert Chain(plain, sealed).udp is Udp.REFUSE
    with pytest.raises(ValueError, match="hop sealed protects its messages by GSSAPI"):
        Chain(sealed, udp=Udp.NESTED)
