"""The web server beside a server as users start it, with one process and with several, without a control socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

for package in ("hypercorn", "starlette", "prometheus_client"):
    pytest.importorskip(package, reason="the extra `web` is not installed")

from tests.background import wait_until  # noqa: E402  (behind the skip)
from tests.e2e import targets  # noqa: E402
from tests.e2e.control import silent_hop, target  # noqa: E402
from tests.e2e.programs import PATIENCE, SocketAddress, free_address  # noqa: E402
from tests.e2e.servers import Chainsocks  # noqa: E402
from tests.e2e.wire import ask_socks5, connect, reset  # noqa: E402, reset

TOKEN = "0123456789abcdef"


class Web(Chainsocks):
    """A server with a web server."""

    def __init__(self, file: Path, workers: int, more: str = "") -> None:
        self.file = file
        self.workers = workers
        self.web = free_address()
        self.write(more)
        super().__init__(file, {"WEB_TOKEN": TOKEN})

    def write(self, more: str = "", web: str | None = None) -> None:
        """Write the configuration file."""
        listen = "{}:{}".format(*self.web) if web is None else web
        self.file.write_text(
            f'[server]\nlisten = "127.0.0.1:0"\nworkers = {self.workers}\n[timeouts]\ngrace = 20\n'
            f'[control]\nsocket = "off"\n[web]\nlisten = "{listen}"\ntoken_env = "WEB_TOKEN"\n{more}'
        )

    def ask(
        self, path: str, method: str = "GET", body: str = "", address: SocketAddress | None = None, **headers: Any
    ) -> tuple[int, str]:
        """Return the status and the answer, which waits until the web server has started."""
        host, port = (address or self.web)[:2]
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def says(self, path: str, status: int, **headers: Any) -> bool:
        """Whether a path has that status now."""
        with suppress(ConnectionError, http.client.HTTPException):
            return self.ask(path, **headers)[0] == status
        return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all its labels but these."""
        text = self.ask("/metrics")[1]
        rows = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(float(value) for given, value in rows if all(one in given for one in wanted))


@contextmanager
def serving(file: Path, workers: int, more: str = "") -> Iterator[Web]:
    server = Web(file, workers, more)
    try:
        wait_until(partial(server.says, "/readyz", 200))
        yield server
    finally:
        status = server.stop()
        print(server.said)  # noqa: T201  (pytest shows it with the failure)
    assert status == 0
    server.check()
    with pytest.raises(ConnectionRefusedError):
        server.ask("/healthz")


many = pytest.mark.parametrize("workers", [1, 2])


@many
def test_all_workers_are_in_one_scrape(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path / "c.toml", workers) as server, targets.serving(targets.echo) as destination:
        with connect(server.address) as first, connect(server.address) as second:
            for client in (first, second):
                ask_socks5(client, destination)
                client.sendall(b"x" * 1000)
            wait_until(lambda: server.metric("chainsocks_bytes_total", direction="up") == 2000)
            assert server.metric("chainsocks_sessions_open", command="CONNECT", chain="direct") == 2
            assert server.metric("chainsocks_workers") == workers
            assert server.metric("chainsocks_process_resident_bytes", worker=str(workers)) > 1e6
            assert server.metric("chainsocks_process_resident_bytes", worker=str(workers + 1)) == 0
            status, view = server.ask("/api/v1/view")
            assert (status, json.loads(view)["sessions_in_all"]) == (200, 2)
        wait_until(lambda: server.metric("chainsocks_sessions_total") == 2)
        assert server.metric("chainsocks_bytes_total", direction="up") == 2000


@many
def test_a_draining_server_says_so_until_its_last_session_has_ended(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path / "c.toml", workers) as server, target() as destination:
        with connect(server.address) as client:
            ask_socks5(client, destination)
            server.process.send_signal(signal.SIGTERM)
            wait_until(partial(server.says, "/readyz", 503))
            assert server.ask("/readyz")[1] == "it is draining\n"
            assert server.says("/healthz", 200)
            reset(client)  # the destination never closes
        server.process.wait(PATIENCE)


@many
def test_a_drain_is_ordered_with_the_token(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path / "c.toml", workers) as server:
        assert server.ask("/api/v1/drain", "POST")[0] == 401
        assert server.says("/readyz", 200)
        status, answer = server.ask("/api/v1/drain", "POST", Authorization=f"Bearer {TOKEN}")
        assert (status, json.loads(answer)["delay"]) == (200, 0)
        server.process.wait(PATIENCE)


@many
def test_a_reload_changes_the_web_server_and_a_wrong_one_does_not(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path / "c.toml", workers) as server:
        assert server.says("/readyz", 403, Host="proxy.example")
        server.write('hosts = "proxy.example"')
        server.process.send_signal(signal.SIGHUP)
        wait_until(partial(server.says, "/readyz", 200, Host="proxy.example"))
        with target() as taken:
            server.write(web="{}:{}".format(*taken))
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("web.listen: .* in use")
        assert server.says("/readyz", 200, Host="proxy.example")
        before, server.web = server.web, free_address()
        server.write()
        server.process.send_signal(signal.SIGHUP)
        wait_until(partial(server.says, "/readyz", 200))
        with pytest.raises(ConnectionRefusedError):
            server.ask("/readyz", address=before)


def test_counters_outlive_a_worker_and_the_control_process_may_die(tmp_path: Path) -> None:
    with serving(tmp_path / "c.toml", 2) as server, targets.serving(targets.echo) as destination:
        for _ in range(8):
            with connect(server.address) as client:
                ask_socks5(client, destination)
        wait_until(lambda: server.metric("chainsocks_sessions_total") == 8)
        worker = int(server.wait_for(r"worker 1 \(pid (\d+)\) has started")[1])
        os.kill(worker, signal.SIGKILL)
        server.wait_for(r"worker 3 \(pid \d+\) has started")
        wait_until(lambda: server.metric("chainsocks_workers") == 2)
        assert server.metric("chainsocks_sessions_total") == 8
        workers = {int(pid) for pid in re.findall(r"worker \d+ \(pid (\d+)\)", server.said)}
        [control] = children(server.process.pid) - workers
        os.kill(control, signal.SIGKILL)
        wait_until(lambda: control not in children(server.process.pid))
        wait_until(partial(server.says, "/readyz", 200))


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()}


@many
def test_a_chain_without_a_way_is_not_ready(tmp_path: Path, workers: int) -> None:
    with silent_hop() as hop:
        more = f'[hops]\none = "{hop}"\n[chains]\ndefault = ["one"]\n'
        with serving(tmp_path / "c.toml", workers, more) as server:
            assert server.says("/readyz?chain=default", 200)
            assert server.ask("/api/v1/rest", "POST", '{"hop": "one"}', Authorization=f"Bearer {TOKEN}")[0] == 200
            assert server.says("/readyz?chain=default", 503)
            assert server.says("/readyz", 200)
            assert server.metric("chainsocks_hop_up", hop="one") == 0
