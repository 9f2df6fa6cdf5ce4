"""The reference of all keys, held against the configuration: each key once, with its default and a working example."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.config.schema import (
    ControlTable,
    HealthTable,
    LimitsTable,
    ListenerTlsTable,
    ListenTable,
    LogTable,
    ServerTable,
    TimeoutsTable,
    UserTable,
)
from chainsocks.config.schema_routing import ChainTable, GroupTable, HopTable, RuleTable, TlsTable
from chainsocks.config.schema_web import WebTable
from chainsocks.config.tables import Table
from chainsocks.errors import ConfigError
from tests.manual.pages import MANUAL, write_certificates, write_secrets

PAGE = (MANUAL / "configuration.md").read_text("utf-8")

ENTRY = re.compile(
    r"\*\*`(?P<key>\w+)`\*\* \((?P<type>[^;]+); (?P<default>[^;]+)\): (?P<meaning>.+\.) Example: `(?P<example>.+)`\."
)

Values = dict[str, object]


@dataclass(frozen=True)
class Section:
    """A table of the file: its model, values that make it a valid one, and what it needs beside it."""

    model: type[Table]
    place: tuple[str, ...]
    needed: Values = field(default_factory=dict)
    beside: Values = field(default_factory=dict)
    with_key: Mapping[str, Values] = field(default_factory=dict)
    """What a key needs beside it in its table; None takes a value away."""

    def text(self, values: Values) -> str:
        """Write a file with `values` in this table, and all that it takes."""
        inner: object = {key: value for key, value in (self.needed | values).items() if value is not None}
        *above, last = self.place
        file: Values = json.loads(json.dumps(self.beside))
        table = file
        for name in above:
            table = table.setdefault(name, {})  # type: ignore[assignment]
        table[last] = [inner] if self.model in (RuleTable, UserTable, ListenTable) else inner
        return "\n".join(f"{key} = {toml(value)}" for key, value in file.items())


HOPS: Values = {
    **{name: f"socks5://10.0.0.{number}" for number, name in enumerate(("paris", "osaka", "lima"), 1)},
    "secret": "socks5+tls://10.0.0.4",
}
GSSAPI: Values = {"gssapi": "integrity"}
SECTIONS = {
    "`[server]`": Section(
        ServerTable,
        ("server",),
        with_key={name: GSSAPI for name in ServerTable.model_fields if name.startswith("gssapi_")},
    ),
    "A listener": Section(
        ListenTable,
        ("server", "listen"),
        {"address": "127.0.0.1:1"},
        {"server": {"open": True}},
        {
            **{name: {"address": "unix:/run/chainsocks.sock"} for name in ("mode", "group")},
            "target": {"kind": "tunnel"},
            "udp": {"kind": "tunnel", "target": "db.internal:53"},
        },
    ),
    "TLS at a listener": Section(
        ListenerTlsTable,
        ("server", "listen", "tls"),
        {"cert": "carol.pem"},
        {"server": {"open": True, "listen": {"address": "127.0.0.1:1"}}},
    ),
    "`[timeouts]`": Section(TimeoutsTable, ("timeouts",)),
    "`[health]`": Section(HealthTable, ("health",)),
    "`[limits]`": Section(LimitsTable, ("limits",)),
    "`[log]`": Section(LogTable, ("log",)),
    "`[control]`": Section(ControlTable, ("control",)),
    "`[web]`": Section(WebTable, ("web",)),
    "`[hops]`": Section(
        HopTable,
        ("hops", "one"),
        {"protocol": "socks5", "address": "10.0.0.1"},
        with_key={
            "url": {"protocol": None, "address": None},
            "user_id": {"protocol": "socks4"},
            "username": {"username": "bob", "password": "secret"},
            "password": {"username": "alice", "password": "other"},
            "password_env": {"username": "alice", "password_env": "CAROL_PASSWORD"},
            "password_file": {"username": "alice", "password_file": "secrets/carol"},
            "gssapi_service": GSSAPI,
            "gssapi_host": GSSAPI,
        },
    ),
    "TLS at a hop": Section(
        TlsTable,
        ("hops", "one", "tls"),
        beside={"hops": {"one": {"protocol": "socks5", "address": "10.0.0.1"}}},
        with_key={"client_key": {"client_cert": "carol.pem"}},
    ),
    "`[groups]`": Section(
        GroupTable,
        ("groups", "one"),
        {"hops": ["osaka", "lima"]},
        {"hops": HOPS},
        {"weights": {"pick": "random"}, "check_target": {"check": 30}},
    ),
    "`[chains]`": Section(
        ChainTable,
        ("chains", "default"),
        {"hops": ["paris", "osaka", "exits"]},
        {"hops": HOPS, "groups": {"exits": ["lima"]}},
        {
            "length": {"skip_dead": True},
            "warm_idle": {"warm": 1},
            "warm_age": {"warm": 1},
            "seal": {"hops": ["secret"]},
            "source": {"hops": "direct"},
            "interface": {"hops": "direct"},
            "mark": {"hops": "direct"},
            "udp_filter": {"hops": "direct"},
        },
    ),
    "`[[rules]]`": Section(
        RuleTable,
        ("rules",),
        {"deny": True},
        {"users": [{"name": "carol", "password_env": "CAROL_PASSWORD"}]},
        {
            "chain": {"deny": None},
            "resolve": {"to": "10.0.0.0/8"},
            "idle": {"deny": None, "chain": "direct"},
            "half_close": {"deny": None, "chain": "direct"},
        },
    ),
    "`[[users]]`": Section(
        UserTable,
        ("users",),
        {"name": "dave", "password_env": "LIMA_PASSWORD"},
        with_key={name: {"password_env": None} for name in ("password_hash", "password_file")},
    ),
}

UNWRITTEN = (None, "", (), range(1))
"""What stands for a default that cannot be written as a value of its key."""


@dataclass(frozen=True)
class Entry:
    """What the page says of a key."""

    section: Section
    key: str
    default: str
    example: str

    def config(self, values: Values) -> Config:
        """Load a file with this table and `values` in it."""
        return parse_config(self.section.text(self.section.with_key.get(self.key, {}) | values))


def toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml(inner)}' for key, inner in value.items())}}}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


def read_sections() -> dict[str, list[str]]:
    """The items of each section of the page, each as one line."""
    _, *parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)
    return {
        heading: [" ".join(item.split()) for item in re.findall(r"^- (.+(?:\n  .+)*)", text, re.MULTILINE)]
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


ITEMS = read_sections()


def entries() -> list[Entry]:
    matches = [(heading, ENTRY.fullmatch(item)) for heading, items in ITEMS.items() for item in items]
    return [Entry(SECTIONS[heading], *match.group("key", "default", "example")) for heading, match in matches if match]


ENTRIES = entries()


def keys_of(model: type[Table]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Passwords, also in files, and no need for a keytab or Kerberos."""
    for name in ("LIMA_PASSWORD", "CAROL_PASSWORD", "WEB_TOKEN"):
        monkeypatch.setenv(name, f"the-secret-of-{name}")
    write_secrets(tmp_path)
    write_certificates(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainsocks.config.gssapi.os.access", lambda path, mode: True)
    monkeypatch.setattr("chainsocks.config.gssapi.require", lambda module, extra: None)
    monkeypatch.setattr("chainsocks.config.schema_web.require_installed", lambda packages, extra: None)


def test_every_table_has_a_section() -> None:
    assert list(ITEMS) == list(SECTIONS)
    models = {section.model for section in SECTIONS.values()}
    assert models == {
        table for table in _all_tables() if table.__module__.startswith("chainsocks.") and table.__name__[0] != "_"
    }


def _all_tables(table: type[Table] = Table) -> set[type[Table]]:
    return {table} - {Table} | {each for below in table.__subclasses__() for each in _all_tables(below)}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_has_one_entry(heading: str) -> None:
    matches = [ENTRY.fullmatch(item) for item in ITEMS[heading]]
    assert [item for item, match in zip(ITEMS[heading], matches, strict=True) if not match] == []
    assert [match["key"] for match in matches if match] == keys_of(SECTIONS[heading].model)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.section.place[0]}.{entry.key}")
def test_every_default_is_the_right_one(entry: Entry) -> None:
    """Writing it makes no difference. What cannot be written has no value, or has to be given."""
    if written := re.fullmatch(r"default `(.+)`", entry.default):
        value = tomllib.loads(f"default = {written[1]}")["default"]
        assert entry.config({entry.key: value}) == entry.config({})
        return
    assert re.fullmatch(r"required( without .+|, or .+)?|default: .+", entry.default)
    known = {field.alias or name: field for name, field in entry.section.model.model_fields.items()}
    if entry.default == "required":
        with pytest.raises(ConfigError, match="this key is missing"):
            entry.config({entry.key: None})
    else:
        assert known[entry.key].default in UNWRITTEN


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.section.place[0]}.{entry.key}")
def test_every_example_works_and_makes_a_difference(entry: Entry) -> None:
    [(key, value)] = tomllib.loads(entry.example).items()
    assert key == entry.key
    changed = entry.config({key: value})
    if entry.default.startswith("default"):
        assert changed != entry.config({})
