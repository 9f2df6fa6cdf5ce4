"""Kinds of hops: each says all that depends on the protocol that is spoken to a hop.

A new protocol is a new kind (and its handshake in `chainsocks.protocol`): no other code compares protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from chainsocks.config.idn import a_name
from chainsocks.protocol import socks4, socks5
from chainsocks.protocol.address import Address, AddressType
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import ClientHandshake, State
from chainsocks.protocol.http_connect import MAX_PART, HttpConnectHandshake, can_be_authority
from chainsocks.protocol.messages import (
    Command,
    Credentials,
    IsolationLogin,
    Request,
    UserId,
    UsernamePassword,
    Version,
    login_bytes,
)
from chainsocks.protocol.pipelined import PipelinedHandshake
from chainsocks.protocol.socks4 import MAX_USER_ID, announces_name
from chainsocks.protocol.socks5_messages import MAX_LOGIN

__all__ = [
    "DEFAULT_PORT",
    "KINDS",
    "SCHEMES",
    "TLS_SCHEMES",
    "HopKind",
    "HopProtocol",
    "Login",
    "ProtocolText",
    "as_credentials",
    "make_credentials",
    "which",
]

SOCKS5 = Version.SOCKS5  # looked up once

DEFAULT_PORT = 1080
"""IANA's port for SOCKS."""

Opener = Callable[[Command, Address, Credentials | None], ClientHandshake]
"""Begins the handshake that asks a hop for a command and a target, logged in with credentials."""


class HopProtocol(StrEnum):
    """The protocol that is spoken to a hop."""

    SOCKS4 = "socks4"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"
    HTTP = "http"


ProtocolText = Literal["socks4", "socks4a", "socks5", "http"]
"""The protocols as they are written."""

Login = Credentials | tuple[str | bytes, str | bytes]
"""What is taken for the login to a hop: credentials, or a username and a password."""


@dataclass(frozen=True, slots=True)
class HopKind:
    """All that depends on the protocol of a hop."""

    protocol: HopProtocol
    schemes: tuple[str, ...]
    """In the URLs of hops."""
    tls_scheme: str
    """In the URL of a hop that speaks it in TLS."""
    logins: frozenset[type[Credentials]]
    """The kinds of credentials that it takes."""
    carries: Callable[[Address], bool]
    """Whether a hop can be asked for an address."""
    open_handshake: Opener
    """With one message at a time."""
    open_pipelined: Opener
    """With all messages in the first `data_to_send`."""
    open_request: Opener
    """With the request alone, where `open_greeting` has done what comes before."""
    open_greeting: Callable[[Credentials | None], ClientHandshake] | None = None
    """With greeting and login, and no request behind them. None where the request is the first message."""
    first_step: State = State.REQUEST
    """The step whose answer is the first one from the hop."""
    default_port: int = DEFAULT_PORT
    default_tls_port: int = DEFAULT_PORT
    carries_udp: bool = False
    has_bind: bool = True
    """Whether the protocol has the command BIND."""
    has_tor_commands: bool = False
    """Whether the protocol has tor's commands RESOLVE and RESOLVE_PTR."""
    longest_login: int = MAX_LOGIN
    """Bytes that a username or a password may have."""
    login_has_colon: bool = True
    """Whether a username may have a colon."""


def _carries_ipv4(target: Address) -> bool:
    return target.type is AddressType.IPV4 and not announces_name(target.packed)


def _carries_ipv4_and_names(target: Address) -> bool:
    return target.type is AddressType.DOMAINNAME or _carries_ipv4(target)


def _carries_all(target: Address) -> bool:
    return True


def _open_socks4(command: Command, target: Address, credentials: Credentials | None) -> ClientHandshake:
    return socks4.ClientHandshake(Request(Version.SOCKS4, command, target, credentials))


def _open_socks5(command: Command, target: Address, credentials: Credentials | None) -> ClientHandshake:
    return socks5.ClientHandshake(Request(SOCKS5, command, target, credentials))


def _open_http(command: Command, target: Address, credentials: Credentials | None) -> ClientHandshake:
    if command is not Command.CONNECT:
        raise ValueError(f"HTTP has no {command.name}")
    return HttpConnectHandshake(target, credentials if isinstance(credentials, UsernamePassword) else None)


def _open_socks5_request(command: Command, target: Address, credentials: Credentials | None) -> ClientHandshake:
    return socks5.RequestHandshake(Request(SOCKS5, command, target, credentials))


def _open_socks5_pipelined(command: Command, target: Address, credentials: Credentials | None) -> ClientHandshake:
    return PipelinedHandshake(Request(SOCKS5, command, target, credentials))


_SOCKS4 = HopKind(
    HopProtocol.SOCKS4,
    schemes=("socks4",),
    tls_scheme="socks4+tls",
    logins=frozenset({UserId}),
    carries=_carries_ipv4,
    open_handshake=_open_socks4,
    open_pipelined=_open_socks4,
    open_request=_open_socks4,
)

_SOCKS4A = replace(
    _SOCKS4,
    protocol=HopProtocol.SOCKS4A,
    schemes=("socks4a",),
    tls_scheme="socks4a+tls",
    carries=_carries_ipv4_and_names,
)

_SOCKS5 = HopKind(
    HopProtocol.SOCKS5,
    schemes=("socks5", "socks5h"),  # curl's word for "the proxy resolves names"; ours always do
    tls_scheme="socks5+tls",
    logins=frozenset({UsernamePassword, IsolationLogin, Gssapi}),
    carries=_carries_all,
    open_handshake=_open_socks5,
    open_pipelined=_open_socks5_pipelined,
    open_request=_open_socks5_request,
    open_greeting=socks5.GreetingHandshake,
    first_step=State.METHOD_NEGOTIATION,
    carries_udp=True,
    has_tor_commands=True,
)

_HTTP = HopKind(
    HopProtocol.HTTP,
    schemes=("http",),
    tls_scheme="https",
    logins=frozenset({UsernamePassword}),
    carries=can_be_authority,
    open_handshake=_open_http,
    open_pipelined=_open_http,
    open_request=_open_http,
    default_port=80,
    default_tls_port=443,
    has_bind=False,
    longest_login=MAX_PART,
    login_has_colon=False,
)

KINDS: Mapping[HopProtocol, HopKind] = MappingProxyType(
    {kind.protocol: kind for kind in (_SOCKS4, _SOCKS4A, _SOCKS5, _HTTP)}
)

SCHEMES: Mapping[str, HopKind] = MappingProxyType({scheme: kind for kind in KINDS.values() for scheme in kind.schemes})
"""Kinds of hops by the schemes of their URLs."""

TLS_SCHEMES: Mapping[str, HopKind] = MappingProxyType({kind.tls_scheme: kind for kind in KINDS.values()})
"""The same for hops that are spoken to in TLS."""


def which(can: Callable[[HopKind], bool]) -> str:
    """Name the protocols of which something holds, as in "only socks5"."""
    *others, last = [kind.protocol.value for kind in KINDS.values() if can(kind)]
    return f"only {', '.join(others)} and {last}" if others else f"only {last}"


def as_credentials(kind: HopKind, given: object) -> Credentials | None:
    """Return the login to a hop, which may be given as a pair of username and password.

    Raises:
        ValueError: the protocol has no such login; the message repeats none of it.
    """
    if given is None or isinstance(given, IsolationLogin):
        return given
    if any(isinstance(given, login) for login in kind.logins):
        if isinstance(given, UsernamePassword):
            make_credentials(kind, given.username, given.password)
        elif isinstance(given, UserId):
            make_credentials(kind, given.user_id, None)
        elif isinstance(given, Gssapi) and given.host:
            return replace(given, host=a_name(given.host))
        return given  # type: ignore[return-value]
    match given:
        case UsernamePassword() | UserId() | Gssapi():
            problem = f"{kind.protocol} has no login of the kind {type(given).__name__}"
        case [username, password]:
            user = login_bytes(username, "username")
            return make_credentials(kind, user, None if password is None else login_bytes(password, "password"))
        case _:
            problem = f"a login is not of type {type(given).__name__}"
    raise ValueError(f"{problem}; write credentials={_EXAMPLES[UserId in kind.logins]}")


_EXAMPLES = {
    True: 'chainsocks.UserId("fred")',
    False: 'chainsocks.UsernamePassword("alice", "secret"), or ("alice", "secret")',
}


def make_credentials(kind: HopKind, user: bytes, password: bytes | None) -> Credentials:
    """Put a user, and a password where the protocol has one, into the form that the protocol sends.

    Raises:
        ValueError: they do not fit the protocol; the message repeats neither.
    """
    if UserId in kind.logins:
        if password is not None:
            raise ValueError(f"{kind.protocol} has a user id and no password; use socks5 for a password")
        if len(user) > MAX_USER_ID or b"\0" in user:
            raise ValueError(f"a user id has at most {MAX_USER_ID} bytes, none of them NUL")
        return UserId(user)
    if password is None:
        raise ValueError('a username needs a password, which may be empty: ""')
    if b":" in user and not kind.login_has_colon:
        raise ValueError("a username of HTTP's Basic login has no colon, which ends it (RFC 7617)")
    for what, text in (("username", user), ("password", password)):
        if len(text) > kind.longest_login:
            raise ValueError(f"a {what} has at most {kind.longest_login} bytes, this one has {len(text)}")
    return UsernamePassword(user, password)
