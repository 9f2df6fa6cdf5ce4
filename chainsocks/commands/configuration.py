"""The configuration that a command uses: a file, or none, and options that take precedence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chainsocks.config.chains import Chain
from chainsocks.config.hops import parse_hop_url
from chainsocks.config.listeners import Listener
from chainsocks.config.load import find_config, load_config
from chainsocks.config.models import IDLE_WORKERS, OPEN_PROXY, Config
from chainsocks.config.values import parse_listen
from chainsocks.errors import ConfigError, Problem
from chainsocks.session.own_listeners import hops_that_lead_back

__all__ = ["load", "with_options"]


def load(path: Path | None) -> Config:
    """Read the file at `path`, or the first one in the folders that are searched; without one, return the defaults."""
    path = path or find_config()
    return load_config(path) if path else Config()


def with_options(config: Config, listen: tuple[str, ...], hops: tuple[str, ...], workers: int | None) -> Config:
    """Return `config` with the command line's options, which take precedence.

    Raises:
        ConfigError: an option is not valid, or the server would be an open proxy.
    """
    problems = []
    try:
        if listen:
            listeners = tuple(Listener(parse_listen(each)) for each in listen)
            config = replace(config, server=replace(config.server, listen=listeners))
    except ValueError as error:
        problems.append(Problem("--listen", str(error)))
    try:
        if hops:
            config = replace(config, chains={**config.chains, "default": Chain(*map(parse_hop_url, hops))})
    except ValueError as error:
        problems.append(Problem("--hop", str(error)))
    if workers is not None:
        config = replace(config, server=replace(config.server, workers=workers))
    if config.server.has_idle_workers:
        problems.append(Problem("--workers", IDLE_WORKERS.format(config.server)))
    problems += [Problem("--listen", f"{exposed} {OPEN_PROXY}") for exposed in config.exposed]
    problems += hops_that_lead_back(config)
    if problems:
        raise ConfigError(problems)
    return config
