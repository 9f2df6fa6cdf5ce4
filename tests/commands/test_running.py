"""The commands that ask a running server: which one that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_main
from tests.control.answering import short_folder

Capture = pytest.CaptureFixture[str]


COMMANDS = [["status"], ["sessions"], ["hops"], ["reload"], ["drain"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_server_each_says_where_it_looked(capsys: Capture, command: list[str], tmp_path: Path) -> None:
    status, out, err = run_main(capsys, *command)
    assert (status, out) == (3 if command == ["status"] else 1, "")
    assert err.startswith("chainsocks: no server answers at /")
    system = tmp_path / "system" / "control"
    assert err.endswith(f"/chainsocks/control and {system}; -c FILE or --control PATH names another place\n")


@pytest.mark.parametrize("command", COMMANDS[:4], ids=" ".join)
def test_the_configuration_names_the_place(capsys: Capture, command: list[str], path: Path, tmp_path: Path) -> None:
    config = tmp_path / "chainsocks.toml"
    config.write_text(f'[control]\nsocket = "{path}"\n')
    by_file, by_path = run_main(capsys, *command, "-c", config), run_main(capsys, *command, "--control", path)
    assert by_file == by_path
    assert by_file[2] == ""


def test_two_places_are_a_mistake(capsys: Capture, tmp_path: Path) -> None:
    status, out, err = run_main(capsys, "hops", "-c", tmp_path / "a", "--control", tmp_path / "b")
    assert (status, out) == (2, "")
    assert "the server is named twice" in err


def test_a_place_that_this_user_may_not_ask(capsys: Capture) -> None:
    with short_folder() as folder:
        (folder / "control").mkdir()
        status, _, err = run_main(capsys, "hops", "--control", folder / "control")
    assert status == 1
    assert err.startswith(f"chainsocks: {folder}/control: ") or "no server answers at" in err
