"""The shape of the TOML file, as pydantic models that build the frozen values of `chainsocks.config.models`.

The tables have no defaults of their own: what a user leaves out is left to the defaults of the values.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

from chainsocks.config.hops import DEFAULT_PORT, Chain, Hop, HopProtocol, Resolve, make_credentials, parse_hop_url
from chainsocks.config.models import Listen, Server, Timeouts, UnixPath, User
from chainsocks.config.passwords import HashedPassword, Password, PlainPassword, parse_hash
from chainsocks.protocol.address import Address, parse_address
from chainsocks.protocol.messages import Credentials, Version
from chainsocks.protocol.socks5 import MAX_LOGIN

__all__ = [
    "ChainTable",
    "HopTable",
    "ServerTable",
    "Table",
    "TimeoutsTable",
    "UserTable",
    "parse_duration",
    "parse_listen",
]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(value: object) -> float:
    """Read a number of seconds, ``"1m30s"``, or ``"off"``.

    Raises:
        ValueError: it is none of these, or not positive.
    """
    expected = 'expected a number of seconds, a text such as "1m30s", or "off"'
    if isinstance(value, str):
        if value == "off":
            return math.inf
        if not value or _DURATION.sub("", value):
            raise ValueError(f"found {value!r}, {expected}")
        value = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"found {value!r}, {expected}")
    if value <= 0:
        raise ValueError(f'found {value!r}, expected more than 0 seconds; "off" disables it')
    return float(value)


def parse_listen(value: str) -> Listen:
    """Read ``host:port``, ``[::1]:1080`` or ``unix:/path``.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError(f"{value!r}: the path of a unix socket starts with /, as in unix:/run/chainsocks.sock")
        return UnixPath(path)
    return parse_address(value)


def _parse_hop_address(value: str) -> Address:
    if "@" in value:
        raise ValueError("a login does not stand in the address; use username and password, or a url")
    return parse_address(value, DEFAULT_PORT)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {value!r}")
    return value


Duration = Annotated[float, BeforeValidator(parse_duration)]
ListenText = Annotated[Listen, BeforeValidator(lambda value: parse_listen(_text(value)))]
HopAddress = Annotated[Address, BeforeValidator(lambda value: _parse_hop_address(_text(value)))]
PasswordHash = Annotated[HashedPassword, BeforeValidator(lambda value: parse_hash(_text(value)))]


class Table(BaseModel):
    """A TOML table: unknown keys are errors, and nothing is converted silently.

    The defaults below only mark a key as optional; `given` leaves them out.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def given(self) -> dict[str, Any]:
        """Return what the user wrote, as keyword arguments for the value that has the defaults."""
        return {key: getattr(self, key) for key in self.model_fields_set}


class ServerTable(Table):
    """``[server]``."""

    listen: Annotated[tuple[ListenText, ...], Field(min_length=1)] = ()
    workers: Annotated[StrictInt, Field(ge=0)] = 0
    max_sessions: Annotated[StrictInt, Field(ge=1)] = 0
    open: StrictBool = False

    def build(self) -> Server:
        """Make the value."""
        return Server(**self.given())


class TimeoutsTable(Table):
    """``[timeouts]``."""

    handshake: Duration = 0
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
    _hop: Hop

    @model_validator(mode="before")
    @classmethod
    def _accept_url(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _assemble(self) -> Self:
        if self.url:
            parts = self.model_fields_set - {"url", "timeout", "resolve"}
            if parts:
                raise ValueError(f"the url says it already: take out {', '.join(sorted(parts))}")
            hop = self.url
        elif self.protocol and self.address:
            hop = Hop("", self.protocol, self.address, self._credentials(self.protocol))
        else:
            raise ValueError("expected a url, or both protocol and address")
        self._hop = replace(hop, timeout=self.timeout, resolve=self.resolve)
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
        password = environment(self.password_env) if self.password_env is not None else self.password
        if user is None and password is None:
            return None
        if user is None:
            raise ValueError("a password needs a username")
        return make_credentials(protocol, user.encode(), None if password is None else password.encode())

    def build(self, name: str) -> Hop:
        """Make the value."""
        return replace(self._hop, name=name)


class ChainTable(Table):
    """One of ``[chains]``: a list of hop names, or a table with them and more."""

    hops: Annotated[list[StrictStr], Field(min_length=1)]
    dial: Duration | None = None
    udp: Literal["refuse"] = "refuse"

    @model_validator(mode="before")
    @classmethod
    def _accept_list(cls, value: object) -> object:
        return {"hops": value} if isinstance(value, list) else value

    def build(self, name: str, hops: Mapping[str, Hop]) -> Chain:
        """Make the value.

        Raises:
            KeyError: one of `hops` is not declared.
        """
        return Chain(*(hops[hop] for hop in self.hops), name=name, dial=self.dial)


class UserTable(Table):
    """One of ``[[users]]``."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=MAX_LOGIN)]
    password_hash: PasswordHash | None = None
    password_env: StrictStr | None = None
    _password: Password

    @model_validator(mode="after")
    def _assemble(self) -> Self:
        if self.password_hash is not None and self.password_env is None:
            self._password = self.password_hash
        elif self.password_env is not None and self.password_hash is None:
            self._password = PlainPassword(environment(self.password_env).encode())
        else:
            raise ValueError("expected either password_hash (see `chainsocks hash-password`) or password_env")
        return self

    def build(self) -> User:
        """Make the value."""
        return User(self.name, self._password)


def environment(name: str) -> str:
    """Return a secret from the environment.

    Raises:
        ValueError: it is not set, or empty.
    """
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"the environment variable {name} is not set")
    return value
