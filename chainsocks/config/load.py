"""Read and check a configuration file, and report all its problems at once.

A problem has a place (a dotted path), and says what was found and what was expected, with a "did you mean" for names
that look misspelt. No problem shows a secret: what may be a login is masked (`chainsocks.protocol.masking`), and values
of secret keys are left out. Entries of lists are counted from 1, as rules are in the log.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from chainsocks.config.chain_problems import seal_problem, warm_problem
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.complaints import Place, as_written, describe_kind, explain
from chainsocks.config.control import Control
from chainsocks.config.groups import Group
from chainsocks.config.hops import Hop
from chainsocks.config.identities import identity_problem
from chainsocks.config.limits import Limits
from chainsocks.config.linking import link_groups, no_such_member, unfit
from chainsocks.config.log_settings import LogSettings
from chainsocks.config.mending import Mended, rename_unknown, without
from chainsocks.config.models import (
    IDLE_WORKERS,
    Config,
    HealthSettings,
    Server,
    Timeouts,
    User,
    open_to_all,
)
from chainsocks.config.rules import DIRECTLY, Rule
from chainsocks.config.schema import (
    ControlTable,
    HealthTable,
    LimitsTable,
    LogTable,
    ServerTable,
    TimeoutsTable,
    UserTable,
)
from chainsocks.config.schema_routing import ChainTable, GroupTable, HopTable, RuleTable
from chainsocks.config.schema_web import WebTable
from chainsocks.config.secrets import Missing, Secrets, others_can_read
from chainsocks.config.sections import SECTIONS
from chainsocks.config.suggest import closest, describe, suggest
from chainsocks.config.tables import Table
from chainsocks.config.toml import parse_toml
from chainsocks.config.users_file import read_users
from chainsocks.config.web import Web
from chainsocks.errors import ConfigError, Problem
from chainsocks.protocol.address import Address, printable
from chainsocks.protocol.masking import masked, masked_name, may_be_login, without_logins

__all__ = ["Loaded", "load_config", "parse_config", "read_file"]

_WRITE_DIRECT = f'write "{DIRECTLY}" in place of the list'

TableT = TypeVar("TableT", bound=Table)


def load_config(path: Path | str) -> Config:
    """Read and check a file. ``load_config(path).chains["office"]`` is one of its chains.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has problems.
    """
    return read_file(Path(path)).config


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is in a file."""

    config: Config
    warnings: tuple[Problem, ...]
    holds_secrets: bool
    """Whether a password is written in it, or its hash."""
    data: Mapping[str, Any]
    """The file itself, as it is written."""


Check = Callable[[Config], Iterable[Problem]]
"""Finds further problems of a configuration."""


def read_file(path: Path, *, lint: bool = False, check: Check | None = None) -> Loaded:
    """Read and check a file; with `lint`, a secret that this machine does not have is a warning and no problem.

    `check` reports further problems. It may get a configuration that lacks what is wrong in the file.

    Raises:
        ConfigError: as `load_config`.
    """
    try:
        text = path.read_text("utf-8-sig")  # some editors put a byte order mark in front
    except OSError as error:
        raise ConfigError([Problem("", error.strerror or str(error))], masked(str(path))) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem("", "not UTF-8 text, as TOML must be")], str(path)) from None
    loaded = _read_text(text, str(path), path.parent, Missing.WARNING if lint else Missing.PROBLEM, check)
    return replace(loaded, warnings=(*loaded.warnings, *_exposure(path, loaded)))


def parse_config(text: str, source: str = "") -> Config:
    """Check a configuration given as text. `source` is the name of the file, for the error.

    Raises:
        ConfigError: it is not TOML, or has problems.
    """
    return _read_text(text, source, Path(), Missing.PROBLEM).config


def _read_text(text: str, source: str, folder: Path, missing: Missing, check: Check | None = None) -> Loaded:
    try:
        data = parse_toml(text)
    except ValueError as error:
        raise ConfigError([Problem("", printable(str(error)))], source, is_whole=False) from None
    reader = _Reader(folder, missing)
    config = reader.read(data)
    if check:
        reader.problems += check(config)
    if reader.problems:
        raise ConfigError(reader.problems, source, is_whole=reader.is_whole)
    return Loaded(config, tuple(reader.warnings), _holds_secrets(data), data)


class _Reader:
    """One pass over a parsed file.

    Each entry is checked on its own, so that one bad entry does not hide another. What is wrong in an entry is mended
    or left out before the entry is checked together with others.
    """

    def __init__(self, folder: Path, missing: Missing) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.is_whole = True
        """Whether everything could be checked."""
        self._damaged: set[str] = set()
        """Sections of which something was left out."""
        self._written: dict[str, str] = {}
        """The names in the file of sections whose names are misspelt."""
        self._logins: set[str] = set()
        """Names that may be logins, which no other problem repeats."""
        self._knows_users = True
        """Whether all users could be read, so that another name is a mistake."""
        self._secrets = Secrets(folder, missing, self._warn)
        self._place: Place = ()
        """The table that is being read."""

    def read(self, data: dict[str, Any]) -> Config:
        for key in [key for key in data if key not in SECTIONS]:
            self._add((key,), f"unknown section{suggest(key, SECTIONS)}")
            if (meant := closest(key, SECTIONS)) and meant not in data:
                self._written[meant] = key
                data = {**data, meant: data[key]}
        server = self._single(ServerTable, data, "server")
        timeouts = self._single(TimeoutsTable, data, "timeouts")
        hops = {
            name: table.build(name)
            for name, raw in self._entries(data, "hops")
            if (table := self._table(HopTable, raw, "hops", name))
        }
        health = self._single(HealthTable, data, "health")
        limits = self._single(LimitsTable, data, "limits")
        log = self._single(LogTable, data, "log")
        control = self._single(ControlTable, data, "control")
        web = self._single(WebTable, data, "web")
        groups = self._read_groups(data, hops)
        chains = self._read_chains(data, {**groups, **hops})
        users = self._read_users(data)
        users_file = server.given().get("users_file") if server else None
        if users_file is not None:
            users += self._read_users_file(users_file, users)
        config = Config(
            server.build() if server else Server(),
            timeouts.build() if timeouts else Timeouts(),
            hops,
            chains,
            users,
            self._read_rules(data),
            groups,
            health.build() if health else HealthSettings(),
            limits.build() if limits else Limits(),
            log.build() if log else LogSettings(),
            control=control.build() if control else Control(),
            web=web.build() if web else Web(),
            direct=self._read_direct(data),
        )
        if config.server.has_idle_workers:
            self._add(("server", "workers"), IDLE_WORKERS.format(config.server))
        addresses = [listener.address for listener in config.server.listen]
        for index, address in enumerate(addresses):
            if address in addresses[:index] and not (isinstance(address, Address) and address.port == 0):
                self._add(("server", "listen", index), f"{address} is listed twice")
        if config.requires_gssapi and config.users:
            say = "with it, [[users]] cannot log in: remove them, or set gssapi_required = false"
            self._add(("server", "gssapi"), say)
        self._check_listeners(config, data)
        self._check_rules(config, data)
        if data.get("users", []) == [] and users_file is None:
            if not self._damaged.isdisjoint({"server", "rules"}):
                self.is_whole &= not config.exposed
            else:
                for listener in config.exposed:
                    self._add(("server", "listen"), open_to_all(listener))
        return config

    def _declared(self, data: Mapping[str, Any]) -> list[str]:
        """Return all names that a list of hops may contain."""
        return [name for section in ("hops", "groups") for name, _ in self._entries(data, section, report=False)]

    def _read_groups(self, data: Mapping[str, Any], hops: Mapping[str, Hop]) -> dict[str, Group]:
        tables = {
            name: table
            for name, raw in self._entries(data, "groups")
            if (table := self._table(GroupTable, raw, "groups", name))
        }

        def complain(place: Place, message: str) -> None:
            section, name, *rest = place
            if rest[:1] == ["hops"] and isinstance(data["groups"][name], list):
                rest = rest[1:]  # the short form: the user did not write the key
            self._add((section, name, *rest), message)

        return link_groups(tables, hops, self._declared(data), complain)

    def _read_chains(self, data: Mapping[str, Any], members: Mapping[str, Hop | Group]) -> dict[str, Chain]:
        declared = self._declared(data)
        chains = {}
        for name, raw in self._entries(data, "chains"):
            if name == DIRECTLY:
                continue
            table = self._table(ChainTable, raw, "chains", name)
            if table is None:
                continue
            place = ("chains", name) if isinstance(raw, list) else ("chains", name, "hops")
            for index, called in enumerate(table.hops):
                if called not in declared:
                    self._add((*place, index), no_such_member(called, declared, _WRITE_DIRECT))
            if all(called in members for called in table.hops):
                places = tuple(members[called] for called in table.hops)
                if table.warm and (problem := warm_problem(places, send_proxy=table.send_proxy)):
                    self._add(("chains", name, "warm"), problem)
                    continue
                if table.seal and (
                    problem := seal_problem(places, send_proxy=table.send_proxy, resolver=table.resolver)
                ):
                    self._add(("chains", name, "seal"), problem)
                    continue
                try:
                    chains[name] = table.build(name, members)
                except ValueError as error:
                    self._add(("chains", name, "udp"), str(error))
                    continue
                for where, why in unfit(chains[name]):
                    self._add((*place, where) if isinstance(where, int) else ("chains", name, where), why)
        return chains

    def _read_direct(self, data: Mapping[str, Any]) -> Chain:
        """Return the way without hops, which ``[chains] direct`` may change."""
        chains = data.get("chains")
        raw = chains.get(DIRECTLY, {}) if isinstance(chains, dict) else {}
        if not isinstance(raw, dict) or raw.get("hops", DIRECTLY) != DIRECTLY:
            problem = f'"{DIRECTLY}" is the way without hops: write a table without `hops`, or choose another name'
            self._add(("chains", DIRECTLY), problem)
            return DIRECT
        table = self._table(ChainTable, raw | {"hops": DIRECTLY}, "chains", DIRECTLY)
        return table.build(DIRECTLY, {}) if table else DIRECT

    def _read_users(self, data: Mapping[str, Any]) -> tuple[User, ...]:
        raw_users = data.get("users", [])
        if not isinstance(raw_users, list):
            self._add(("users",), "expected [[users]], in double brackets, once for each user")
            return ()
        tables = [self._table(UserTable, raw, "users", index) for index, raw in enumerate(raw_users)]
        self._knows_users = not tables or any(tables)
        seen = set()
        for index, table in enumerate(tables):
            if table and table.name in seen:
                self._add(("users", index, "name"), f"{describe(table.name)} is declared twice; remove one")
            seen.add(table and table.name)
        return tuple(table.build() for table in tables if table)

    def _read_users_file(self, path: str, others: tuple[User, ...]) -> tuple[User, ...]:
        """Return the users of the file that ``users_file`` names; `others` are those of ``[[users]]``."""
        self._place = ("server",)
        listed = read_users(self._secrets, path, others)
        for problem in listed.problems:
            self._add(("server", "users_file"), problem)
        self._knows_users &= listed.is_complete
        return listed.users

    def _read_rules(self, data: Mapping[str, Any]) -> tuple[Rule, ...]:
        raw_rules = data.get("rules", [])
        if not isinstance(raw_rules, list):
            self._add(("rules",), "expected [[rules]], in double brackets, once for each rule")
            self._damaged.add("rules")
            return ()
        rules = []
        for number, raw in enumerate(raw_rules, 1):
            before = len(self.problems)
            if table := self._table(RuleTable, raw, "rules", number - 1):
                rules.append(table.build(number, raw if len(self.problems) == before else {}))
        return tuple(rules)

    def _check_listeners(self, config: Config, data: Mapping[str, Any]) -> None:
        """Check that the chains that listeners name exist."""
        for index, listener in enumerate(config.server.listen):
            if listener.chain is not None:
                self._check_chain(listener.chain, data, ("server", "listen", index, "chain"))

    def _check_chain(self, name: str, data: Mapping[str, Any], place: Place) -> None:
        """Check that a chain is declared, though maybe with a mistake in it; `place` names it."""
        chains = [DIRECTLY, *(name for name, _ in self._entries(data, "chains", report=False))]
        if name not in chains:
            self._add(place, f"no chain is called {describe(name)}{suggest(name, chains)}")

    def _check_rules(self, config: Config, data: Mapping[str, Any]) -> None:
        """Check that the chains and users that rules name exist."""
        users = [user.name for user in config.users]
        sealed = {name for name, chain in config.chains.items() if chain.seal}
        for rule in config.rules:
            place = ("rules", rule.number - 1)
            if rule.chain is not None:
                self._check_chain(rule.chain, data, (*place, "chain"))
            later = {each.chain for each in config.rules if each.number >= rule.number} | {"default"}
            if rule.resolve and (shown := sorted(sealed & later)):
                self._add((*place, "resolve"), f"it shows names to the local resolver, and chain {shown[0]} has seal")
            if not self._knows_users:
                continue
            problems = (identity_problem(user.decode(), users, config.server.proofs) for user in sorted(rule.users))
            for problem in dict.fromkeys(filter(None, problems)):
                self._add((*place, "users"), problem)

    def _entries(self, data: Mapping[str, Any], section: str, *, report: bool = True) -> Iterator[tuple[str, Any]]:
        entries = data.get(section, {})
        if isinstance(entries, dict):
            for name in filter(may_be_login, entries if report else ()):
                self._logins.add(name)
                self._add((section, name), "this name may hold a login, and the log shows names; choose another")
            yield from entries.items()
        elif report:
            self._add((section,), f"expected a table [{section}], found {describe_kind(entries)}")

    def _single(self, model: type[TableT], data: Mapping[str, Any], name: str) -> TableT | None:
        """Read a table that stands once; None where it does not stand at all, and its model need not be built."""
        return self._table(model, data[name], name) if name in data else None

    def _table(self, model: type[TableT], raw: object, *place: str | int) -> TableT | None:
        self._place = place
        try:
            return model.model_validate(raw, context=self._secrets)
        except ValidationError as error:
            details = error.errors(include_url=False)
        unknown = [each["loc"] for each in details if each["type"] == "extra_forbidden"]
        written = raw if isinstance(raw, dict) else {}
        mended = rename_unknown(model, written, unknown) if isinstance(raw, dict) else None
        for detail in details:
            location = detail["loc"]
            if isinstance(raw, str | list):  # the short form: the user did not write the key
                location = location[1:]
            elif mended:
                location = as_written(written, location)
                if detail["type"] == "missing" and location in mended.renamed:
                    continue  # it is there, and misspelt
            self._add((*place, *location), explain(model, detail))
        table = self._read_mended(model, mended, details, place) if mended else None
        if table is None:
            self._damaged.add(str(place[0]))
            self.is_whole = False
        return table

    def _read_mended(self, model: type[TableT], mended: Mended, known: Sequence[Any], place: Place) -> TableT | None:
        """Return the table that was probably meant, or None; report its problems that are not `known`."""
        if not mended.is_whole:
            self._damaged.add(str(place[0]))
        try:
            return model.model_validate(mended.raw, context=self._secrets)
        except ValidationError as error:
            details = error.errors(include_url=False)
        reported = {(each["loc"], each["type"]) for each in known}
        for detail in details if mended.is_whole else ():
            if (detail["loc"], detail["type"]) not in reported:
                self._add((*place, *mended.place_in_file(detail["loc"])), explain(model, detail))
        self._damaged.add(str(place[0]))
        rest = without(mended.raw, [each["loc"] for each in details])
        try:
            return None if rest is None else model.model_validate(rest, context=self._secrets)
        except ValidationError:
            return None

    def _warn(self, key: str, message: str) -> None:
        """Add a warning about a key of the table that is being read."""
        self.warnings.append(Problem(_path((*self._place, key)), printable(message)))

    def _add(self, place: Place, message: str) -> None:
        section, *rest = place
        place = (self._written.get(str(section), section), *rest)
        self.problems.append(Problem(_path(place), printable(without_logins(message, self._logins))))


def _holds_secrets(data: Mapping[str, Any]) -> bool:
    """Whether a valid file has a password in it, or the hash of one."""
    for hop in data.get("hops", {}).values():
        url = hop if isinstance(hop, str) else hop.get("url", "")
        if ":" in url.partition("://")[2].rpartition("@")[0] or (isinstance(hop, dict) and "password" in hop):
            return True
    return any("password_hash" in user for user in data.get("users", []))


def _exposure(path: Path, loaded: Loaded) -> Iterator[Problem]:
    """Warn of a file with secrets that every user of the machine can read."""
    if not loaded.holds_secrets:
        return
    if others_can_read(path):
        what = "has passwords in it, and every user of this machine can read it"
        yield Problem("", printable(f"{path} {what}: chmod o= {shlex.quote(str(path))}"))


def _path(place: Place) -> str:
    path = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{masked_name(part)}" for part in place)
    return printable(path.lstrip("."))
