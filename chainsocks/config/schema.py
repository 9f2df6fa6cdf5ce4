"""The shape of the TOML file, as pydantic models that build the frozen values of `chainsocks.config.models`.

The tables have no defaults of their own: what a user leaves out is left to the defaults of the values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from ipaddress import IPv4Address, IPv6Address
from operator import or_
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from chainsocks.config.chains import Chain, Group, Pick, Udp
from chainsocks.config.gssapi import (
    gather_gssapi,
    parse_keytab,
    parse_principal,
    parse_protection,
    parse_service,
    parse_service_host,
    with_gssapi,
)
from chainsocks.config.hops import (
    Hop,
    HopProtocol,
    Isolate,
    NamesOnly,
    Pipeline,
    Resolve,
    make_credentials,
    parse_hop_url,
)
from chainsocks.config.models import HealthSettings, Ident, Listen, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, parse_hash
from chainsocks.config.rules import (
    DIRECTLY,
    Hosts,
    Network,
    Rule,
    Spoken,
    parse_commands,
    parse_networks,
    parse_spoken,
    parse_to,
)
from chainsocks.config.values import (
    MAX_INTEGER,
    environment,
    parse_duration,
    parse_ip,
    parse_listen,
    parse_part_address,
    parse_ports,
    parse_resolver,
    parse_target,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.messages import Command, Credentials, Version
from chainsocks.protocol.socks5 import MAX_LOGIN

__all__ = [
    "ChainTable",
    "GroupTable",
    "HealthTable",
    "HopTable",
    "ListenTable",
    "RuleTable",
    "ServerTable",
    "Table",
    "TimeoutsTable",
    "UserTable",
]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text in quotes")  # not what was found: most of these hold a secret
    return value


def _not_empty(value: object) -> object:
    if value == []:
        raise ValueError("expected at least one entry")
    return value


def _user_name(name: str) -> str:
    size = len(name.encode())
    if not 1 <= size <= MAX_LOGIN:
        raise ValueError(f"a name has 1 to {MAX_LOGIN} bytes, this one has {size}")
    return name


def _listed(value: object) -> list[object]:
    """Let a single value stand for a list of it."""
    _not_empty(value)
    return value if isinstance(value, list) else [value]


def _port_range(value: object) -> range:
    return parse_ports(str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value))


def _version(value: object) -> Spoken:
    return parse_spoken(str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value))


def _denies(value: object) -> object:
    if value is False:
        raise ValueError("found false: leave it out of a rule that lets requests through")
    return value


_LIST = BeforeValidator(_listed)
Duration = Annotated[float, BeforeValidator(parse_duration)]
ListenText = Annotated[Listen, BeforeValidator(lambda value: parse_listen(_text(value)))]
HopAddress = Annotated[Address, BeforeValidator(lambda value: parse_part_address(_text(value)))]
IPText = Annotated[IPv4Address | IPv6Address, BeforeValidator(lambda value: parse_ip(_text(value)))]
LeastProtection = Annotated[Protection, BeforeValidator(lambda value: parse_protection(_text(value)))]
ServiceName = Annotated[str, BeforeValidator(lambda value: parse_service(_text(value)))]
ResolverText = Annotated[Address, BeforeValidator(lambda value: parse_resolver(_text(value)))]
PasswordHash = Annotated[HashedPassword, BeforeValidator(lambda value: parse_hash(_text(value)))]


class Table(BaseModel):
    """A TOML table: unknown keys are errors, and nothing is converted silently.

    The defaults below only mark a key as optional; `given` leaves them out.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def given(self) -> dict[str, Any]:
        """Return what the user wrote, as keyword arguments for the value that has the defaults."""
        return {key: getattr(self, key) for key in self.model_fields_set}


class ListenTable(Table):
    """One of ``listen`` in ``[server]``: an address, or a table with it and more."""

    address: ListenText
    names_only: NamesOnly = NamesOnly.OFF

    @model_validator(mode="before")
    @classmethod
    def _accept_address(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"address": value}


class ServerTable(Table):
    """``[server]``."""

    listen: Annotated[tuple[ListenTable, ...], BeforeValidator(_not_empty)] = ()
    workers: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] = 0
    max_sessions: Annotated[StrictInt, Field(ge=1, le=MAX_INTEGER)] = 0
    open: StrictBool = False
    udp_address: IPText | None = None
    udp_ports: Annotated[range, BeforeValidator(lambda value: parse_ports(_text(value)))] = range(1)
    bind_address: IPText | None = None
    ident: Ident = Ident.OFF
    gssapi: LeastProtection | None = None
    gssapi_services: Annotated[tuple[ServiceName, ...], BeforeValidator(_not_empty)] = ()
    gssapi_keytab: Annotated[str, BeforeValidator(lambda value: parse_keytab(_text(value)))] = ""
    gssapi_principals: Annotated[
        tuple[Annotated[str, BeforeValidator(lambda value: parse_principal(_text(value)))], ...],
        BeforeValidator(_not_empty),
    ] = ()
    gssapi_required: StrictBool = True
    _gssapi: ServerGssapi | None

    @model_validator(mode="after")
    def _assemble(self) -> Self:
        self._gssapi = gather_gssapi(ServerGssapi, self.given())
        return self

    def build(self) -> Server:
        """Make the value."""
        given = {key: value for key, value in self.given().items() if not key.startswith("gssapi")}
        if self.listen:
            given["listen"] = tuple(table.address for table in self.listen)
            given["names_only"] = {
                table.address: table.names_only for table in self.listen if table.model_fields_set > {"address"}
            }
        return Server(**given, gssapi=self._gssapi)


class TimeoutsTable(Table):
    """``[timeouts]``."""

    handshake: Duration = 0
    ident: Duration = 0
    resolve: Duration = 0
    connect: Duration = 0
    hop: Duration = 0
    dial: Duration = 0
    reply: Duration = 0
    idle: Duration = 0
    half_close: Duration = 0
    bind: Duration = 0
    udp_idle: Duration = 0
    grace: Duration = 0

    def build(self) -> Timeouts:
        """Make the value."""
        return Timeouts(**self.given())


class HopTable(Table):
    """One of ``[hops]``: a URL, or a table with ``url`` or with its parts."""

    url: Annotated[Hop | None, BeforeValidator(lambda value: parse_hop_url(_text(value)))] = None
    protocol: HopProtocol | None = None
    address: HopAddress | None = None
    user_id: StrictStr | None = None
    username: StrictStr | None = None
    password: StrictStr | None = None
    password_env: StrictStr | None = None
    timeout: Duration | None = None
    resolve: Resolve = Resolve.REMOTE
    pipeline: Pipeline | None = None
    tor: StrictBool = False
    isolate: Isolate = Isolate.OFF
    gssapi: LeastProtection | None = None
    gssapi_service: ServiceName = ""
    gssapi_host: Annotated[str, BeforeValidator(lambda value: parse_service_host(_text(value)))] = ""
    _hop: Hop

    @model_validator(mode="before")
    @classmethod
    def _accept_url(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _assemble(self) -> Self:
        if self.url:
            parts = self.model_fields_set - {"url", "timeout", "resolve", "pipeline", "tor", "isolate"}
            if parts := {part for part in parts if not part.startswith("gssapi")}:
                raise ValueError(f"the url says it already: take out {', '.join(sorted(parts))}")
            hop = self.url
        elif self.protocol and self.address:
            hop = Hop("", self.protocol, self.address, self._credentials(self.protocol))
        else:
            raise ValueError("expected a url, or both protocol and address")
        if login := gather_gssapi(Gssapi, self.given()):
            hop = with_gssapi(hop, login)
        self._hop = replace(
            hop,
            timeout=self.timeout,
            resolve=self.resolve,
            pipeline=self.pipeline,
            tor=self.tor,
            isolate=self.isolate,
        )
        return self

    def _credentials(self, protocol: HopProtocol) -> Credentials | None:
        if protocol.version is Version.SOCKS4:
            user, unfit = self.user_id, {"username", "password", "password_env"}
        else:
            user, unfit = self.username, {"user_id"}
        if unfit := unfit & self.model_fields_set:
            raise ValueError(f"{', '.join(sorted(unfit))} does not go with protocol {protocol.value!r}")
        if self.password is not None and self.password_env is not None:
            raise ValueError("password and password_env exclude each other")
        password = None if self.password is None else self.password.encode()
        if self.password_env is not None:
            password = environment(self.password_env)
        if user is None and password is None:
            return None
        if user is None:
            raise ValueError("a password needs a username")
        return make_credentials(protocol, user.encode(), password)

    def build(self, name: str) -> Hop:
        """Make the value."""
        return replace(self._hop, name=name)


class HealthTable(Table):
    """``[health]``."""

    rest: Duration = 0
    longest_rest: Duration = 0
    remeasure: Duration = 0

    def build(self) -> HealthSettings:
        """Make the value."""
        return HealthSettings(**self.given())


class _ListOfHops(Table):
    """A list of the names of hops and groups, or a table with them and more."""

    hops: Annotated[list[StrictStr], BeforeValidator(_not_empty)]

    @model_validator(mode="before")
    @classmethod
    def _accept_list(cls, value: object) -> object:
        return {"hops": value} if isinstance(value, list) else value

    def _rest(self) -> dict[str, Any]:
        return {key: value for key, value in self.given().items() if key != "hops"}


class GroupTable(_ListOfHops):
    """One of ``[groups]``."""

    pick: Pick = Pick.FAILOVER
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None
    hedge: Duration | None = None
    retry_refused: StrictBool = False
    check: Duration | None = None
    check_target: Annotated[Address, BeforeValidator(lambda value: parse_target(_text(value)))] | None = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.weights is not None and self.pick is not Pick.RANDOM:
            raise ValueError('weights go with pick = "random"')
        if self.check_target and self.check is None:
            raise ValueError('check_target goes with check, as in check = "30s"')
        return self

    def build(self, name: str, members: Mapping[str, Hop | Group]) -> Group:
        """Make the value.

        Raises:
            KeyError: one of its hops is not among `members`.
        """
        weights = self.weights or {}
        given = self._rest() | {"weights": tuple(weights.get(hop, 1.0) for hop in self.hops)}
        return Group(*(members[hop] for hop in self.hops), name=name, **given)


class ChainTable(_ListOfHops):
    """One of ``[chains]``."""

    dial: Duration | None = None
    udp: Udp | None = None
    resolver: ResolverText | None = None
    names_only: NamesOnly = NamesOnly.OFF
    hedge: Duration | None = None
    skip_dead: StrictBool = False
    length: Annotated[StrictInt, Field(ge=1)] | None = None
    pipeline: Pipeline = Pipeline.OFF

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.length is not None and not self.skip_dead:
            raise ValueError("length goes with skip_dead = true: otherwise each of its hops is gone through")
        if self.length is not None and self.length > len(self.hops):
            raise ValueError(f"found length = {self.length}, and {len(self.hops)} hops to go through")
        return self

    def build(self, name: str, members: Mapping[str, Hop | Group]) -> Chain:
        """Make the value.

        Raises:
            KeyError: one of its hops is not among `members`.
            ValueError: they cannot do what `udp` says.
        """
        return Chain(*(members[hop] for hop in self.hops), name=name, **self._rest())


class RuleTable(Table):
    """One of ``[[rules]]``."""

    to: Annotated[list[Annotated[Hosts, BeforeValidator(lambda value: parse_to(_text(value)))]], _LIST] = []
    ports: Annotated[list[Annotated[range, BeforeValidator(_port_range)]], _LIST] = []
    clients: Annotated[
        list[Annotated[tuple[Network, ...], BeforeValidator(lambda value: parse_networks(_text(value)))]],
        _LIST,
        Field(alias="from"),
    ] = []
    users: Annotated[list[StrictStr], _LIST] = []
    commands: Annotated[
        list[Annotated[frozenset[Command], BeforeValidator(lambda value: parse_commands(_text(value)))]], _LIST
    ] = []
    versions: Annotated[list[Annotated[Spoken, BeforeValidator(_version)]], _LIST] = []
    chain: StrictStr | None = None
    deny: Annotated[StrictBool | None, BeforeValidator(_denies)] = None
    resolve: StrictBool = False

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if (self.chain is None) == (self.deny is None):
            raise ValueError(f'expected either chain = NAME, which may be "{DIRECTLY}", or deny = true')
        if self.resolve and not any(hosts.networks for hosts in self.to):
            raise ValueError("resolve looks names up to compare their addresses with `to`, which has none")
        return self

    def build(self, number: int, raw: Mapping[str, Any]) -> Rule:
        """Make the value; `raw` is the table as it stands in the file."""
        conditions = {key: _listed(values) for key, values in raw.items() if key not in {"chain", "deny", "resolve"}}
        return Rule(
            number,
            self.chain,
            reduce(or_, self.to, Hosts()),
            tuple(self.ports),
            tuple(network for networks in self.clients for network in networks),
            frozenset(user.encode() for user in self.users),
            frozenset().union(*self.commands),
            frozenset(self.versions),
            self.resolve,
            MappingProxyType({key: tuple(map(json.dumps, values)) for key, values in conditions.items()}),
        )


class UserTable(Table):
    """One of ``[[users]]``."""

    name: Annotated[StrictStr, AfterValidator(_user_name)]
    password_hash: PasswordHash | None = None
    password_env: StrictStr | None = None
    _password: Password

    @model_validator(mode="after")
    def _assemble(self) -> Self:
        if self.password_hash is not None and self.password_env is None:
            self._password = self.password_hash
        elif self.password_env is not None and self.password_hash is None:
            self._password = PlainPassword(environment(self.password_env))
        else:
            raise ValueError("expected either password_hash (see `chainsocks hash-password`) or password_env")
        return self

    def build(self) -> User:
        """Make the value."""
        return User(self.name, self._password)
