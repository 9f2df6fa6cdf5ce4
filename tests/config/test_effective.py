"""The whole configuration of a file: every key is there, it means the same, and it has no secret."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from chainsocks.config.effective import effective_parts
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.config.schema import ListenTable
from chainsocks.config.secrets import Missing, Secrets
from chainsocks.config.sections import SECTIONS, Shape
from chainsocks.config.tables import Table
from chainsocks.config.written import write_parts
from chainsocks.errors import ConfigError
from tests.config.drawing import files
from tests.config.files import Toml, emit


def printed(text: str, folder: Path = Path()) -> str:
    return write_parts(effective_parts(tomllib.loads(text), Secrets(folder, Missing.WARNING)))


def without_secrets(config: Config) -> Config:
    """What is left to compare when logins are masked."""
    hops = {name: replace(hop, credentials=None) for name, hop in config.hops.items()}
    return replace(config, hops=hops, users=(), groups={}, chains={}, rules=())


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], max_examples=80, deadline=None)
@given(files())
def test_what_is_printed_means_the_same_and_is_printed_the_same(data: Mapping[str, Toml]) -> None:
    text = emit(data)
    try:
        config = parse_config(text)
    except ConfigError:
        assume(False)  # noqa: FBT003
    first = printed(text)
    again = parse_config(first)
    assert without_secrets(again) == without_secrets(config)
    assert again.rules == config.rules
    assert [(name, str(chain), chain.dial, chain.warm) for name, chain in again.chains.items()] == [
        (name, str(chain), chain.dial, chain.warm) for name, chain in config.chains.items()
    ]
    assert [user.name for user in again.users] == [user.name for user in config.users]
    assert printed(first) == first


LOGINS = """
[hops]
a = "socks5://bob:hunter2@10.0.0.1"
b = "socks5://bob:hunter3@10.0.0.1"
c = { protocol = "socks5", address = "10.0.0.1", username = "bob", password = "hunter4" }
d = { protocol = "socks4", address = "10.0.0.1", user_id = "hunter5" }
e = "socks5://10.0.0.1"
f = { protocol = "socks5", address = "10.0.0.2", username = "x", password_env = "hunter6" }
g = { protocol = "socks5", address = "10.0.0.2", username = "x", password_file = "hunter7" }
h = { protocol = "socks5", address = "10.0.0.2", username = "x", password_file = "there" }
i = { protocol = "socks5", address = "10.0.0.2", username = "x", password_env = "PASSWORD" }
[groups]
all = ["a", "b", "c", "e"]
[[users]]
name = "carol"
password_hash = "scrypt:16384:8:1:Ts0zvk-LykGf9gEhELPRXA:8sijjYQnHe8f-WOYjQYm9PtEyj1TA8S4343NtRW6jWM"
"""


def test_no_secret_is_printed_and_two_logins_stay_two(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("secret")
    text = printed(LOGINS, tmp_path)
    for secret in ("hunter", "bob", "8sijj", "Ts0z"):
        assert secret not in text
    tables = tomllib.loads(text)
    assert tables["hops"]["a"]["url"] == "socks5://***1:***2@10.0.0.1"
    assert tables["hops"]["b"]["url"] == "socks5://***1:***3@10.0.0.1"
    assert tables["users"][0]["password_hash"] == "scrypt:16384:8:1:masked:maskedmaskedmaskedmasked"
    assert tables["hops"]["h"]["password_file"] == "there"
    assert tables["hops"]["i"]["password_env"] == "PASSWORD"
    assert printed(text, tmp_path) == text


LONG: Mapping[str, Mapping[str, Any]] = {
    "server": {"gssapi": "integrity", "listen": [{"address": "unix:/run/x", "mode": "0660"}, 1080]},
    "hops": {
        "url": "socks5://10.0.0.1",
        "login": {"protocol": "socks5", "address": "10.0.0.1", "username": "bob", "password": "x"},
        "gss": {"protocol": "socks5", "address": "10.0.0.1", "gssapi": "none", "timeout": 5, "pipeline": "off"},
        "four": {"protocol": "socks4", "address": "10.0.0.1", "user_id": "fred"},
        "env": {"protocol": "socks5", "address": "10.0.0.1", "username": "bob", "password_env": "X"},
        "file": {"protocol": "socks5", "address": "10.0.0.1", "username": "bob", "password_file": "x"},
    },
    "groups": {"g": {"hops": ["url"], "pick": "random", "weights": {"url": 2}, "check": 30}},
    "chains": {"c": {"hops": ["url", "four"], "warm": 1, "skip_dead": True, "length": 1}},
    "rules": {"": {"deny": True}, " ": {"chain": "c", "to": "10.0.0.0/8"}},
    "users": {"": {"name": "carol", "password_env": "X"}},
}
"""For each section some tables, in which nearly all keys may stand."""


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_of_the_models_is_printed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each is there with its value, or among those that are not set."""
    monkeypatch.setattr("chainsocks.config.gssapi.require", lambda module, extra: None)
    section = SECTIONS[name]
    tables = LONG.get(name, {})
    data = {Shape.ONE: tables, Shape.NAMED: tables, Shape.LISTED: list(tables.values())}[section.shape]
    parts = [part for part in effective_parts({name: data}, Secrets(Path(), Missing.WARNING)) if name in part.tables]
    assert len(parts) == (1 if section.shape is Shape.ONE else len(tables))
    for part in parts:
        table: Any
        [table] = [part.tables[name]] if section.shape is Shape.ONE else _entries(part.tables[name])
        unset = _unset("Not set: ", part.comments)
        assert isinstance(table, Mapping)
        assert table.keys() | unset == set(_keys(section.model))
        assert not table.keys() & unset
    if name == "server":
        assert isinstance(data, Mapping)
        for listener in table["listen"]:
            unset = _unset(f"Listener {listener['address']}: Not set: ", part.comments)
            assert listener.keys() | unset == set(_keys(ListenTable))


def _unset(start: str, comments: Sequence[str]) -> set[str]:
    """The keys of which a comment says that they are not set."""
    lists = [comment.removeprefix(start)[:-1] for comment in comments if comment.startswith(start)]
    return {key for text in lists for key in text.split(", ")}


def _entries(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else value


def _keys(model: type[Table]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def test_what_is_not_set_by_default_and_can_be_written_as_off() -> None:
    tables = tomllib.loads(printed(""))
    assert set(tables["limits"].values()) == {"off"}
    assert tables["timeouts"]["dial"] == 30
    assert tables["server"]["listen"] == [
        {"address": "127.0.0.1:1080", "kind": "socks", "names_only": "off", "udp": False}
    ]
    assert parse_config(printed("")) == parse_config("")
