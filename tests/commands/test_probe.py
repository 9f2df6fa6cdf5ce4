"""`chainsocks probe`, from the command line."""

from __future__ import annotations

import socket

import pytest

from tests.commands import run_main


def test_a_probe_of_a_hop_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        status, out, err = run_main(capsys, "probe", "--hop", "socks5://{}:{}".format(*closed.getsockname()))
    assert (status, err) == (1, "")
    assert "TCP connect: connection refused" in out
