"""The process of the chain of `chainsocks exec`, which is outside the program's namespace."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio

from chainsocks.commands.configuration import find
from chainsocks.namespace.handover import Handover
from chainsocks.observe.log import change_logging, start_logging
from chainsocks.server.file_limit import raise_limit
from chainsocks.tools.exec.serve import Program, serve_program
from chainsocks.tools.exec.way import config_inside, direct_ways

__all__ = ["exec_chain"]

log = logging.getLogger("chainsocks.exec")


def exec_chain(
    handover: Handover,
    caller: socket.socket,
    ready: Callable[[], None],
    *,
    published: Sequence[tuple[socket.socket, int]],
    login: str,
    path: Path | None,
    chain: str | None,
    hops: tuple[str, ...],
    verbose: bool,
    quiet: bool,
) -> None:
    """Serve a program until it has ended, and call `ready` when it can begin; see `chainsocks.tools.exec.serve`.

    With a `login`, its listener is an ordinary one, for this login.

    Raises:
        ConfigError: the configuration or an option is not valid, or there is no chain.
    """
    program = Program(caller, handover, tuple(published))
    start_logging(logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING)
    config = config_inside(find(path).config, chain, hops, program.addresses, login)
    change_logging(config.log)
    if way := direct_ways(config):
        log.warning("%s", way)
    raise_limit()
    gc.freeze()  # see `chainsocks.commands.serve`
    trio.run(partial(serve_program, config, program, ready))
