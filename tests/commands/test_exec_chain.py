"""The process of the chain, which needs a chain; tests/e2e/test_exec.py has it serve one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chainsocks.commands.exec_chain import exec_chain
from chainsocks.errors import ConfigError
from chainsocks.namespace.enter import Inside
from chainsocks.namespace.handover import Handover


def test_without_a_chain_it_is_never_ready(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "chainsocks.toml"
    file.write_text("")
    monkeypatch.setattr("chainsocks.commands.exec_chain.start_logging", lambda level: None)
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket() as caller:
        handover = Handover(Inside((sock,), (), ()), 1)
        with pytest.raises(ConfigError, match="there is no chain to send connections through"):
            exec_chain(
                handover,
                caller,
                pytest.fail,
                published=(),
                login="",
                path=file,
                chain=None,
                hops=(),
                verbose=False,
                quiet=False,
            )
