"""Real programs by `chainsocks exec`, as an unprivileged user of a machine whose packets are all captured.

The machine is a network namespace. The program goes through three hops: the first one is at the other end of its only
link, and the last one knows the real servers. On the link, there may be nothing but TCP to the first hop.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest

from tests.commands import CHAINSOCKS
from tests.e2e import namespaces, servers
from tests.e2e.answering_hop import AnsweringHop, answering_hop
from tests.e2e.captured import captured
from tests.e2e.namespaces import Link, linked_namespace
from tests.e2e.programs import PATIENCE, Process, clean_environment, find_program, missing
from tests.e2e.spawner import NAMESPACE, OWN
from tests.namespaces_of_users import needs_namespaces

pytestmark = [
    pytest.mark.measure,  # it compiles programs, and starts servers
    pytest.mark.skipif(os.geteuid() != 0, reason="it takes a user to be, and a network namespace"),
]

HERE, THERE = "10.77.4.1", "10.77.4.2"
USER = 65534
"""Of an account that owns nothing: ssh wants its user to have one."""

SSH_CONFIG = Path("/etc/ssh/ssh_config.d/chainsocks-programs.conf")

Command = list[str | Path]

GO = """package main
import ("io"; "net/http"; "os")
func main() {
    answer, err := http.Get("http://go.test/")
    if err != nil { panic(err) }
    io.Copy(os.Stdout, answer.Body)
}
"""
RUST = r"""use std::io::{Read, Write};
fn main() {
    let mut stream = std::net::TcpStream::connect("rust.test:80").unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    print!("{}", answer.rsplit("\r\n").next().unwrap());
}
"""
MUSL = r"""
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo("musl.test", "80", &hints, &found)) return 1;
    int sock = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(sock, found->ai_addr, found->ai_addrlen)) return 2;
    char answer[1000] = "", *request = "GET / HTTP/1.0\r\n\r\n";
    if (write(sock, request, strlen(request)) < 0) return 3;
    for (int size = 0, more = 1; more > 0; size += more) more = read(sock, answer + size, sizeof answer - 1 - size);
    printf("%s", strstr(answer, "greetings"));
}
"""


@dataclass
class World:
    """The machine, its user's folder, and the chain."""

    link: Link
    folder: Path
    last: AnsweringHop
    first_hop: str
    hops: list[str]

    def start(self, words: Command, output: int, errors: int, **extra: str) -> Process:
        """Start a program on the machine, as its user."""
        environment = clean_environment(self.folder, **{NAMESPACE: self.link.name, **extra})
        return Process(words, environment, self.folder, output, errors, user=USER)

    def run(self, words: Command, **extra: str) -> tuple[int, str]:
        """Run a program on the machine, as its user; return its status and what it has said."""
        with tempfile.TemporaryFile("w+") as said:
            status = self.start(words, said.fileno(), said.fileno(), **extra).wait(2 * PATIENCE)
            said.seek(0)
            return status, said.read()

    def own(self, *paths: Path) -> None:
        """Give files to the user."""
        for path in paths:
            os.chown(path, USER, USER)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    needs_namespaces()
    with (
        linked_namespace(f"{HERE}/24", f"{THERE}/24") as link,
        tempfile.TemporaryDirectory() as name,
        tempfile.TemporaryDirectory() as keys,
        servers.sshd(Path(keys)) as (ssh_address, key),
        ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=name)) as web,
    ):
        namespaces.run("-n", link.name, "link", "set", "lo", "up")
        namespaces.run("-n", link.name, "route", "add", "default", "via", HERE)  # what leaks is seen here
        thread = Thread(target=web.serve_forever, args=(0.05,))
        thread.start()
        folder = Path(name)
        shutil.copy(key, folder / "key")
        open_to_all = ["open = true", "private = true"]
        behind = {22: ssh_address, 8000: ("127.0.0.1", web.server_port)}
        with (
            answering_hop(behind=behind) as last,
            servers.chainsocks() as second,
            servers.chainsocks(listen=[f"{HERE}:0"], server_lines=open_to_all) as first,
        ):
            first_hop = first.listeners[0]
            hops = [f"--hop={url}" for url in (f"socks5://{first_hop}", second.url, last.url)]
            world = World(link, folder, last, first_hop, hops)
            world.own(folder, folder / "key")
            _make_repository(folder)
            SSH_CONFIG.write_text(
                f"Host ssh.test\n  User root\n  IdentityFile {folder}/key\n  BatchMode yes\n  LogLevel ERROR\n"
                "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  GlobalKnownHostsFile /dev/null\n"
            )
            try:
                yield world
            finally:
                SSH_CONFIG.unlink()
                web.shutdown()
                thread.join(PATIENCE)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _make_repository(folder: Path) -> None:
    """Make a repository with a file in it, which can be cloned from a web server that knows nothing of git."""
    git = find_program("git", "git")
    script = """
    git init -q --bare repository
    git clone -q repository work 2>/dev/null
    cd work; echo greetings >file; git add file
    git -c user.name=t -c user.email=t@test commit -q -m first; git push -q origin HEAD
    cd ..; rm -r work; git -C repository update-server-info
    """
    environment = clean_environment(folder)
    subprocess.run(["sh", "-ec", script.replace("git ", f"{git} ")], cwd=folder, env=environment, check=True)


def _compile(world: World, name: str, text: str, *command: str) -> Command:
    """Compile a program; its file is in the user's folder."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / name).write_text(text)
        environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOCACHE": f"{directory}/cache"}
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        program = world.folder / "program"
        shutil.copy(Path(directory) / "program", program)
    linked = subprocess.run([find_program("readelf", "binutils"), "-l", program], capture_output=True, check=True)
    assert b"INTERP" not in linked.stdout  # it is static
    return [program]


def _compiler(name: str) -> str:
    """Return a compiler, which CI does not have either: it would be most of what CI installs."""
    path = shutil.which(name)
    if not path:
        pytest.skip(f"NOT TESTED: there is no {name} here")
    return path


def curl(_: World) -> Command:
    return [find_program("curl", "curl"), "-sS", "http://curl.test/"]


def git_by_http(world: World) -> Command:
    clone = "git clone -q http://git.test:8000/repository by-http && cat by-http/file"
    assert not (world.folder / "by-http").exists()
    return ["sh", "-c", clone]


def git_by_ssh(world: World) -> Command:
    return ["sh", "-c", f"git clone -q ssh://ssh.test{world.folder}/repository by-ssh && cat by-ssh/file"]


def ssh(_: World) -> Command:
    """Its configuration is a file of root's in ssh_config.d."""
    return [find_program("ssh", "openssh-client"), "-T", "ssh.test", "echo greetings"]


def requests(_: World) -> Command:
    spec = find_spec("requests")
    assert spec
    assert spec.origin
    packages = Path(spec.origin).parent.parent
    script = f"import sys; sys.path.append({str(packages)!r}); import requests"
    for python in (sys.executable, "/usr/bin/python3"):  # an own one may be where only root gets
        try:
            subprocess.run([python, "-c", script], user=USER, group=USER, extra_groups=[], check=True, cwd="/")
        except (OSError, subprocess.CalledProcessError):
            continue
        return [python, "-c", f"{script}; print(requests.get('http://python.test/').text, end='')"]
    return missing("there is no Python with requests that another user can run")


def node(_: World) -> Command:
    node = shutil.which("node") or pytest.skip("NOT TESTED: there is no node here")
    return [node, "-e", "fetch('http://node.test').then(r => r.text()).then(t => process.stdout.write(t))"]


def dig(_: World) -> Command:
    """Ask a server far away, by UDP and by TCP, and then for the name of the address."""
    dig = find_program("dig", "bind9-dnsutils")
    script = (
        f"one=$({dig} +short dig.test @8.8.8.8); two=$({dig} +tcp +short dig.test @2001:4860:4860::8888); "
        f'case $one in 198.1[89].*) test "$one" = "$two" && test "$({dig} +short -x $one)" = dig.test. && '
        f'test -z "$({dig} +short mx dig.test)" && echo greetings;; esac'
    )
    return ["sh", "-c", script]


def go(world: World) -> Command:
    return _compile(world, "main.go", GO, _compiler("go"), "build", "-o", "program", "main.go")


def musl(world: World) -> Command:
    gcc = find_program("musl-gcc", "musl-tools")
    return _compile(world, "main.c", MUSL, gcc, "-static", "-o", "program", "main.c")


def rust(world: World) -> Command:
    rustc = _compiler("rustc")
    return _compile(world, "main.rs", RUST, rustc, "-Ctarget-feature=+crt-static", "-o", "program", "main.rs")


PROGRAMS: dict[Callable[[World], Command], str | None] = {
    curl: "curl.test:80",
    git_by_http: "git.test:8000",
    git_by_ssh: "ssh.test:22",
    ssh: "ssh.test:22",
    requests: "python.test:80",
    node: "node.test:80",
    dig: None,
    go: "go.test:80",
    musl: "musl.test:80",
    rust: "rust.test:80",
}
"""For each program what it connects to; nothing at all, if it only asks for names."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program(world: World, program: Callable[[World], Command]) -> None:
    command, destination = program(world), PROGRAMS[program]
    world.last.asked.clear()
    with captured(world.link) as seen:
        assert world.run([OWN, "exec", *world.hops, "--", *command]) == (0, "greetings\n")
    assert set(world.last.asked) == ({destination} if destination else set())
    assert seen == ({f"TCP {world.first_hop}"} if destination else set())


class Tmux:
    """A tmux of its own, with one window."""

    def __init__(self, folder: Path) -> None:
        self._tmux: Command = [find_program("tmux", "tmux"), "-f", os.devnull, "-S", folder / "tmux"]
        self._environment = clean_environment(folder, TERM="xterm", SHELL=find_program("bash", "bash"))

    def do(self, *words: str) -> str:
        """Run a command of tmux."""
        command = [*self._tmux, *words]
        return subprocess.check_output(command, env=self._environment, text=True, timeout=PATIENCE)

    def type(self, *keys: str) -> None:
        """Type texts and keys."""
        self.do("send-keys", *keys)

    def wait_for(self, *lines: str) -> None:
        """Wait until the last lines of the window are these."""
        deadline = time.monotonic() + PATIENCE
        while (seen := self.do("capture-pane", "-p").split("\n")) and deadline > time.monotonic():
            if [line.rstrip() for line in seen if line][-len(lines) :] == [*lines]:
                return
        raise AssertionError("\n".join(seen))


def test_a_shell_in_tmux(world: World, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("PS1='$ '\n")
    tmux = Tmux(tmp_path)
    tmux.do("new-session", "-d", "-x", "80", "-y", "24", "bash")
    try:
        for line, said in (
            ("", ["$"]),
            (f"{CHAINSOCKS} shell {' '.join(world.hops)}", ["(chain) $"]),
            ("stty size", ["24 80", "(chain) $"]),
            ("curl -sS http://tmux.test/", ["greetings", "(chain) $"]),
            ("sh -c 'echo runs; exec sleep 60'", ["runs"]),
        ):
            tmux.type(f"last=$?; clear; {line}", "Enter")
            tmux.wait_for(*said)
        tmux.do("resize-window", "-x", "100", "-y", "30")
        tmux.type("C-z")
        for line, said in (
            ("jobs | cut -c1-11", ["[1]+  Stopp", "(chain) $"]),
            ("stty size", ["30 100", "(chain) $"]),
            ("fg", ["sh -c 'echo runs; exec sleep 60'"]),
        ):
            tmux.type(f"last=$?; clear; {line}", "Enter")
            tmux.wait_for(*said)
        tmux.type("C-c")
        for line, said in (
            ("echo status $last", ["status 130", "(chain) $"]),
            ("suspend", ["$"]),
            ("jobs | cut -c1-11", ["[1]+  Stopp", "$"]),
            ("fg >/dev/null", ["(chain) $"]),
            ("exit 7", ["exit", "$"]),
            ("echo status $last", ["status 7", "$"]),
        ):
            tmux.type(f"last=$?; clear; {line}", "Enter")
            tmux.wait_for(*said)
    finally:
        tmux.do("kill-server")
    world.last.wait_for("tmux.test:80")
