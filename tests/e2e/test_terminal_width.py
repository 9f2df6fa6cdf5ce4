"""What commands print fits a terminal of any width; where it is piped, each row of a table is one line."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import run_program
from tests.e2e.programs import PATIENCE, Process, clean_environment
from tests.e2e.spawner import OWN

WIDTHS = [40, 60, 80, 132]

NAME = "gateway-frankfurt.01-eu"
"""Of 23 letters, as many have."""
LABEL = "a" * 63
ADDRESSES = [f"{NAME}:1080", "[2001:db8:1234:5678:9abc:def0:1234:5678]:1080", f"{LABEL}.example:65535"]

CONFIG = f"""
[hops]
hop = {{ protocol = "socks5", address = "{ADDRESSES[0]}", username = "u", password = "p", resolve = "local" }}
osaka = "socks5://{ADDRESSES[1]}"
lima = "socks4a://{ADDRESSES[2]}"
paris = "socks5://127.0.0.1:9"
[groups.exits]
hops = ["lima", "osaka"]
check = 30
check_target = "status.example.com:443"
[chains]
default = ["hop", "osaka", "exits"]
local = ["paris", "lima"]
[[rules]]
to = ["{LABEL}.example", "2001:db8:1234:5678::/64"]
from = ["192.168.100.0/24"]
chain = "default"
"""

COMMANDS = {
    "check": ["check", "chainsocks.toml"],
    "explain": ["check", "chainsocks.toml", "--explain", f"{LABEL}.example:80", "--from", "192.168.100.1"],
    "probe": ["probe", "-c", "chainsocks.toml", "--chain", "local", ADDRESSES[1]],
    "bench": ["bench", "--only", "sessions", "--hops", "1", "--seconds", "0.05"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chainsocks.toml").write_text(CONFIG)
    return tmp_path


def on_terminal(folder: Path, columns: int, arguments: Sequence[str], **environment: str) -> tuple[int, str]:
    """Run our program on a terminal; return its exit status and what it printed."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with Path(os.devnull).open("wb") as null:
        process = Process(
            [OWN, *arguments], clean_environment(folder, TERM="xterm", **environment), folder, theirs, null.fileno()
        )
    os.close(theirs)
    data = b""
    try:
        while more := os.read(ours, 65536):
            data += more
    except OSError:
        pass  # the terminal has been closed
    finally:
        os.close(ours)
    return process.wait(PATIENCE), data.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """The text without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        (command, columns)
        for command in COMMANDS
        for columns in WIDTHS
        # It measures each time; tests/tools/bench/test_report.py has its table on terminals of all widths.
        if command != "bench" or columns == min(WIDTHS)
    ],
)
def test_no_line_is_wider_than_the_terminal(folder: Path, command: str, columns: int) -> None:
    status, text = on_terminal(folder, columns, COMMANDS[command])
    assert status == (command == "probe")
    lines = plain(text).splitlines()
    assert len(lines) > 2
    for line in lines:
        # A long address may stand out of a sentence, behind a sign at most.
        assert len(line) <= columns or len(line.removeprefix("    ··> ").split()) == 1
        assert line == line.rstrip()
    assert "\n\n\n" not in plain(text)


@pytest.mark.parametrize("columns", WIDTHS)
def test_no_letter_of_an_address_is_lost(folder: Path, columns: int) -> None:
    _, text = on_terminal(folder, columns, COMMANDS["check"])
    table = plain(text).partition("\nrule ")[0]
    for address in ADDRESSES[:2] if columns == 132 else ADDRESSES:  # the third is wrapped there, for its remarks
        assert f" {address}" in table or columns < len(f"address  {address}")
    letters = re.sub(r"\s", "", re.sub(r"^address ", "", table, flags=re.MULTILINE))
    assert columns == 132 or all(address in letters for address in ADDRESSES)


def test_a_row_with_a_host_of_23_letters_is_whole_at_80_columns(folder: Path) -> None:
    (folder / "chainsocks.toml").write_text(CONFIG.partition("osaka =")[0] + "[chains]\ndefault = ['hop']\n")
    _, text = on_terminal(folder, 80, COMMANDS["check"])
    assert plain(text).splitlines()[4:8] == [
        "chain    hop    protocol  address                       seconds",
        f"default  1 hop  socks5    {ADDRESSES[0]}       10  with login,",
        "                                                                 names resolved",
        "                                                                 locally",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_piped_has_no_width_and_no_colour(folder: Path, command: str) -> None:
    status, out, _ = run_program(folder, *COMMANDS[command], COLUMNS="40", TERM="xterm")
    assert status == (command == "probe")
    assert "\x1b" not in out
    if command == "explain":
        assert re.search(f"^chain default: .* -> {LABEL}.example:80$", out, re.MULTILINE)
    if command == "check":
        for hop, address in zip(("hop", "osaka", "lima"), ADDRESSES, strict=True):
            assert re.search(f"^.* {hop} .* {re.escape(address)} .*$", out, re.MULTILINE)


def test_columns_counts_before_the_terminal(folder: Path) -> None:
    assert on_terminal(folder, 132, COMMANDS["check"], COLUMNS="60") == on_terminal(folder, 60, COMMANDS["check"])


def test_a_terminal_of_unknown_size_has_80_columns(folder: Path) -> None:
    assert on_terminal(folder, 0, COMMANDS["check"]) == on_terminal(folder, 80, COMMANDS["check"])
