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


UNSET = """
[hops]
a = { protocol = "socks5", address = "a", username = "bob", password_env = "NOT_SET_A" }
b = { protocol = "socks5", address = "a", username = "bob", password_env = "NOT_SET_B" }
[groups]
exits = ["a", "b"]
[chains]
default = ["exits"]
[[users]]
name = "carol"
password_env = "NOT_SET_C"
"""


def test_the_environment_of_the_server_need_not_be_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its variables are set where it runs; here they are warned of. Two variables are not the same password."""
    (tmp_path / "a.toml").write_text(UNSET)
    status, _, err = run_main(capsys, "check", tmp_path / "a.toml")
    assert status == 0
    assert err.splitlines() == [
        "warning: hops.a.password_env: the environment variable NOT_SET_A is not set",
        "warning: hops.b.password_env: the environment variable NOT_SET_B is not set",
        "warning: users[1].password_env: the environment variable NOT_SET_C is not set",
    ]
    for name in "ABC":
        monkeypatch.setenv(f"NOT_SET_{name}", name)
    assert run_main(capsys, "check", tmp_path / "a.toml")[::2] == (0, "")
    monkeypatch.delenv("NOT_SET_C")
    status, _, err = run_main(capsys, "serve", tmp_path / "a.toml")
    assert status == 2
    assert err.endswith("users[1]: the environment variable NOT_SET_C is not set\n")


def test_json_of_a_file_that_is_fine_and_of_one_that_is_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(FILE)
    status, out, err = run_main(capsys, "check", path, "--json")
    assert (status, err, json.loads(out)["valid"]) == (0, "", True)
    path.write_text("[x]\n[[rules]]\n")
    for options in ([], ["--explain", "a:1"]):
        status, out, err = run_main(capsys, "check", path, "--json", *options)
        assert (status, err) == (2, "")
        assert [problem["place"] for problem in json.loads(out)["problems"]] == ["x", "rules[1]"]
    status, out, err = run_main(capsys, "check", tmp_path / "none", "--json")
    assert (status, err, json.loads(out)["problems"][0]["message"]) == (2, "", "No such file or directory")


@pytest.mark.parametrize(
    ("text", "mode", "warned"),
    [
        ("[hops]\na = 'socks5://bob:pw@h'", 0o644, True),
        ("[hops]\na = 'socks5://bob:pw@h'", 0o640, False),
        ("[hops.a]\nurl = 'socks5://bob:pw@h'", 0o644, True),
        ("[hops.a]\nprotocol = 'socks5'\naddress = 'h'\nusername = 'bob'\npassword = 'pw'", 0o604, True),
        ("[hops]\na = 'socks4://bob@h'\nb = 'socks5://h'", 0o644, False),
    ],
)
def test_a_file_with_passwords_that_everyone_can_read(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    mode: int,
    warned: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text + "\n[chains]\ndefault = ['a']\n")
    path.chmod(mode)
    assert "every user" not in run_main(capsys, "check", path)[2]  # the folder of a test is private
    for folder in path.parents[:-1]:
        if not folder.stat().st_mode & 0o001:
            monkeypatch.setattr(Path, "parents", property(lambda _: ()))
    expected = f"{path} has passwords in it, and every user of this machine can read it: chmod o= {path}"
    assert (f"warning: {expected}\n" in run_main(capsys, "check", path)[2]) == warned


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            '[hops]\na = "socks5://127.0.0.1:1080"\n[chains]\ndefault = ["a"]\n[[rules]]\ndny = true\n',
            ["rules[1].dny: unknown key", "hops.a: 127.0.0.1:1080 is where this server listens"],
            id="hop-that-leads-back",
        ),
        pytest.param('[hops]\na = "x"\n', ["hops.a: expected", "there may be more; mend these"], id="more"),
    ],
)
def test_problems_of_the_whole_file_are_found_beside_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, found: list[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    status, _, err = run_main(capsys, "check", path)
    said = [line.removeprefix(f"chainsocks: {path}: ") for line in err.splitlines()]
    assert status == 2
    assert [each[: len(start)] for each, start in zip(said, found, strict=True)] == found
