"""No command repeats a login, wherever in the configuration or on the command line it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import trio

from chainsocks.config.models import Config
from chainsocks.config.schema import HealthTable, ListenTable, ServerTable, TimeoutsTable, UserTable
from chainsocks.config.schema_routing import ChainTable, GroupTable, HopTable, RuleTable
from chainsocks.config.tables import Table
from chainsocks.tools.bench.figures import Results
from tests.commands import run_main
from tests.config.files import Toml, emit

SECRET = "hUnT3r2"
SPELLINGS = [
    "h:1080:bob:{}",
    "bob:{}:h:1080",
    "bob:{}@h",
    "bob:{}@h:1080",
    "h:1080@bob:{}",
    "bob:{}",
    "socks5://bob:{}@h",
    "socks5://bob:{}@",
    "socks5://bob:{}",
    "socks5://h:1080:bob:{}",
    "http://bob:{}@h:80/",
    "unix:bob:{}@h",
    "[::1]:1080:bob:{}",
    "socks5 h 1080 bob {}",
    "h,1080,bob,{}",
]
SECRET_KEYS = {"password", "password_hash", "password_env", "password_file", "users_file", "username", "user_id"}
FEW = 3
"""Spellings that are tried in every form, since they differ little there."""

COMMANDS = [
    ["check"],
    ["serve", "-v"],
    ["check", "--json"],
    ["check", "--explain", "a.example:1"],
    ["probe", "-c"],
]

Data = dict[str, Toml]

HOP: Data = {"protocol": "socks5", "address": "10.0.0.1"}
HOPS: Data = {"a": "socks5://10.0.0.1", "b": "socks5://10.0.0.2"}


def with_table(name: str, table: Data) -> Data:
    """A file in which a table of this kind has these keys, and all others that it needs."""
    match name:
        case "listen":
            return {"server": {"listen": [{"address": "127.0.0.1:1"} | table]}}
        case "hops":
            return {"hops": {"a": HOP | table}, "chains": {"default": ["a"]}}
        case "groups":
            return {
                "hops": HOPS,
                "groups": {"g": {"hops": ["a", "b"], "check": "30s"} | table},
                "chains": {"default": ["g"]},
            }
        case "chains":
            return {"hops": HOPS, "chains": {"default": {"hops": ["a", "b"]} | table}}
        case "rules":
            return {"hops": HOPS, "chains": {"default": ["a", "b"]}, "rules": [{"deny": True} | table]}
        case "users":
            return {"users": [{"name": "carol", "password_env": "PATH"} | table]}
        case _:
            return {name: table}


TABLES: dict[str, type[Table]] = {
    "server": ServerTable,
    "listen": ListenTable,
    "timeouts": TimeoutsTable,
    "health": HealthTable,
    "hops": HopTable,
    "groups": GroupTable,
    "chains": ChainTable,
    "rules": RuleTable,
    "users": UserTable,
}
PLACES = [(name, field.alias or key) for name, table in TABLES.items() for key, field in table.model_fields.items()]


def files(name: str, key: str) -> Iterator[Data]:
    """Files in which a login is the value of a key, or a part of it; a password also stands alone in its own key."""
    for number, spelling in enumerate((*(["{}"] if key in SECRET_KEYS else []), *SPELLINGS)):
        text = spelling.format(SECRET)
        values: list[Toml] = [text, [text], ["x", text], {text: 1}, {"x": text}, [{text: text}]]
        yield from (with_table(name, {key: value}) for value in (values if number < FEW else values[:1]))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is served, and nothing connected to."""

    async def serve(config: Config, *_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("chainsocks.commands.serve.serve_until_signalled", serve)
    monkeypatch.setattr("chainsocks.commands.probe.run_probe", lambda *_: True)


def check_all(capsys: pytest.CaptureFixture[str], path: Path, *many: Data) -> None:
    """Check that no output has the secret: of one command for each file, and of all of them for some files.

    What is wrong with a file is found and written in one place for all commands.
    """
    for number, data in enumerate(many):
        path.write_text(emit(data))
        for words in COMMANDS if number % 8 == 0 else [COMMANDS[number % len(COMMANDS)]]:
            output = run_main(capsys, *words, path)
            assert SECRET not in f"{output}", (words, data, output)


@pytest.mark.parametrize(("name", "key"), PLACES)
def test_a_login_as_the_value_of_any_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, started: None, name: str, key: str
) -> None:
    check_all(capsys, tmp_path / "a.toml", *files(name, key))


@pytest.mark.parametrize("name", TABLES)
def test_a_login_as_a_key_of_any_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, started: None, name: str
) -> None:
    texts = (spelling.format(SECRET) for spelling in SPELLINGS)
    check_all(capsys, tmp_path / "a.toml", *(with_table(name, {text: "x"}) for text in texts))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_login_as_a_name_or_in_place_of_a_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, started: None, spelling: str
) -> None:
    text = spelling.format(SECRET)
    everywhere: Sequence[Data] = [
        {text: 1},
        {text: {"x": 1}},
        *({name: text} for name in TABLES),  # type: ignore[list-item]
        *({name: [text]} for name in TABLES),  # type: ignore[list-item]
        *({name: {text: text}} for name in TABLES),  # type: ignore[list-item]
        {"hops": {text: "socks5://10.0.0.1"}, "chains": {"default": [text]}},
        {"hops": HOPS, "groups": {text: ["a", "a"]}, "chains": {"default": [text]}},
        {"hops": HOPS, "groups": {text: [text]}},
        {"hops": HOPS, "chains": {text: ["a"]}},
        {"hops": HOPS, "groups": {"g": {"hops": ["a"], "pick": "random", "weights": {text: 1}}}},
        {"hops": {"a": text}, "chains": {"default": ["a"]}},
    ]
    check_all(capsys, tmp_path / "a.toml", *everywhere)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_login_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: None,
    spelling: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = spelling.format(SECRET)
    (tmp_path / "a.toml").write_text("")
    file = str(tmp_path / "a.toml")
    for words in (
        [text],
        ["serve", text],
        ["serve", "-c", text],
        ["serve", file, text],
        ["serve", file, "-v", "--hop", text],
        ["serve", file, "-v", f"--listen={text}"],
        ["serve", file, "--workers", text],
        ["serve", file, f"--hopp={text}"],
        ["check", text],
        ["check", file, "--explain", text],
        ["check", file, "--explain", "h:1", "--from", text],
        ["check", file, "--explain", "h:1", "--user", text],
        ["check", file, "--explain", "h:1", f"--command={text}"],
        ["probe", "-c", text],
        ["probe", text, text],
        ["bench", "--only", text],
        ["bench", "--pid", text],
        ["demo", text],
        ["manual", text],
        ["hash-password", text],
    ):
        output = run_main(capsys, *words)
        assert SECRET not in f"{output}", (words, output)
    for option in ("--proxy", "--hop"):
        if "@h" not in text or not text.startswith("socks5"):  # which would be measured
            assert SECRET not in f"{run_main(capsys, 'bench', option, text)}"


def test_a_login_as_the_name_of_a_chart(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainsocks.tools.bench.command.open_subjects", lambda *_: nullcontext(()))
    monkeypatch.setattr("chainsocks.tools.bench.command.run", lambda *_: Results("direct"))
    name = SPELLINGS[0].format(SECRET)
    output = run_main(capsys, "bench", "--only", "idle", "--plot", name)
    assert output[0] == 0
    assert SECRET not in f"{output}"
    assert (tmp_path / name).exists()
