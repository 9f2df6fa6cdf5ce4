"""What ``import chainsocks`` offers."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chainsocks
import chainsocks.library as library

ONE_BY_ONE: dict[str, str] = vars(chainsocks)["_ONE_BY_ONE"]


def test_the_front_door_has_all_names_of_the_library() -> None:
    assert chainsocks.__all__ == library.__all__
    for name in library.__all__:
        assert getattr(chainsocks, name) is getattr(library, name)
        assert name in dir(chainsocks)


def test_all_of_it_can_be_imported_at_once() -> None:
    names: dict[str, object] = {}
    exec("from chainsocks import *", names)
    assert {*library.__all__} < {*names}


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_names_that_are_loaded_one_by_one(name: str) -> None:
    assert getattr(chainsocks, name).__name__ == name
    assert name in dir(chainsocks)


@pytest.mark.parametrize("name", ["chain", "nonsense", "import_names", "Server"])
def test_other_names_are_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'chainsocks' has no attribute '{name}_'"):
        getattr(chainsocks, f"{name}_")


def test_type_checkers_see_the_library() -> None:
    stub = Path(chainsocks.__file__ or "").with_suffix(".pyi")
    imported = {node.module for node in ast.parse(stub.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)}
    assert imported == {"chainsocks.library", "chainsocks", *ONE_BY_ONE.values()}


def test_the_log_is_silent_until_a_program_sets_it_up() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("chainsocks").handlers)
    program = "import logging, chainsocks; logging.getLogger('chainsocks.dial').warning('unasked')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


USER = """
from ipaddress import IPv6Address
import chainsocks
from chainsocks import Chain, Group, Gssapi, Hop, Timeouts, UserId, UsernamePassword

hop = Hop("a", "socks5", ("münchen.example", 1080), ("u", "p"), resolve="local", isolate="user", udp_relay="reported")
Hop("b", "socks4", "192.0.2.1:1080", UserId("fred"), pipeline="off")
Hop("c", chainsocks.HopProtocol.SOCKS5, chainsocks.Address("a", 1), UsernamePassword("u", b"p"))
Hop("d", "socks5", "a:1080", Gssapi("integrity"))
chain = Chain(hop, Group("socks5://a", pick="random", weights=[1]), udp="refuse", pipeline="chain", names_only="warn")
limits = Timeouts(dial=None, hop=5)


async def use() -> None:
    stream = await chainsocks.connect_tcp(b"a", "80", chain=chain, timeouts=limits)
    await stream.send(b"hello")
    await chainsocks.resolve(IPv6Address("::1"))
    await chainsocks.bind_tcp()
    Hop("e", "socks6", "a:1080")
    Hop("f", "socks5", "a:1080", "secret")
    Hop("g", "socks5", "a:1080", resolve="far")
    Chain(udp="off")
    Chain(["socks5://a"])
    Group("socks5://a", pick="best")
    Timeouts(dial="5")
    Timeouts(dail=5)
    await chainsocks.connect_tcp(None, 80)
    await chainsocks.connect_tcp("a", None)
"""
"""A program of a user: everything up to `bind_tcp` is right, and every line after it is wrong."""


EVERY_NAME = Path(__file__).with_name("user_of_every_name.py")
"""A program of a user that uses every public name; it is checked, and not run."""


def test_the_program_with_every_name_has_every_name() -> None:
    text = EVERY_NAME.read_text("utf-8")
    names = {*library.__all__, *ONE_BY_ONE, "sync"}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def test_another_type_checker_accepts_every_name() -> None:
    pytest.importorskip("pyright")
    if subprocess.run([sys.executable, "-m", "pyright", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("pyright cannot load itself from npm")
    words = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(EVERY_NAME)]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.stdout.startswith("0 errors"), done.stdout


def test_type_checkers_tell_right_from_wrong(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "user.py"
    program.write_text(USER, "utf-8")
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path / 'cache'}",
        str(program),
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, text=True)
    complaints = [line for line in done.stdout.splitlines() if ": error: " in line]
    lines = USER.splitlines()
    wrong = range(1 + next(number for number, line in enumerate(lines, 1) if "bind_tcp" in line), len(lines) + 1)
    assert sorted({int(line.split(":")[1]) for line in complaints}) == [*wrong], done.stdout
