"""The program holds the signals of a server before it loads anything else."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace

import pytest

from chainsocks import __main__
from chainsocks.signals import SIGNALS, STOP


@pytest.mark.parametrize(
    ("words", "held"), [(["serve", "-q"], SIGNALS - STOP), (["status"], set()), (["-h", "serve"], set()), ([], set())]
)
def test_what_is_held_while_the_command_line_is_loaded(
    monkeypatch: pytest.MonkeyPatch, words: list[str], held: set[signal.Signals]
) -> None:
    seen = []

    def load(name: str) -> SimpleNamespace:
        seen.append((name, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        return SimpleNamespace(main=lambda: seen.append(("main", set())))

    monkeypatch.setattr(sys, "argv", ["chainsocks", *words])
    monkeypatch.setattr(__main__, "import_module", load)
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        __main__.main()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert seen == [("chainsocks.cli", held), ("main", set())]
