"""The commands that ask a running server: which one that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_main
from tests.control.answering import short_folder
from tests.control.fleets import FakeFleet

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


@pytest.fixture
def elsewhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control socket of a server that is at the last default place; none is at the first one."""
    monkeypatch.setattr("chainsocks.control.place.SYSTEM_PLACE", path)
    return path


@pytest.mark.parametrize("command", [["status"], ["sessions"], ["hops"]], ids=" ".join)
def test_a_server_at_another_place_is_named(capsys: Capture, command: list[str], elsewhere: Path) -> None:
    named = run_main(capsys, *command, "--control", elsewhere)
    status, out, err = run_main(capsys, *command)
    assert (status, out, named[2]) == (named[0], named[1], "")
    assert err.startswith("chainsocks: no server answers at /")
    assert err.endswith(f"/chainsocks/control; this is the one at {elsewhere}\n")


CHANGES = [["reload"], ["drain"], ["sessions", "--kill", "1"], ["hops", "--rest", "osaka"], ["hops", "--wake", "osaka"]]


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_a_server_at_another_place_is_not_changed(
    capsys: Capture, command: list[str], elsewhere: Path, fleet: FakeFleet
) -> None:
    status, out, err = run_main(capsys, *command)
    assert (status, out, fleet.told) == (1, "", [])
    assert err.endswith(f"; to change the one at {elsewhere}, add --control {elsewhere}\n")


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
