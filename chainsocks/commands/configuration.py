"""The configuration that a command uses: a file, or none, and options that take precedence."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click

from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.hops import parse_hop_url
from chainsocks.config.limits import Limits
from chainsocks.config.listeners import Listener
from chainsocks.config.load import read_file
from chainsocks.config.models import IDLE_WORKERS, Config, HealthSettings, Server, Timeouts, open_to_all
from chainsocks.config.places import config_places, find_config
from chainsocks.config.tor import PLACES
from chainsocks.config.values import parse_listen
from chainsocks.errors import ConfigError, Problem
from chainsocks.protocol.address import printable
from chainsocks.session.own_listeners import hops_that_lead_back

__all__ = ["Found", "find", "log_start", "not_found", "one_of", "with_options"]


@dataclass(frozen=True, slots=True)
class Found:
    """A configuration, and the file that it is from."""

    config: Config
    path: Path | None = None
    """None without a file: the configuration has the defaults."""
    warnings: tuple[Problem, ...] = ()
    """Of the file itself."""


def find(path: Path | None) -> Found:
    """Read the file at `path`, or the first one in the folders that are searched.

    Raises:
        ConfigError: the file cannot be read, or has problems.
    """
    path = path or find_config()
    if path is None:
        return Found(Config())
    loaded = read_file(path)
    return Found(loaded.config, path, loaded.warnings)


def one_of(file: Path | None, path: Path | None) -> Path | None:
    """Return the file that the user named as FILE or with --config.

    Raises:
        UsageError: both are there.
    """
    if file and path:
        raise click.UsageError("the configuration file is named twice: as FILE and with --config")
    return file or path


def not_found() -> str:
    """Say that there is no configuration file, and where one would have been found."""
    return f"no configuration file: looked for {', '.join(map(_searched, config_places()))}"


def _searched(place: Path) -> str:
    """Name a place where a file is searched, and why it could not be searched if that is so."""
    try:
        os.lstat(place)
    except PermissionError as error:
        return f"{place.absolute()} ({error.strerror})"
    except OSError:
        pass
    return str(place.absolute())


def log_start(found: Found, config: Config, hops: tuple[str, ...], log: logging.Logger) -> None:
    """Log where the configuration is from, and which way requests take that no rule sends elsewhere.

    `config` is that of `found`, changed by options, of which `hops` are the hops.
    """
    default = config.default_chain
    if found.path is None and default == DIRECT and config.direct == DIRECT:
        log.warning("%s; everything goes direct", not_found())
        return
    log.info("%s", printable(f"configuration: {found.path.absolute()}" if found.path else not_found()))
    if hops and found.path:
        used = ", ".join(_used(found.config, config)) or "nothing else"
        log.info("%s", printable(f'the chain "default" is that of --hop; the file is used for {used}'))
    for hop in config.hops.values():
        if hop.tor and hop.address in PLACES:
            log.info("%s", printable(f"hop {hop.name}: tor at {hop.address}"))
    way = str(default) if default else "not declared, so what no rule sends elsewhere is refused"
    log.info("%s", printable(f"default chain: {way}"))


def _used(file: Config, config: Config) -> Iterator[str]:
    """Name what a file still sets in `config`, where options replace its default chain and maybe more."""
    replaced = {key: getattr(config.server, key) for key in ("listen", "workers")}
    replaced = {key: value for key, value in replaced.items() if value != getattr(file.server, key)}
    if config.server != replace(Server(), **replaced):
        yield "[server]"
    for section, value, unset in (
        ("[timeouts]", file.timeouts, Timeouts()),
        ("[health]", file.health, HealthSettings()),
        ("[limits]", file.limits, Limits()),
        ("[[users]]", file.users, ()),
        ("[[rules]]", file.rules, ()),
    ):
        if value != unset:
            yield section
    yield from (f"chain {name}" for name in file.chains if name != "default")


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
    problems += [Problem("--listen", open_to_all(exposed)) for exposed in config.exposed]
    problems += hops_that_lead_back(config)
    if problems:
        raise ConfigError(problems)
    return config
