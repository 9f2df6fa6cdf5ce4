"""The units of systemd in the examples: systemd itself has no complaint, and they are those of the manual."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chainsocks.config.load import parse_config
from tests.e2e.programs import find_program
from tests.manual.pages import MANUAL, ROOT, blocks

UNITS = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "examples" / "systemd").iterdir())}
SERVICE, SOCKET = "chainsocks.service", "chainsocks.socket"
INSTALLED, HERE = "/opt/chainsocks/bin/chainsocks", str(Path(sys.executable).parent / "chainsocks")

SAFE = 20
"""Tenths of the exposure that is allowed at most."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = find_program("systemd-analyze", "systemd")
    environment = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "cat"}
    return subprocess.run([tool, *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write the units, with the program that is here, and with a part replaced."""

    def place_units(part: str = "", replaced: str = "") -> list[Path]:
        for name, text in UNITS.items():
            (tmp_path / name).write_text(text.replace(INSTALLED, HERE).replace(part, replaced))
        return [tmp_path / name for name in UNITS]

    return place_units


def test_systemd_has_no_complaint(place: Callable[..., list[Path]]) -> None:
    done = analyze("verify", *place())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("part", "replaced", "complaint"),
    [
        ("ProtectHome=", "ProtectHomes=", "Unknown key 'ProtectHomes'"),
        ("ProtectHome=yes", "ProtectHome=perhaps", "Failed to parse protect home value"),
        (HERE, "/nowhere/chainsocks", "is not executable"),
    ],
)
def test_systemd_would_complain(place: Callable[..., list[Path]], part: str, replaced: str, complaint: str) -> None:
    """An unknown key is a warning, and no failure."""
    assert complaint in analyze("verify", *place(part, replaced)).stderr


@pytest.mark.parametrize(("removed", "is_safe"), [("", True), ("CapabilityBoundingSet=\n", False)])
def test_the_service_can_do_little_harm(place: Callable[..., list[Path]], removed: str, *, is_safe: bool) -> None:
    [service, _] = place(removed)
    done = analyze("security", "--offline=true", f"--threshold={SAFE}", "--json=short", service)
    assert (done.returncode == 0) is is_safe, done.stderr
    assert {each["name"] for each in json.loads(done.stdout)} > {"NoNewPrivileges=", "PrivateUsers="}


def test_the_units_are_those_of_the_manual() -> None:
    page = [block.text for block in blocks(MANUAL / "systemd.md", "ini")]
    assert page[:2] == [text[text.index("[Unit]") :] for text in UNITS.values()]
    assert [*UNITS] == [SERVICE, SOCKET]


def test_the_lines_to_type_are_those_of_the_manual() -> None:
    typed = [re.findall(r"^#     ([a-z/].+)$", text, re.MULTILINE) for text in UNITS.values()]
    shown = [block.text.splitlines() for block in blocks(MANUAL / "systemd.md", "sh")]
    service = [line for line in [*shown[0], *shown[1]] if not line.startswith("journalctl")]
    assert set(service) <= set(typed[0])
    assert set(shown[2]) <= set(typed[1])


def test_the_options_of_the_commands_exist(tmp_path: Path) -> None:
    """Each command in a unit is known to the program, with its options."""
    for command in re.findall(rf"^Exec\w+={INSTALLED} (.+)$", "\n".join(UNITS.values()), re.MULTILINE):
        done = subprocess.run([HERE, *command.split(), "--help"], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_sockets_are_named_in_the_configuration() -> None:
    head, _, unit = UNITS[SOCKET].partition("[Unit]")
    config = parse_config("\n".join(re.findall(r"^#     (\[server\]|listen = .+)$", head, re.MULTILINE)))
    [name] = re.findall(r"^FileDescriptorName=(.+)$", unit, re.MULTILINE)
    assert [str(listener) for listener in config.server.listen] == [f"systemd:{name}"]
