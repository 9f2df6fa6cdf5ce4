"""The tables about the server itself, as pydantic models that build the frozen values of `chainsocks.config.models`.

The tables about the routes of requests are in `chainsocks.config.schema_routing`.
"""

from __future__ import annotations

import shlex
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal, Self

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

from chainsocks.config.choices import NamesOnly
from chainsocks.config.control import Control, parse_control_socket
from chainsocks.config.gssapi import (
    gather_gssapi,
    parse_keytab,
    parse_principal,
)
from chainsocks.config.limits import Limits
from chainsocks.config.listeners import ListenAddress, Listener, ListenerKind, Senders, UnixPath, parse_sender
from chainsocks.config.log_settings import LogSettings
from chainsocks.config.models import HealthSettings, Server, ServerGssapi, Timeouts, User
from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, parse_hash
from chainsocks.config.rules import Network
from chainsocks.config.secrets import Secrets, others_can_read
from chainsocks.config.suggest import MAX_INTEGER
from chainsocks.config.tables import LIST, NUMBER, LeastProtection, ServiceName, Table, not_empty, parsed, table_of
from chainsocks.config.tls import ListenerTls, listener_context_of
from chainsocks.config.users_file import check_user_name
from chainsocks.config.values import (
    LEAST_BANDWIDTH,
    parse_bandwidth,
    parse_group,
    parse_ip,
    parse_listen,
    parse_mode,
    parse_most,
    parse_ports,
    parse_rate,
    parse_target,
    parse_trusted,
    parse_via,
)
from chainsocks.protocol.address import Address

__all__ = [
    "ControlTable",
    "HealthTable",
    "LimitsTable",
    "ListenTable",
    "ListenerTlsTable",
    "LogTable",
    "ServerTable",
    "TimeoutsTable",
    "UserTable",
]


ListenText = Annotated[ListenAddress, parsed(parse_listen), NUMBER]
IPText = Annotated[IPv4Address | IPv6Address, parsed(parse_ip)]
PasswordHash = Annotated[HashedPassword, parsed(parse_hash)]


class ListenerTlsTable(Table):
    """``tls`` of a listener."""

    cert: Annotated[StrictStr, Field(min_length=1)]
    key: StrictStr | None = None
    client_ca: StrictStr | None = None

    def build(self, secrets: Secrets) -> ListenerTls:
        """Make the value.

        Raises:
            ValueError: a file is missing or has the wrong contents.
        """
        tls = ListenerTls(**{key: secrets.path_of(path) for key, path in self.given().items()})
        listener_context_of(tls)
        if others_can_read(place := Path(tls.key or tls.cert)):
            secrets.warn("listen", f"every user of this machine can read the key: chmod o= {shlex.quote(str(place))}")
        return tls


class ListenTable(Table):
    """One of ``listen`` in ``[server]``: an address, or a table with it and more."""

    address: ListenText
    kind: ListenerKind = ListenerKind.SOCKS
    target: Annotated[Address | None, parsed(parse_target), NUMBER] = None
    names_only: NamesOnly = NamesOnly.OFF
    chain: StrictStr | None = None
    mode: Annotated[int | None, parsed(parse_mode)] = None
    group: Annotated[str | None, parsed(parse_group), NUMBER] = None
    proxy_protocol: Annotated[tuple[Annotated[Senders, parsed(parse_sender)], ...], LIST] = ()
    udp: StrictBool = False
    tls: ListenerTlsTable | None = None
    _tls: ListenerTls | None = None

    @model_validator(mode="after")
    def _fit(self, info: ValidationInfo) -> Self:
        if self.tls:
            self._tls = self.tls.build(info.context or Secrets())
        senders = sum(self.proxy_protocol, Senders())
        if senders.unix and not isinstance(self.address, UnixPath):
            raise ValueError('proxy_protocol = ["unix"] is for a unix socket; name the networks of the load balancers')
        if senders.networks and isinstance(self.address, UnixPath):
            raise ValueError('the load balancer of a unix socket has no IP address; write proxy_protocol = ["unix"]')
        if {"mode", "group"} & self.model_fields_set and not isinstance(self.address, UnixPath):
            raise ValueError("mode and group are those of a unix socket, as in unix:/run/chainsocks.sock")
        if (self.kind is ListenerKind.TUNNEL) != (self.target is not None):
            raise ValueError('kind = "tunnel" and target go together, as in target = "db.internal:5432"')
        if self.kind.is_redirected:
            _check_redirected(self.kind, self.address, senders, self.tls)
        if self.udp and self.kind not in (ListenerKind.TUNNEL, ListenerKind.TPROXY):
            raise ValueError('udp = true is for kind = "tunnel" and kind = "tproxy"; SOCKS needs no key for UDP')
        if self.udp or self.kind is ListenerKind.DNS:
            _check_datagrams("udp = true" if self.udp else 'kind = "dns"', self.address, senders, self.tls)
        return self

    @model_validator(mode="before")
    @classmethod
    def _accept_address(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"address": value}

    def build(self) -> Listener:
        """Make the value."""
        given = self.given()
        if "proxy_protocol" in given:
            given["proxy_protocol"] = sum(self.proxy_protocol, Senders())
        return Listener(**given | {"tls": self._tls})


def _check_redirected(
    kind: ListenerKind, address: ListenAddress, senders: Senders, tls: ListenerTlsTable | None
) -> None:
    if sys.platform != "linux":
        raise ValueError(f'kind = "{kind}" is for Linux, whose nftables redirect connections')
    if isinstance(address, UnixPath):
        raise ValueError(f'kind = "{kind}" is for TCP: no connection is redirected to a unix socket')
    if senders != Senders() or tls:
        raise ValueError(f'kind = "{kind}" has clients that know of no proxy: they send no header, and no TLS to it')


def _check_datagrams(what: str, address: ListenAddress, senders: Senders, tls: ListenerTlsTable | None) -> None:
    if not isinstance(address, Address):
        raise ValueError(f'{what} needs UDP and TCP: write an IP address and a port, as in "127.0.0.1:53"')
    if senders != Senders() or tls:
        raise ValueError(f"{what} takes datagrams: they have no PROXY protocol header, and no TLS")


class _ServerTable(Table):
    """``[server]``."""

    _gssapi: ServerGssapi | None

    @model_validator(mode="after")
    def _gather_gssapi(self) -> Self:
        self._gssapi = gather_gssapi(ServerGssapi, self.given())
        return self

    def build(self) -> Server:
        """Make the value."""
        elsewhere = ("gssapi", "users_file")
        given = {key: value for key, value in self.given().items() if not key.startswith(elsewhere)}
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
        "via": Annotated[str | None, parsed(parse_via)],
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
    users_file=(StrictStr | None, None),
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


Most = Annotated[
    int | None, BeforeValidator(parse_most, json_schema_input_type=Annotated[int, Field(ge=1)] | Literal["off"])
]
Rate = Annotated[
    float | None, BeforeValidator(parse_rate, json_schema_input_type=Annotated[float, Field(gt=0)] | Literal["off"])
]
BytesPerSecond = Annotated[
    int | None,
    BeforeValidator(parse_bandwidth, json_schema_input_type=Annotated[int, Field(ge=LEAST_BANDWIDTH)] | Literal["off"]),
]


class _LimitsTable(Table):
    """``[limits]``."""

    def build(self) -> Limits:
        """Make the value."""
        given = self.given()
        if "trusted" in given:
            given["trusted"] = tuple(each for entry in given["trusted"] for each in entry)
        return Limits(**given)


LimitsTable = table_of(
    Limits,
    _LimitsTable,
    {
        "sessions_per_client": Most,
        "sessions_per_user": Most,
        "new_per_second": Rate,
        "handshakes": Most,
        "bandwidth": BytesPerSecond,
        "bandwidth_per_user": BytesPerSecond,
        "failed_logins": Most,
        "trusted": Annotated[tuple[Annotated[tuple[Network | UnixPath, ...], parsed(parse_trusted)], ...], LIST],
    },
)


class _LogTable(Table):
    """``[log]``."""

    def build(self) -> LogSettings:
        """Make the value."""
        return LogSettings(**self.given())


LogTable = table_of(LogSettings, _LogTable)


class _ControlTable(Table):
    """``[control]``."""

    def build(self) -> Control:
        """Make the value."""
        return Control(**self.given())


ControlTable = table_of(Control, _ControlTable, {"socket": Annotated[str | None, parsed(parse_control_socket)]})


class UserTable(Table):
    """One of ``[[users]]``."""

    name: Annotated[StrictStr, AfterValidator(check_user_name)]
    password_hash: PasswordHash | None = None
    password_env: StrictStr | None = None
    password_file: StrictStr | None = None
    _password: Password

    @model_validator(mode="after")
    def _assemble(self, info: ValidationInfo) -> Self:
        secrets: Secrets = info.context or Secrets()
        match self.password_hash, self.password_env, self.password_file:
            case HashedPassword() as password, None, None:
                self._password = password
            case None, str(name), None:
                self._password = PlainPassword(secrets.from_variable(name))
            case None, None, str(path):
                self._password = PlainPassword(secrets.from_file(path))
            case _:
                raise ValueError(
                    "expected one of password_hash (see `chainsocks hash-password`), password_env and password_file"
                )
        return self

    def build(self) -> User:
        """Make the value."""
        return User(self.name, self._password)
