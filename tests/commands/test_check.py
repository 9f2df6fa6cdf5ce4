"""`chainsocks check`: what it prints, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run_main

FILE = """
[server]
listen = ["127.0.0.1:1"]

[timeouts]
hop = 7

[hops]
a = "socks5://a"

[chains]
default = ["a"]
"""


def test_a_file_without_problems_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "chainsocks.toml"
    path.write_text(FILE + 'onion = ["a"]\n[hops.b]\nurl = "socks5://b"\n')
    status, out, err = run_main(capsys, "check", path)
    assert (status, err) == (0, "warning: hop b is in no chain\n")
    assert "onion" in out


def test_no_file_where_one_is_looked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainsocks.commands.check.find_config", lambda: None)
    status, _, err = run_main(capsys, "check")
    assert status == 2
    assert "name it: chainsocks check FILE" in err


@pytest.mark.parametrize(
    ("rule", "status", "says"), [("deny = true", 1, "refused: "), ("chain = 'direct'", 0, "192.0.2.1:80")]
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_a_request_would_meet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, rule: str, status: int, says: str, options: list[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"[[rules]]\n{rule}\n")
    code, out, err = run_main(capsys, "check", path, "--explain", "192.0.2.1:80", *options)
    assert (code, err) == (status, "")
    assert (json.loads(out)["rule"] == 1) if options else says in out


def test_what_only_goes_with_a_question(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("")
    status, out, err = run_main(capsys, "check", path, "--user", "carol")
    assert (status, out) == (2, "")
    assert "need --explain HOST:PORT" in err


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_hop_that_is_this_very_server_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        "[server]\nlisten = ['127.0.0.1:7']\n[hops]\na = 'socks5://127.0.0.1:7'\n[chains]\ndefault = ['a']\n"
    )
    status, out, err = run_main(capsys, command, *(["-c"] if command == "serve" else []), path)
    assert (status, out) == (2, "")
    assert "hops.a: 127.0.0.1:7 is where this server listens" in err


def test_a_file_that_was_found_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chainsocks.toml").write_text(FILE)
    assert run_main(capsys, "check")[1].startswith(f"file: {tmp_path}/chainsocks.toml\nlisten: ")
    assert run_main(capsys, "check", "chainsocks.toml")[1].startswith("listen: ")
