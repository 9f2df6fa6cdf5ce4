"""The tables about the routes of requests: ``[hops]``, ``[groups]``, ``[chains]`` and ``[[rules]]``.

They build frozen values, as those of `chainsocks.config.schema` do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationInfo,
    model_validator,
)

from chainsocks.config.chains import MOST_WARM, WARM_AGE, WARM_IDLE, Chain
from chainsocks.config.choices import Isolate, NamesOnly, Pick, Pipeline, Resolve, Udp, UdpFilter, UdpRelay
from chainsocks.config.extras import TLS, require
from chainsocks.config.groups import Group
from chainsocks.config.gssapi import (
    gather_gssapi,
    parse_service_host,
    with_gssapi,
)
from chainsocks.config.hop_addresses import parse_udp_relay
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import KINDS, HopKind, HopProtocol, make_credentials
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
from chainsocks.config.secrets import Secrets
from chainsocks.config.suggest import describe
from chainsocks.config.tables import (
    LIST,
    NUMBER,
    Duration,
    LeastProtection,
    ServiceName,
    Table,
    listed,
    not_empty,
    parsed,
)
from chainsocks.config.tls import Tls, context_of, parse_pin
from chainsocks.config.values import parse_part_address, parse_ports, parse_resolver, parse_target
from chainsocks.egress import Family, Same, as_source, parse_interface, parse_source
from chainsocks.protocol.address import Address
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.messages import Command, Credentials, UserId

__all__ = ["WITHOUT_HOPS", "ChainTable", "GroupTable", "HopTable", "RuleTable", "TlsTable"]


def _denies(value: object) -> object:
    if value is False:
        raise ValueError("found false, expected true; leave deny out of a rule that allows requests")
    return value


PASSWORDS = {"password", "password_env", "password_file"}
"""The keys of a hop that each have a password."""

HopAddress = Annotated[Address, parsed(parse_part_address)]
ResolverText = Annotated[Address, parsed(parse_resolver)]


def _as_tls(value: object) -> object:
    if value is False:
        raise ValueError("found false, expected true or a table; leave tls out of a hop without it")
    if not isinstance(value, bool | dict):
        raise ValueError(f"expected true or a table, found {describe(value)}")
    return {} if value is True else value


class TlsTable(Table):
    """``tls`` in one of ``[hops]``: true, or a table."""

    name: Annotated[StrictStr, Field(min_length=1)] | None = None
    ca: StrictStr | None = None
    pin: Annotated[list[Annotated[bytes, parsed(parse_pin)]], LIST] | None = None
    client_cert: StrictStr | None = None
    client_key: StrictStr | None = None
    alpn: Annotated[list[StrictStr], LIST] | None = None

    def build(self, secrets: Secrets) -> Tls:
        """Make the value.

        Raises:
            ValueError: a file is missing or has the wrong contents, or a package is not installed.
        """
        files = {key: getattr(self, key) for key in ("ca", "client_cert", "client_key")}
        places = {key: secrets.path_of(path) for key, path in files.items() if path is not None}
        if self.pin:
            require(*TLS)
        tls = Tls(self.name, pins=tuple(self.pin or ()), alpn=tuple(self.alpn or ()), **places)
        context_of(tls)
        return tls


_EGRESS = {"source", "interface", "mark"}
_BESIDE_A_URL = {"url", "timeout", "resolve", "pipeline", "tor", "isolate", "udp_relay", "tls", "family", *_EGRESS}

SourceText = Annotated[Address | Same, parsed(parse_source)]
InterfaceText = Annotated[str, parsed(parse_interface)]
Mark = Annotated[StrictInt, Field(ge=1, lt=2**32)]


class HopTable(Table):
    """One of ``[hops]``: a URL, or a table with ``url`` or with the parts of one."""

    url: Annotated[Hop | None, parsed(parse_hop_url)] = None
    protocol: HopProtocol | None = None
    address: HopAddress | None = None
    user_id: StrictStr | None = None
    username: StrictStr | None = None
    password: StrictStr | None = None
    password_env: StrictStr | None = None
    password_file: StrictStr | None = None
    timeout: Duration | None = None
    resolve: Resolve = Resolve.REMOTE
    pipeline: Pipeline | None = None
    tor: StrictBool = False
    isolate: Isolate = Isolate.OFF
    udp_relay: Annotated[UdpRelay | Address, parsed(parse_udp_relay)] = UdpRelay.HOP
    gssapi: LeastProtection | None = None
    gssapi_service: ServiceName = ""
    gssapi_host: Annotated[str, parsed(parse_service_host)] = ""
    tls: Annotated[TlsTable | None, BeforeValidator(_as_tls)] = None
    source: Annotated[tuple[SourceText, ...], LIST] = ()
    interface: InterfaceText | None = None
    mark: Mark | None = None
    family: Family | None = None
    _hop: Hop

    @model_validator(mode="before")
    @classmethod
    def _accept_url(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _assemble(self, info: ValidationInfo) -> Self:
        if self.url:
            parts = self.model_fields_set - _BESIDE_A_URL
            if parts := {part for part in parts if not part.startswith("gssapi")}:
                raise ValueError(f"the url contains these already: remove {', '.join(sorted(parts))}")
            hop = self.url
        elif self.protocol and self.address:
            credentials = self._credentials(KINDS[self.protocol], info.context or Secrets())
            hop = Hop("", self.protocol, self.address, credentials, tls=Tls() if self.tls else None)
        else:
            raise ValueError("expected a url, or both protocol and address")
        if login := gather_gssapi(Gssapi, self.given()):
            hop = with_gssapi(hop, login)
        self._hop = replace(
            hop,
            timeout=self.timeout,
            resolve=self.resolve,
            pipeline=self.pipeline,
            tor=self.tor or hop.tor,
            isolate=self.isolate,
            udp_relay=self.udp_relay,
            tls=self.tls.build(info.context or Secrets()) if self.tls else hop.tls,
            source=as_source(self.source),
            interface=self.interface,
            mark=self.mark,
            family=self.family,
        )
        return self

    def _credentials(self, kind: HopKind, secrets: Secrets) -> Credentials | None:
        if UserId in kind.logins:
            user, unfit = self.user_id, {"username", *PASSWORDS}
        else:
            user, unfit = self.username, {"user_id"}
        if unfit := unfit & self.model_fields_set:
            raise ValueError(f"{', '.join(sorted(unfit))} cannot be used with protocol {kind.protocol.value!r}")
        if len(passwords := self.model_fields_set & PASSWORDS) > 1:
            raise ValueError(f"{' and '.join(sorted(passwords))} cannot be set together")
        password = None if self.password is None else self.password.encode()
        if self.password_env is not None:
            password = secrets.from_variable(self.password_env)
        if self.password_file is not None:
            password = secrets.from_file(self.password_file)
        if user is None and password is None:
            return None
        if user is None:
            raise ValueError('a password needs a username, which may be empty: ""')
        return make_credentials(kind, user.encode(), password)

    def build(self, name: str) -> Hop:
        """Make the value."""
        return replace(self._hop, name=name)


class _ListOfHops(Table):
    """A list of names of hops and groups, or a table with such a list and more keys."""

    hops: Annotated[list[StrictStr], BeforeValidator(not_empty)]

    @model_validator(mode="before")
    @classmethod
    def _accept_list(cls, value: object) -> object:
        return {"hops": value} if isinstance(value, list) or value == DIRECTLY else value

    def _rest(self) -> dict[str, Any]:
        return {key: value for key, value in self.given().items() if key != "hops"}


class GroupTable(_ListOfHops):
    """One of ``[groups]``."""

    pick: Pick = Pick.FAILOVER
    weights: dict[str, Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]] | None = None
    hedge: Duration | None = None
    retry_refused: StrictBool = False
    check: Duration | None = None
    check_target: Annotated[Address, parsed(parse_target)] | None = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.weights is not None and self.pick is not Pick.RANDOM:
            raise ValueError('weights need pick = "random"')
        if self.check_target and self.check is None:
            raise ValueError('check_target needs check, as in check = "30s"')
        return self

    def build(self, name: str, members: Mapping[str, Hop | Group]) -> Group:
        """Make the value.

        Raises:
            KeyError: one of its hops is not among `members`.
        """
        weights = self.weights or {}
        given = self._rest() | {"weights": tuple(weights.get(hop, 1.0) for hop in self.hops)}
        return Group(*(members[hop] for hop in self.hops), name=name, **given)


def _hops_of_a_chain(value: object) -> object:
    """Read ``"direct"`` as a chain without hops. An empty list is an error: it may be a list that was not filled in."""
    if value == DIRECTLY:
        return []
    if isinstance(value, str):
        raise ValueError(f'found a text, expected a list of hop names, in square brackets, or "{DIRECTLY}"')
    if value == []:
        raise ValueError(f'expected at least one hop; to go without hops, write "{DIRECTLY}" in place of the list')
    return value


WITHOUT_HOPS = {
    "hops",
    "dial",
    "udp",
    "names_only",
    "send_proxy",
    "idle",
    "half_close",
    "family",
    "udp_filter",
    *_EGRESS,
}
"""The keys of a chain without hops."""


class ChainTable(_ListOfHops):
    """One of ``[chains]``: a list, a table, or ``"direct"`` for a chain without hops."""

    hops: Annotated[
        list[StrictStr], BeforeValidator(_hops_of_a_chain, json_schema_input_type=list[str] | Literal["direct"])
    ]
    dial: Duration | None = None
    udp: Udp | None = None
    resolver: ResolverText | None = None
    names_only: NamesOnly = NamesOnly.OFF
    hedge: Duration | None = None
    skip_dead: StrictBool = False
    length: Annotated[StrictInt, Field(ge=1)] | None = None
    pipeline: Pipeline = Pipeline.OFF
    warm: Annotated[StrictInt, Field(ge=0, le=MOST_WARM)] = 0
    warm_idle: Duration = WARM_IDLE
    warm_age: Duration = WARM_AGE
    send_proxy: StrictBool = False
    idle: Duration | None = None
    half_close: Duration | None = None
    seal: StrictBool = False
    family: Family | None = None
    source: Annotated[tuple[SourceText, ...], LIST] = ()
    interface: InterfaceText | None = None
    mark: Mark | None = None
    udp_filter: UdpFilter = UdpFilter.ADDRESS_AND_PORT

    @model_validator(mode="after")
    def _fit(self) -> Self:
        as_source(self.source)
        if self.hops and (unfit := self.model_fields_set & _EGRESS):
            raise ValueError(
                f"{', '.join(sorted(unfit))} cannot be used in a chain with hops: the connection to its first hop is "
                "that hop's affair, so move this to the hop"
            )
        if self.hops and "udp_filter" in self.model_fields_set:
            raise ValueError("udp_filter cannot be used in a chain with hops: the last hop decides what comes in")
        if not self.hops and (unfit := self.model_fields_set - WITHOUT_HOPS):
            raise ValueError(f"{', '.join(sorted(unfit))} cannot be used in a chain without hops")
        if self.length is not None and not self.skip_dead:
            raise ValueError("length needs skip_dead = true; without it, a chain uses all its hops")
        if self.length is not None and self.length > len(self.hops):
            raise ValueError(f"length is {self.length}, but the chain has only {len(self.hops)} hops")
        if not self.warm and (unused := self.model_fields_set & {"warm_idle", "warm_age"}):
            raise ValueError(f"{', '.join(sorted(unused))} need{'s' * (len(unused) == 1)} warm, as in warm = 2")
        return self

    def build(self, name: str, members: Mapping[str, Hop | Group]) -> Chain:
        """Make the value.

        Raises:
            KeyError: one of its hops is not among `members`.
            ValueError: a hop cannot do what `udp` or `warm` requires.
        """
        return Chain(*(members[hop] for hop in self.hops), name=name, **self._rest())


_NO_CONDITIONS = {"chain", "deny", "resolve", "idle", "half_close"}
"""The keys of a rule that say what it does, and not what it matches."""


class RuleTable(Table):
    """One of ``[[rules]]``."""

    to: Annotated[tuple[Annotated[Hosts, parsed(parse_to)], ...], LIST] = ()
    ports: Annotated[tuple[Annotated[range, parsed(parse_ports), NUMBER], ...], LIST] = ()
    clients: Annotated[
        tuple[Annotated[tuple[Network, ...], parsed(parse_networks)], ...],
        LIST,
        Field(alias="from"),
    ] = ()
    users: Annotated[tuple[StrictStr, ...], LIST] = ()
    commands: Annotated[
        tuple[Annotated[frozenset[Command], parsed(parse_commands, Literal["connect", "bind", "udp", "resolve"])], ...],
        LIST,
    ] = ()
    versions: Annotated[tuple[Annotated[Spoken, parsed(parse_spoken), NUMBER], ...], LIST] = ()
    chain: StrictStr | None = None
    deny: Annotated[StrictBool | None, BeforeValidator(_denies, json_schema_input_type=Literal[True])] = None
    resolve: StrictBool = False
    idle: Duration | None = None
    half_close: Duration | None = None

    @model_validator(mode="after")
    def _decides(self) -> Self:
        if (self.chain is None) == (self.deny is None):
            raise ValueError(f'expected either chain = NAME, which may be "{DIRECTLY}", or deny = true')
        if self.resolve and not any(hosts.networks for hosts in self.to):
            raise ValueError("resolve needs an IP address or a network in `to`, to compare resolved addresses with")
        if self.deny and (unused := self.model_fields_set & {"idle", "half_close"}):
            raise ValueError(f"{', '.join(sorted(unused))} cannot be used with deny: a denied request has no relay")
        return self

    def build(self, number: int, raw: Mapping[str, Any]) -> Rule:
        """Make the value. `raw` is the table as written in the file, for the display of the rule."""
        conditions = {key: listed(values) for key, values in raw.items() if key not in _NO_CONDITIONS}
        return Rule(
            number,
            self.chain,
            reduce(or_, self.to, Hosts()),
            self.ports,
            tuple(network for networks in self.clients for network in networks),
            frozenset(user.encode() for user in self.users),
            frozenset().union(*self.commands),
            frozenset(self.versions),
            self.resolve,
            self.idle,
            self.half_close,
            MappingProxyType({key: tuple(map(json.dumps, values)) for key, values in conditions.items()}),
        )
