"""The commands that ask a running server: which one that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chainsocks.control.messages import ControlError, Fault
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


@pytest.fixture
def at_default(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control socket of a server that is at the first default place."""
    monkeypatch.setattr("chainsocks.commands.running.default_places", lambda: [path])
    return path


@pytest.mark.parametrize("source", ["", "other.toml", "chainsocks.toml", "link.toml"])
@pytest.mark.parametrize("command", [["hops"], *CHANGES], ids=" ".join)
def test_a_server_at_the_default_place_that_uses_another_file(
    capsys: Capture, at_default: Path, fleet: FakeFleet, tmp_path: Path, command: list[str], source: str
) -> None:
    """It is not the one that `-c FILE` means: it is not changed, and named where it is only looked at."""
    file, link = tmp_path / "chainsocks.toml", tmp_path / "link.toml"
    file.write_text("")
    link.symlink_to(file)
    fleet.status_now = replace(fleet.status_now, source=str(tmp_path / source) if source else "")
    fleet.refusal = ControlError(Fault.UNAVAILABLE, "not now")  # drain would wait for its end
    _, out, err = run_main(capsys, *command, "-c", file)
    if source in ("chainsocks.toml", "link.toml"):
        assert "the server at" not in err
        assert fleet.told or command == ["hops"]
        return
    used = f"uses {tmp_path / source}" if source else "has no configuration file"
    assert f"the server at {at_default} {used}; [control] socket in {file} can name another place" in err
    assert fleet.told == []
    assert bool(out) is (command == ["hops"])


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
