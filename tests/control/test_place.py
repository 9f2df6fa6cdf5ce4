from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainsocks.config.control import LONGEST_PATH, parse_control_socket
from chainsocks.control.place import default_places, open_control_socket
from tests.control.answering import short_folder
from tests.net.sockets import nothing_left_open

__all__ = ["nothing_left_open"]

pytestmark = pytest.mark.usefixtures("nothing_left_open")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runtime folder of the user."""
    with short_folder() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("chainsocks"), "propagate", True)
    caplog.set_level(logging.INFO, logger="chainsocks")
    return caplog


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_the_default_place_is_the_users_own(folder: Path, log: pytest.LogCaptureFixture) -> None:
    with open_control_socket(None) as sock:
        assert sock
        path = folder / "chainsocks" / "control"
        assert default_places()[0] == path
        assert answers(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()
    assert log.messages == [f"control socket: {path}"]


def test_its_mode_does_not_depend_on_the_umask_and_is_right_from_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    bind = socket.socket.bind

    def note(sock: socket.socket, path: str) -> None:
        bind(sock, path)
        modes.append(stat.S_IMODE(Path(path).stat().st_mode))

    monkeypatch.setattr(socket.socket, "bind", note)
    before = os.umask(0)
    try:
        with open_control_socket(str(folder / "control")):
            assert os.umask(0) == 0
            assert modes == [0o600]
    finally:
        os.umask(before)
    assert [*folder.iterdir()] == []


def test_the_longest_path_can_be_had(folder: Path) -> None:
    path = folder / ("x" * (LONGEST_PATH - len(str(folder)) - 1))
    assert len(str(path)) == LONGEST_PATH
    with open_control_socket(parse_control_socket(str(path))):
        assert answers(path)


def test_off_is_none(folder: Path) -> None:
    with open_control_socket("off") as sock:
        assert sock is None
    assert [*folder.iterdir()] == []


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    path = folder / "control"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert not answers(path)
    with open_control_socket(str(path)):
        assert answers(path)


def test_another_server_at_the_default_place_is_left_alone(folder: Path, log: pytest.LogCaptureFixture) -> None:
    with open_control_socket(None) as first:
        log.clear()
        with open_control_socket(None) as second:
            assert second is None
        assert answers(folder / "chainsocks" / "control")
        assert first
    [record] = log.records
    assert record.levelno == logging.WARNING
    place = folder / "chainsocks" / "control"
    what = "another server answers there; [control] socket can name another place"
    assert record.getMessage() == f"no control socket at {place}: {what}"


@pytest.mark.parametrize("made", ["server", "file", "no-folder"])
def test_a_configured_place_that_cannot_be_had_is_an_error(folder: Path, made: str) -> None:
    path = folder / "control"
    if made == "file":
        path.touch()
    if made == "no-folder":
        path = folder / "missing" / "control"
    with socket.socket(socket.AF_UNIX) as server:
        if made == "server":
            server.bind(str(path))
            server.listen()
        with (
            pytest.raises(OSError, match="." if made == "no-folder" else "another") as caught,
            open_control_socket(str(path)),
        ):
            pass
    numbers = {"server": errno.EADDRINUSE, "file": errno.EEXIST, "no-folder": errno.ENOENT}
    assert (caught.value.filename, caught.value.errno) == (str(path), numbers[made])
    assert [each.name for each in folder.iterdir()] == ([] if made == "no-folder" else ["control"])


def test_the_socket_of_a_later_server_is_not_removed(folder: Path) -> None:
    path = folder / "control"
    with open_control_socket(str(path)):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as later:
            later.bind(str(path))
            ours = path.stat().st_ino
    assert path.stat().st_ino == ours


def test_a_user_without_a_folder_has_none(monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with open_control_socket(None) as sock:
        assert sock is None
    assert log.messages == ["no control socket: XDG_RUNTIME_DIR is not set; [control] socket can name a place"]


def test_commands_look_at_the_place_of_a_system_server_as_well(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert default_places() == [folder / "chainsocks" / "control", Path("/run/chainsocks/control")]
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert default_places() == [Path("/run/chainsocks/control")]
