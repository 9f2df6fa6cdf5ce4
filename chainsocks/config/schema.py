"""The tables about the server itself, as pydantic models that build the frozen values of `chainsocks.config.models`.

The tables about the routes of requests are in `chainsocks.config.schema_routing`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationInfo,
    model_validator,
)

from chainsocks.config.gssapi import (
    gather_gssapi,
    parse_keytab,
    parse_principal,
)
from chainsocks.config.hops import NamesOnly
from chainsocks.config.identities import Proof
from chainsocks.config.listeners import ListenAddress, Listener, UnixPath
from chainsocks.config.models import HealthSettings, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, parse_hash
from chainsocks.config.suggest import MAX_INTEGER
from chainsocks.config.tables import LIST, NUMBER, LeastProtection, ServiceName, Table, not_empty, parsed, table_of
from chainsocks.config.values import environment, parse_group, parse_ip, parse_listen, parse_mode, parse_ports
from chainsocks.protocol.socks5_messages import MAX_LOGIN

__all__ = ["HealthTable", "ListenTable", "ServerTable", "TimeoutsTable", "UserTable"]


def _user_name(name: str) -> str:
    size = len(name.encode())
    if size > MAX_LOGIN:
        raise ValueError(f"a name has at most {MAX_LOGIN} bytes, this one has {size}")
    if name.startswith(tuple(Proof)):
        kinds = ", ".join(Proof)
        raise ValueError(f"a name cannot begin with one of {kinds}, which stand for other identities")
    return name


ListenText = Annotated[ListenAddress, parsed(parse_listen), NUMBER]
IPText = Annotated[IPv4Address | IPv6Address, parsed(parse_ip)]
PasswordHash = Annotated[HashedPassword, parsed(parse_hash)]


class ListenTable(Table):
    """One of ``listen`` in ``[server]``: an address, or a table with it and more."""

    address: ListenText
    names_only: NamesOnly = NamesOnly.OFF
    mode: Annotated[int | None, parsed(parse_mode)] = None
    group: Annotated[str | None, parsed(parse_group), NUMBER] = None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if {"mode", "group"} & self.model_fields_set and not isinstance(self.address, UnixPath):
            raise ValueError("mode and group are those of a unix socket, as in unix:/run/chainsocks.sock")
        return self

    @model_validator(mode="before")
    @classmethod
    def _accept_address(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"address": value}

    def build(self) -> Listener:
        """Make the value."""
        return Listener(**self.given())


class _ServerTable(Table):
    """``[server]``."""

    _gssapi: ServerGssapi | None

    @model_validator(mode="after")
    def _gather_gssapi(self) -> Self:
        self._gssapi = gather_gssapi(ServerGssapi, self.given())
        return self

    def build(self) -> Server:
        """Make the value."""
        given = {key: value for key, value in self.given().items() if not key.startswith("gssapi")}
        if "listen" in given:
            given["listen"] = tuple(table.build() for table in given["listen"])
        return Server(**given, gssapi=self._gssapi)


ServerTable = table_of(
    Server,
    _ServerTable,
    {
        "listen": Annotated[tuple[ListenTable, ...], LIST],
        "workers": Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)],
        "max_sessions": Annotated[StrictInt, Field(ge=1, le=MAX_INTEGER)],
        "udp_address": IPText,
        "udp_ports": Annotated[range, parsed(parse_ports)],
        "bind_address": IPText,
        "gssapi": None,
    },
    gssapi=(LeastProtection, None),
    gssapi_services=(Annotated[tuple[ServiceName, ...], BeforeValidator(not_empty)], ServerGssapi().services),
    gssapi_keytab=(Annotated[str, parsed(parse_keytab)], None),
    gssapi_principals=(
        Annotated[tuple[Annotated[str, parsed(parse_principal)], ...], BeforeValidator(not_empty)],
        ServerGssapi().principals,
    ),
    gssapi_required=(StrictBool, ServerGssapi().required),
)


class _TimeoutsTable(Table):
    """``[timeouts]``."""

    def build(self) -> Timeouts:
        """Make the value."""
        return Timeouts(**self.given())


TimeoutsTable = table_of(Timeouts, _TimeoutsTable)


class _HealthTable(Table):
    """``[health]``."""

    def build(self) -> HealthSettings:
        """Make the value."""
        return HealthSettings(**self.given())


HealthTable = table_of(HealthSettings, _HealthTable)


class UserTable(Table):
    """One of ``[[users]]``."""

    name: Annotated[StrictStr, AfterValidator(_user_name)]
    password_hash: PasswordHash | None = None
    password_env: StrictStr | None = None
    _password: Password

    @model_validator(mode="after")
    def _assemble(self, info: ValidationInfo) -> Self:
        if self.password_hash is not None and self.password_env is None:
            self._password = self.password_hash
        elif self.password_env is not None and self.password_hash is None:
            self._password = PlainPassword((info.context or environment)(self.password_env))
        else:
            raise ValueError("expected either password_hash (see `chainsocks hash-password`) or password_env")
        return self

    def build(self) -> User:
        """Make the value."""
        return User(self.name, self._password)
