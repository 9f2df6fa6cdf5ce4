"""Every example does what it says: the lines to type are taken from its head, and typed.

Only what this machine cannot promise is replaced: the fixed addresses by free ones, and example.org by a page of ours.
"""

from __future__ import annotations

import re
import shlex
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from chainsocks.config.load import load_config
from tests.commands import run_process
from tests.e2e import targets
from tests.e2e.programs import Program, clean_environment, find_program, free_address
from tests.e2e.spawner import OWN
from tests.e2e.targets import PAGE, serving

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in {".toml", ".py"})
COMMAND = re.compile(r"^#?     ?(\w+ .+)$", re.MULTILINE)
ADDRESS = re.compile(r"\b127\.0\.0\.1:\d+\b")

PROXY_FAILED = 97
"""curl: "Proxy handshake error"."""


class Done(NamedTuple):
    """What came of a line."""

    args: list[str | Path]
    returncode: int
    stdout: str
    stderr: str


def commands(name: str) -> list[str]:
    """The lines to type, which stand indented in the head of an example."""
    head = re.match(r'(#.*\n)+|"""[^"]*"""', (EXAMPLES / name).read_text())
    assert head, f"{name} does not begin with what it is"
    return COMMAND.findall(head[0])


def _find(program: str) -> str | Path:
    if program == OWN:
        return OWN
    ours = Path(sysconfig.get_path("scripts")) / program
    return ours if ours.exists() else find_program(program, program)


@dataclass
class Terminal:
    """A copy of the examples that may be run here, and what runs."""

    folder: Path
    page: int
    replaced: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    servers: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = clean_environment(self.folder)
        self.environment["PATH"] = f"{sysconfig.get_path('scripts')}:{self.environment['PATH']}"
        for name in FILES:
            (self.folder / name).write_text(self.translate((EXAMPLES / name).read_text()))

    def translate(self, text: str) -> str:
        text = ADDRESS.sub(lambda match: self._free(match[0]), text)
        text = text.replace("examples/", f"{self.folder}/")
        text = text.replace("http://example.org/", f"http://localhost:{self.page}/")
        return text.replace('"example.org", 80', f'"localhost", {self.page}')

    def _free(self, address: str) -> str:
        if address not in self.replaced:
            self.replaced[address] = "{}:{}".format(*free_address())
        return self.replaced[address]

    def enter(self, line: str) -> Done | None:
        """Do as a reader would: a server gets a terminal of its own, anything else is waited for."""
        program, *arguments = shlex.split(self.translate(line))
        if program == "export":
            name, _, value = arguments[0].partition("=")
            self.environment[name] = value
            return None
        if arguments[0] == "serve":
            server = Program([_find(program), *arguments], self.environment)
            self.servers.append(server)
            server.wait_for("listening on")
            return None
        if program == "curl":
            arguments[:0] = ["-q", "-sS"]
        command = [_find(program), *arguments]
        return Done(command, *run_process(command, self.environment, Path.cwd()))

    def ask(self, line: str) -> Done:
        done = self.enter(line)
        assert done
        return done


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    with serving(targets.page) as (_, port):
        yield port


@pytest.fixture
def terminal(tmp_path: Path, page: int) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, page)
    try:
        yield terminal
    finally:
        statuses = [server.stop() for server in terminal.servers]
    assert set(statuses) <= {0}
    for server in terminal.servers:
        assert "bug in chainsocks" not in server.said
        assert "wonderland" not in server.said
        assert "looking-glass" not in server.said


def nothing_more(terminal: Terminal) -> None:
    pass


def a_stopped_hop_is_blamed(terminal: Terminal) -> None:
    hop, proxy = terminal.servers
    hop.stop()
    assert terminal.ask(commands("2_one_hop.toml")[-1]).returncode == PROXY_FAILED
    at = re.escape(terminal.replaced["127.0.0.1:1081"])
    proxy.wait_for(rf"reply=01 .*hop paris \(1 of 1\) at {at}, TCP connect: connection refused")


def hops_are_walked_one_after_the_other(terminal: Terminal) -> None:
    hops, proxy = terminal.servers
    for position, name in enumerate(("paris", "osaka", "lima"), 1):
        proxy.wait_for(rf"DEBUG = hop {name} \({position} of 3\) at .*, request$")
        proxy.wait_for(rf"DEBUG > {name} \d+ bytes")
        proxy.wait_for(rf"DEBUG < {name} \d+ bytes")
        hops.wait_for("command=CONNECT .*finished", times=position)


def others_are_kept_out(terminal: Terminal) -> None:
    curl = commands("4_passwords.toml")[-1]
    hop, proxy = terminal.servers
    for times, login in enumerate(("carol:rabbit-hole@", "mallory:wonderland@", ""), 1):
        assert terminal.ask(curl.replace("carol:wonderland@", login)).returncode == PROXY_FAILED
        proxy.wait_for("command=- ", times)
    assert "rabbit-hole" not in proxy.said
    assert len(re.findall("command=", hop.said)) == 1


def rules_say_which_way(terminal: Terminal) -> None:
    _, proxy = terminal.servers
    proxy.wait_for(r"destination=localhost:\d+ chain=default rule=- reply=00", times=2)
    by_address = re.sub(r"//localhost", "//127.0.0.1", terminal.translate(commands("7_rules.toml")[-1]))
    assert terminal.ask(by_address).returncode == PROXY_FAILED
    proxy.wait_for(r"reply=02 .*names_only: the client asks for an IP address")
    denied = commands("7_rules.toml")[-2].replace("http://example.org/", "http://mail.example:25/")
    assert terminal.ask(denied).returncode == PROXY_FAILED
    proxy.wait_for(r'destination=mail.example:25 chain=- rule=2 reply=02 .*outcome="rule 2 says no"')


def another_hop_stands_in(terminal: Terminal) -> None:
    paris, _, proxy = terminal.servers
    proxy.wait_for("chain=default hops=paris reply=00")
    paris.stop()
    assert terminal.ask(commands("8_groups.toml")[-1]).returncode == 0
    proxy.wait_for("hop paris in backoff for .* connection refused")
    proxy.wait_for("chain=default hops=osaka reply=00")


AFTERWARDS = {
    "2_one_hop.toml": a_stopped_hop_is_blamed,
    "3_three_hops.toml": hops_are_walked_one_after_the_other,
    "4_passwords.toml": others_are_kept_out,
    "7_rules.toml": rules_say_which_way,
    "8_groups.toml": another_hop_stands_in,
}
"""What else an example claims, seen in the same terminals."""


@pytest.mark.parametrize("name", [name for name in FILES if commands(name)])
def test_the_lines_in_an_example_work_as_they_stand_there(terminal: Terminal, name: str) -> None:
    results = [done for line in commands(name) if (done := terminal.enter(line))]
    pages = [done for done in results if done.args[1] != "check"]
    assert pages, "nothing is shown to come of it"
    for done in results:
        assert (done.returncode, done.stderr) == (0, "")
    for done in pages:
        assert done.stdout.endswith(PAGE.decode())
    AFTERWARDS.get(name, nothing_more)(terminal)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".toml")])
def test_every_file_is_a_configuration(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for line in commands("4_passwords.toml"):
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
    load_config(EXAMPLES / name)


def test_every_file_is_run() -> None:
    """By its own lines, or by those of another."""
    run = {name for name in FILES if commands(name)}
    run |= {Path(word).name for name in run for line in commands(name) for word in line.split()}
    assert set(FILES) <= run


def test_the_readme_has_them_all() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert sorted(re.findall(r"\]\(([^)]+)\)", text)) == FILES


def test_the_client_says_which_hop_is_not_there(terminal: Terminal) -> None:
    done = terminal.ask(commands("6_client_asyncio.py")[-1])
    assert (done.returncode, done.stdout) == (1, "")
    address = terminal.replaced["127.0.0.1:1081"]
    where = f"hop {address} (1 of 2) at {address}, TCP connect: connection refused"
    assert re.fullmatch(rf"{re.escape(where)} \(\d\.\d\d s of 3 s\)\n", done.stderr)


def test_the_client_connects_directly_without_hops(terminal: Terminal) -> None:
    done = terminal.ask("python examples/6_client_asyncio.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(PAGE.decode())
