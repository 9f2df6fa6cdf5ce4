"""Programs that people put behind a proxy, and tor among them; as a hop, it has tests of its own."""

from __future__ import annotations

import contextlib
import functools
import queue
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.programs import PATIENCE, SocketAddress, clean_environment, find_program
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.targets import serving
from tests.e2e.tor import running_tor
from tests.e2e.wire import read


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name upstream)
        pass


class FileServer(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them


@contextlib.contextmanager
def serving_files(directory: Path) -> Iterator[SocketAddress]:
    """Serve a directory over HTTP."""
    with FileServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=directory)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield "127.0.0.1", server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("scheme", "host"),
    [("socks4", "127.0.0.1"), ("socks4a", "localhost"), ("socks5", "127.0.0.1"), ("socks5h", "localhost")],
)
def test_git_clone(own_hops: list[Chainsocks], tmp_path: Path, scheme: str, host: str) -> None:
    """Over plain HTTP, file by file, through a chain."""
    git = find_program("git", "git")
    identity = {
        f"GIT_{who}_{what}": f"{what}@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = clean_environment(tmp_path, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0", **identity)

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [git, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    work, bare, clone = tmp_path / "work", tmp_path / "served" / "repo.git", tmp_path / "clone"
    run("init", "--quiet", work)
    (work / "file").write_bytes(b"content\n" * 10_000)
    run("-C", work, "add", "file")
    run("-C", work, "commit", "--quiet", "-m", "The first")
    run("clone", "--quiet", "--bare", work, bare)
    run("-C", bare, "update-server-info")
    with chainsocks(*(hop.url for hop in own_hops)) as front, serving_files(bare.parent) as (_, port):
        proxy = f"http.proxy={scheme}://{front.listeners[0]}"
        run("-c", proxy, "clone", "--quiet", f"http://{host}:{port}/repo.git", clone)
        front.wait_for(f"destination={host}:{port} chain=default reply=00 .*finished")
    assert (clone / "file").read_bytes() == b"content\n" * 10_000
    assert run("-C", clone, "rev-parse", "HEAD") == run("-C", work, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "proxy",
    ["Socks4Proxy {}", "Socks5Proxy {}", "Socks5Proxy {}\nSocks5ProxyUsername a\nSocks5ProxyPassword b"],
    ids=["socks4", "socks5", "socks5-login"],
)
def test_tor_as_the_client(direct: Chainsocks, tmp_path: Path, proxy: str) -> None:
    """tor reaches its first relay through us; that it wants to speak TLS with it is enough for us."""
    openings: queue.Queue[bytes] = queue.Queue()

    def listen(sock: socket.socket) -> None:
        openings.put(read(sock, 2))

    with (
        serving(listen) as (host, port),
        running_tor(tmp_path, f"Bridge {host}:{port}", proxy.format(direct.listeners[0])),
    ):
        assert openings.get(timeout=PATIENCE) == b"\x16\x03"
