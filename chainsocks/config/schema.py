"""The tables about the server itself, as pydantic models that build the frozen values of `chainsocks.config.models`.

Those about the ways that requests go are in `chainsocks.config.ways`.

The tables have no defaults of their own: what a user leaves out is left to the defaults of the values.
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
    model_validator,
)

from chainsocks.config.gssapi import (
    gather_gssapi,
    parse_keytab,
    parse_principal,
)
from chainsocks.config.hops import (
    NamesOnly,
)
from chainsocks.config.identities import Proof
from chainsocks.config.listeners import ListenAddress, Listener
from chainsocks.config.models import HealthSettings, Ident, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, parse_hash
from chainsocks.config.suggest import MAX_INTEGER
from chainsocks.config.tables import LIST, Duration, LeastProtection, ServiceName, Table, not_empty, text
from chainsocks.config.values import environment, parse_ip, parse_listen, parse_ports
from chainsocks.protocol.socks5 import MAX_LOGIN

__all__ = ["HealthTable", "ListenTable", "ServerTable", "TimeoutsTable", "UserTable"]


def _user_name(name: str) -> str:
    size = len(name.encode())
    if size > MAX_LOGIN:
        raise ValueError(f"a name has at most {MAX_LOGIN} bytes, this one has {size}")
    if name.startswith(tuple(Proof)):
        kinds = ", ".join(Proof)
        raise ValueError(f"a name cannot begin with one of {kinds}, which tell other identities apart")
    return name


ListenText = Annotated[ListenAddress, BeforeValidator(lambda value: parse_listen(text(value)))]
IPText = Annotated[IPv4Address | IPv6Address, BeforeValidator(lambda value: parse_ip(text(value)))]
PasswordHash = Annotated[HashedPassword, BeforeValidator(lambda value: parse_hash(text(value)))]


class ListenTable(Table):
    """One of ``listen`` in ``[server]``: an address, or a table with it and more."""

    address: ListenText
    names_only: NamesOnly = NamesOnly.OFF

    @model_validator(mode="before")
    @classmethod
    def _accept_address(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"address": value}

    def build(self) -> Listener:
        """Make the value."""
        return Listener(**self.given())


class ServerTable(Table):
    """``[server]``."""

    listen: Annotated[tuple[ListenTable, ...], LIST] = ()
    workers: Annotated[StrictInt, Field(ge=0, le=MAX_INTEGER)] = 0
    max_sessions: Annotated[StrictInt, Field(ge=1, le=MAX_INTEGER)] = 0
    keepalive: Duration = 0
    open: StrictBool = False
    private: StrictBool = False
    udp_address: IPText | None = None
    udp_ports: Annotated[range, BeforeValidator(lambda value: parse_ports(text(value)))] = range(1)
    bind_address: IPText | None = None
    ident: Ident = Ident.OFF
    gssapi: LeastProtection | None = None
    gssapi_services: Annotated[tuple[ServiceName, ...], BeforeValidator(not_empty)] = ()
    gssapi_keytab: Annotated[str, BeforeValidator(lambda value: parse_keytab(text(value)))] = ""
    gssapi_principals: Annotated[
        tuple[Annotated[str, BeforeValidator(lambda value: parse_principal(text(value)))], ...],
        BeforeValidator(not_empty),
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
            given["listen"] = tuple(table.build() for table in self.listen)
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


class HealthTable(Table):
    """``[health]``."""

    rest: Duration = 0
    longest_rest: Duration = 0
    remeasure: Duration = 0

    def build(self) -> HealthSettings:
        """Make the value."""
        return HealthSettings(**self.given())


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
