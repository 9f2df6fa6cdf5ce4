"""The table [web]: addresses, hosts, and the token that others need."""

from __future__ import annotations

import sys

import pytest

from chainsocks.config.load import parse_config
from chainsocks.config.web import Web
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table can be read without what it needs."""
    monkeypatch.setattr("chainsocks.config.schema_web.require_installed", lambda packages, extra: None)
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("SHORT", TOKEN[1:])
    monkeypatch.setenv("SPACED", f"{TOKEN} {TOKEN}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Web()),
        ("web = {}", Web()),
        ('web.listen = "127.0.0.1:9090"', Web(Address("127.0.0.1", 9090))),
        ("web.listen = 9090", Web(Address("127.0.0.1", 9090))),
        (
            'web = { listen = "[::]:9090", token_env = "TOKEN", hosts = "Proxy.Example" }',
            Web(Address("::", 9090), ("proxy.example",), "TOKEN", TOKEN.encode()),
        ),
    ],
)
def test_it_is_read(text: str, expected: Web) -> None:
    assert parse_config(text).web == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('web.listen = "0.0.0.0:9090"', "web: 0.0.0.0:9090 can be reached from beyond this machine, and shows who"),
        ('web.listen = "unix:/run/web"', "web.listen: the web server listens on TCP"),
        ('web.listen = "0.0.0.0:9090"\nweb.token_env = "NONE"', "web: the environment variable NONE is not set"),
        ('web.token_env = "SHORT"', "web: the token in token_env needs at least 16 printable ASCII"),
        ('web.token_env = "SPACED"', "web: the token in token_env needs at least 16 printable ASCII"),
        ('web.hosts = ["proxy.example:9090"]', "web.hosts[1]: found 'proxy.example:9090', expected the name of a host"),
        ('web.hosts = ["*"]', "web.hosts[1]: found '*', expected the name of a host"),
        ("web.port = 9090", "web.port: unknown key"),
    ],
)
def test_a_mistake_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert problem in str(caught.value)
    assert TOKEN[1:] not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    with pytest.raises(ConfigError, match=r"web\.listen: .*pip install '\.\[web\]'"):
        parse_config("web.listen = 9090")
