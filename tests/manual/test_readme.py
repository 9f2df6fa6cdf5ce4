"""The README: what it shows is real, and what it says to type works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import servers, targets
from tests.e2e.programs import SocketAddress, free_address
from tests.e2e.servers import chainsocks
from tests.e2e.targets import PAGE, serving
from tests.e2e.terminal import open_terminal
from tests.manual.pages import MANUAL, ROOT, blocks, sections, shows

README = ROOT / "README.md"
TYPED = sections(README, "sh")
FILES = sections(README, "toml") | sections(README, "python")
RECIPES = [heading for heading in TYPED if heading in FILES and FILES[heading].startswith("# ")]

WAYS = {"www.example.org:80": "tunnel", "203.0.113.9:80": "tunnel", "other.example:80": "direct"}
"""Destinations, and the chains of the split tunnel that they go through."""


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    with serving(targets.page) as (_, port):
        yield port


def foreign(heading: str, folder: Path, stack: ExitStack) -> dict[str, SocketAddress]:
    """Start the programs of others that a recipe names, by the addresses at which it has them."""
    if "Three hops" in heading:
        return {
            "127.0.0.1:1081": stack.enter_context(servers.microsocks("alice:secret")),
            "127.0.0.1:1082": stack.enter_context(servers.ssh(folder)),
            "127.0.0.1:1083": stack.enter_context(servers.microsocks()),
        }
    if "tor," in heading:  # a tor without the internet connects to nothing: a server that takes its logins does
        return {"127.0.0.1:9050": stack.enter_context(chainsocks()).address}
    return {}


def test_it_is_an_entrance() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 200
    assert len(RECIPES) == 4


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_works_as_it_stands(heading: str, tmp_path: Path, page: int) -> None:
    text = FILES[heading]
    name = text.partition("\n")[0].removeprefix("# ")
    lines = [line for line in TYPED[heading].splitlines() if not line.startswith(("microsocks ", "ssh "))]
    with ExitStack() as stack:
        others = foreign(heading, tmp_path, stack)
        terminal = stack.enter_context(open_terminal(tmp_path, page, {name: text}, others))
        for line in lines:
            # Without `listen` the server takes port 1080, which another program may have here.
            done = terminal.enter(f"{line} --listen 127.0.0.1:1080" if "serve -c" in line else line)
        assert done
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.rstrip().endswith(PAGE.decode().rstrip())
        proxy = terminal.servers[-1]
        outcome = proxy.wait_for(r"command=CONNECT .*")[0] if "serve -c" in TYPED[heading] else ""
    assert ("chain=default" in outcome) == ("default =" in text)


def test_the_split_tunnel_splits(tmp_path: Path, page: int) -> None:
    [heading] = [heading for heading in RECIPES if "rest directly" in heading]
    with open_terminal(tmp_path, page, {"split.toml": FILES[heading]}) as terminal:
        for destination, chain in WAYS.items():
            said = terminal.ask(f"chainsocks check split.toml --explain {destination}").stdout
            assert f"chain {chain}:" in said


def test_the_log_line_is_the_one_of_the_manual() -> None:
    """Which is held against the program."""
    line = blocks(README, "")[1].text
    assert line.startswith("id=7 ")
    assert shows(sections(MANUAL / "if-it-fails.md")["It does not answer a request"], line)


def test_the_failure_can_be_had(tmp_path: Path, page: int) -> None:
    with open_terminal(tmp_path, page, {}) as terminal:
        serve, probe = TYPED["See it fail"].splitlines()
        terminal.enter(serve)
        terminal.replaced["127.0.0.1:1082"] = "{}:{}".format(*free_address())
        done = terminal.ask(probe)
        assert done.returncode == 1
        said = done.stdout
        for written, real in terminal.replaced.items():
            said = said.replace(real, written)
        said = re.sub(r"\d\.\d\d s", "0.00 s", said[said.index("BROKEN") :].partition("\n")[0])
    assert shows(blocks(README, "")[2].text, said), said
