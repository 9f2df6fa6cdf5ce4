"""curl, and what came of a run of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.e2e.programs import SocketAddress, clean_environment, find_program, loopback_host

__all__ = ["PROXY_FAILED", "Answer", "Curl"]

PROXY_FAILED = 97
"""curl: "Proxy handshake error"."""


class Answer(NamedTuple):
    status: int
    page: bytes
    complaint: str
    client: SocketAddress
    """Its end of the connection to the proxy."""


class Curl:
    def __init__(self, home: Path) -> None:
        self.path = find_program("curl", "curl")
        self.environment = clean_environment(home)

    def __call__(self, *options: str) -> Answer:
        # --noproxy: nothing is too near for the proxy.
        fixed = [
            "-q",
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "",
            "-w",
            "%{stderr}\n%{local_ip} %{local_port}",
        ]
        if not any("::1" in option for option in options[:2]):
            fixed += ["--interface", loopback_host()]
        done = subprocess.run([self.path, *fixed, *options], env=self.environment, capture_output=True, check=False)
        complaint, _, client = done.stderr.decode().rpartition("\n")
        host, _, port = client.partition(" ")
        return Answer(done.returncode, done.stdout, complaint, (host, int(port)))
