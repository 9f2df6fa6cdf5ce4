"""A terminal in which the lines of a document are typed, in a folder that has the files they name.

Only what this machine cannot promise is replaced: the fixed addresses by free ones, and example.org by a page of ours.
"""

from __future__ import annotations

import re
import shlex
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.commands import run_process
from tests.e2e.programs import Program, SocketAddress, clean_environment, find_program, free_address
from tests.e2e.spawner import OWN

__all__ = ["PROXY_FAILED", "Done", "Terminal", "open_terminal"]

PROXY_FAILED = 97
"""curl: "Proxy handshake error"."""

_ADDRESS = re.compile(r"\b127\.0\.0\.1(:| -p )(\d+)\b")


class Done(NamedTuple):
    """What came of a line."""

    args: list[str | Path]
    returncode: int
    stdout: str
    stderr: str


@dataclass
class Terminal:
    """The folder with the files, what was replaced in them, and the servers that run."""

    folder: Path
    page: int
    """The port of the page."""
    files: frozenset[str]
    replaced: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    servers: list[Program] = field(default_factory=list)

    def translate(self, text: str) -> str:
        """Put the addresses of this machine into a line or a file."""
        text = _ADDRESS.sub(self._free, text)
        text = text.replace("http://example.org/", f"http://localhost:{self.page}/")
        text = text.replace('"example.org:80"', f'"localhost:{self.page}"')
        return text.replace('"example.org", 80', f'"localhost", {self.page}')

    def _free(self, match: re.Match[str]) -> str:
        separator, port = match.groups()
        host, free = self.replaced.setdefault(f"127.0.0.1:{port}", "{}:{}".format(*free_address())).split(":")
        return f"{host}{separator}{free}"

    def enter(self, line: str) -> Done | None:
        """Do as a reader would: a server gets a terminal of its own, anything else is waited for."""
        words = shlex.split(self.translate(line), comments=True)
        program, *arguments = (str(self.folder / Path(word).name) if self._is_file(word) else word for word in words)
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
        here = self.folder if arguments[0] == "cert" else Path.cwd()  # its files belong beside the others
        return Done(command, *run_process(command, self.environment, here))

    def ask(self, line: str) -> Done:
        """Enter a line that comes to an end."""
        done = self.enter(line)
        assert done
        return done

    def _is_file(self, word: str) -> bool:
        return Path(word).name in self.files and word.removeprefix("examples/") in self.files


@contextmanager
def open_terminal(
    folder: Path, page: int, files: Mapping[str, str], foreign: Mapping[str, SocketAddress] | None = None
) -> Iterator[Terminal]:
    """Write `files` to `folder`, and end all servers behind the block; `foreign` servers have their addresses already.

    Raises:
        AssertionError: one of the servers ended with an error, or said of a bug of its own.
    """
    terminal = Terminal(folder, page, frozenset(files))
    terminal.replaced.update({name: "{}:{}".format(*address) for name, address in (foreign or {}).items()})
    terminal.environment = clean_environment(folder)
    terminal.environment["PATH"] = f"{sysconfig.get_path('scripts')}:{terminal.environment['PATH']}"
    for name, text in files.items():
        (folder / name).write_text(terminal.translate(text))
    try:
        yield terminal
    finally:
        statuses = [server.stop() for server in terminal.servers]
    assert set(statuses) <= {0}
    for server in terminal.servers:
        assert "bug in chainsocks" not in server.said


def _find(program: str) -> str | Path:
    if program == OWN:
        return OWN
    ours = Path(sysconfig.get_path("scripts")) / program
    return ours if ours.exists() else find_program(program, program)
