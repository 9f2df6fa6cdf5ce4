"""The files inside: what is covered, shared, and replaced."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chainsocks.namespace.files import services, uncovered_displays
from tests.namespace.inside import run_inside


def listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime folder with the sockets of some services."""
    for name in ("bus", "systemd/private", "gnupg/S.gpg-agent", "docker.sock", "own.sock"):
        listen(tmp_path / name).close()
    return tmp_path


def test_services_are_found_where_they_are(runtime: Path) -> None:
    elsewhere = listen(runtime / "elsewhere" / "bus")
    elsewhere.close()
    environment = {
        "XDG_RUNTIME_DIR": str(runtime),
        "HOME": "/nonexistent",
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/elsewhere/bus,guid=1;unix:abstract=/x",
        "DOCKER_HOST": f"unix://{runtime}/docker.sock",
    }
    found = [path for path in services(environment) if path.startswith(str(runtime))]
    assert found == [f"{runtime}/{name}" for name in ("bus", "docker.sock", "gnupg", "systemd", "elsewhere/bus")]


WITHIN = """
def reach(path):
    with socket.socket(socket.AF_UNIX) as sock:
        try: sock.connect(path)
        except OSError as error: return error.strerror
names = ("bus", "systemd/private", "gnupg/S.gpg-agent", "docker.sock", "own.sock")
runtime = os.environ["XDG_RUNTIME_DIR"]
found = {name: reach(f"{runtime}/{name}") for name in names}
found |= {name: open(f"/etc/{name}").read() for name in ("resolv.conf", "hosts", "nsswitch.conf")}
found["tmp"] = sorted(os.listdir(os.environ["SEEN"]))
"""


def test_services_are_covered_and_lookups_are_ours(runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as own, socket.socket(socket.AF_UNIX) as shared:
        for sock, name in ((own, "own.sock"), (shared, "systemd/private")):
            (runtime / name).unlink()
            sock.bind(str(runtime / name))
            sock.listen()
        found = run_inside(WITHIN, (str(runtime / "systemd/private"),), XDG_RUNTIME_DIR=str(runtime), SEEN=str(runtime))
    assert found["bus"] == found["docker.sock"] == "Connection refused"
    assert found["gnupg/S.gpg-agent"] == "No such file or directory"
    assert found["own.sock"] is None
    assert found["systemd/private"] is None
    assert found["resolv.conf"].endswith("nameserver 198.18.0.1\n")
    assert f"127.0.1.1 {socket.gethostname()}\n" in found["hosts"]
    assert "\nhosts: files dns\n" in found["nsswitch.conf"]
    assert found["tmp"] == sorted(path.name for path in runtime.iterdir())  # /tmp shows what it showed
    assert "hosts: files dns\nnetworks: files" not in Path("/etc/nsswitch.conf").read_text()


def test_windows_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uncovered_displays({}) == []
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/tmp/.X11-unix/X7")
    assert [each.split()[1] for each in uncovered_displays({"DISPLAY": ":7.0", "WAYLAND_DISPLAY": "wayland-0"})] == [
        "X",
        "Wayland",
    ]
    assert uncovered_displays({"DISPLAY": ":8"}) == []
    assert uncovered_displays({"DISPLAY": "remote:7"}) == []
