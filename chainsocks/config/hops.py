"""Hops, and their URLs."""

from __future__ import annotations

from collections.abc import Container
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote_to_bytes

from chainsocks.config.choices import Isolate, IsolateText, Pipeline, PipelineText, Resolve, ResolveText, UdpRelay
from chainsocks.config.hop_addresses import UNIX, as_udp_relay, parse_hop_address
from chainsocks.config.kinds import (
    KINDS,
    SCHEMES,
    TLS_SCHEMES,
    HopKind,
    HopProtocol,
    Login,
    ProtocolText,
    as_credentials,
    make_credentials,
    which,
)
from chainsocks.config.options import AddressLike, as_address, as_choice, as_flag, as_seconds, as_text
from chainsocks.config.suggest import did_you_mean
from chainsocks.config.tls import Tls
from chainsocks.config.tor import TOR, find_tor
from chainsocks.egress import (
    Egress,
    Family,
    FamilyText,
    Same,
    Source,
    SourceLike,
    as_interface,
    as_mark,
    as_source,
    egress_of,
)
from chainsocks.protocol.address import (
    Address,
    AddressType,
    UnixAddress,
    parse_unix_address,
)
from chainsocks.protocol.gssapi import Gssapi, Protection
from chainsocks.protocol.messages import Credentials, IsolationLogin, UsernamePassword

__all__ = ["Contact", "Hop", "Identity", "parse_hop_url"]


DOMAINNAME = AddressType.DOMAINNAME  # looked up once: each request asks for it


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """What makes two hops the same proxy to us: protocol, address, login, TLS and way out, whatever their names are.

    Failures count for an identity, but for a failed TCP connection, which counts for its `Contact`: the login was not
    needed for that. An identity holds secrets. It is compared and never printed, and its ``repr`` tells nothing.
    """

    protocol: HopProtocol
    address: Address
    login: Credentials | None
    tls: Tls | None = None
    egress: Egress | None = None
    _hash: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.protocol, self.address, self.login, self.tls, self.egress)))

    @property
    def contact(self) -> Contact:
        """What makes two hops the same to connect to."""
        return _contact(self.address, self.egress)

    def __hash__(self) -> int:  # computed once: a request looks each member of a group up several times
        return self._hash

    def __reduce__(self) -> tuple[type[Identity], tuple[object, ...]]:  # hashes differ from process to process
        return Identity, (self.protocol, self.address, self.login, self.tls, self.egress)


Contact = Address | tuple[Address, Egress]
"""What is connected to, and the way out of this machine where that is not left to the system."""


def _contact(address: Address, egress: Egress | None) -> Contact:
    return address if egress is None else (address, egress)


@dataclass(frozen=True, slots=True, init=False)
class Hop:
    """One upstream proxy.

    An address is also taken as ``"host:port"`` or as a pair of host and port, a login as a pair of username and
    password, and a member of an enum as its text.

    Raises:
        ValueError: a value that is none of that; `credentials`, `tor`, `isolate` or `udp_relay` with a protocol that
            does not have it, `isolate` with credentials, or `pipeline` with GSSAPI.
    """

    name: str
    protocol: HopProtocol
    address: Address
    credentials: Credentials | None
    timeout: float | None
    """Seconds for its whole negotiation; None for ``[timeouts] hop``, ``math.inf`` for no limit."""
    resolve: Resolve
    """With `Resolve.LOCAL` the local resolver sees the names that this hop is asked for."""
    pipeline: Pipeline | None
    """None for the setting of the chain."""
    tor: bool
    """Whether it has tor's commands RESOLVE and RESOLVE_PTR."""
    isolate: Isolate
    """Which sessions get circuits of their own, by a login that is derived for the session."""
    udp_relay: UdpRelay | Address
    """The host to which its datagrams are sent. An `Address` stands in place of what it reports; port 0 leaves the
    reported port."""
    tls: Tls | None
    """How TLS is spoken to it, around its protocol; None for no TLS."""
    source: Source
    """The address of this machine that connections to it come from, where it is the first hop. That holds for the
    following three as well."""
    interface: str | None
    """The interface that these use; None for the system's choice."""
    mark: int | None
    """The firewall mark of these; None for none."""
    family: Family | None
    """Which addresses of its name are connected to; None for the setting of the chain."""
    identity: Identity = field(init=False, repr=False, compare=False)
    """What makes it the same proxy as another hop. A login derived for isolation is no part of that."""
    egress: Egress | None = field(init=False, repr=False, compare=False)
    """Its source, its interface and its mark; None where it has none of them. Derived."""

    def __init__(
        self,
        name: str,
        protocol: HopProtocol | ProtocolText,
        address: AddressLike,
        credentials: Login | None = None,
        timeout: float | None = None,
        resolve: Resolve | ResolveText = Resolve.REMOTE,
        pipeline: Pipeline | PipelineText | None = None,
        tor: bool = False,  # noqa: FBT001, FBT002
        isolate: Isolate | IsolateText = Isolate.OFF,
        udp_relay: UdpRelay | Address | str = UdpRelay.HOP,
        tls: Tls | None = None,
        source: SourceLike = (),
        interface: str | None = None,
        mark: int | None = None,
        family: Family | FamilyText | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "name", as_text(name, "the name of a hop"))
        put(self, "protocol", as_choice(HopProtocol, protocol, "the protocol of a hop"))
        put(self, "tls", tls)
        kind = self.kind
        port = kind.default_tls_port if tls else kind.default_port
        is_unix = isinstance(address, UnixAddress) or (isinstance(address, str) and address.startswith(UNIX))
        place = parse_unix_address(str(address)) if is_unix else None
        put(self, "address", place or as_address(address, "the address of a hop", partial(_parse, port)))
        put(self, "credentials", as_credentials(kind, credentials))
        put(self, "timeout", None if timeout is None else as_seconds(timeout, "the timeout of a hop"))
        put(self, "resolve", as_choice(Resolve, resolve, "resolve"))
        put(self, "pipeline", None if pipeline is None else as_choice(Pipeline, pipeline, "pipeline"))
        put(self, "tor", as_flag(tor, "tor"))
        put(self, "isolate", as_choice(Isolate, isolate, "isolate"))
        put(self, "udp_relay", as_udp_relay(udp_relay))
        put(self, "source", as_source(source))
        put(self, "interface", as_interface(interface))
        put(self, "mark", as_mark(mark))
        put(self, "family", None if family is None else as_choice(Family, family, "family"))
        put(self, "egress", egress_of(self.source, self.interface, self.mark))
        login = None if isinstance(self.credentials, IsolationLogin) else self.credentials
        put(self, "identity", Identity(self.protocol, self.address, login, self.tls, self.egress))
        self._check()

    def _check(self) -> None:
        kind = self.kind
        if self.is_unix and (self.egress or self.family):
            raise ValueError("source, interface, mark and family are about TCP, and this hop is at a unix socket")
        if self.tor and not kind.has_tor_commands:
            can = which(lambda kind: kind.has_tor_commands)
            raise ValueError(f"tor cannot be used with protocol {self.protocol.value!r}; {can} has its commands")
        if self.udp_relay is not UdpRelay.HOP and not kind.carries_udp:
            can = which(lambda kind: kind.carries_udp)
            raise ValueError(f"udp_relay cannot be used with protocol {self.protocol.value!r}; {can} carries UDP")
        if isinstance(self.credentials, Gssapi) and (self.pipeline or Pipeline.OFF) is not Pipeline.OFF:
            raise ValueError("pipeline cannot be used with gssapi, whose messages each depend on the answer before")
        if self.isolate is Isolate.OFF:
            return
        if IsolationLogin not in kind.logins:
            can = which(lambda kind: IsolationLogin in kind.logins)
            raise ValueError(f"isolate cannot be used with protocol {self.protocol.value!r}; {can} has logins for it")
        if self.credentials:
            raise ValueError("isolate makes up the username and the password: take yours out")

    @property
    def is_unix(self) -> bool:
        """Whether it is at a unix socket of this machine."""
        return isinstance(self.address, UnixAddress)

    @property
    def scheme(self) -> str:
        """The protocol with its TLS, as in ``socks5+tls``; HTTP in TLS is ``https``."""
        return self.kind.tls_scheme if self.tls else self.protocol.value

    @property
    def kind(self) -> HopKind:
        """What depends on its protocol."""
        return KINDS[self.protocol]

    def leaving_from(self, source: Address) -> Hop:
        """Return the same hop, with an address in place of `Same.SAME`. It stays the same proxy."""
        if self.source is not Same.SAME:
            return self
        hop, put = copy(self), object.__setattr__
        put(hop, "source", (source,))
        put(hop, "egress", egress_of((source,), self.interface, self.mark))
        return hop

    def pipelined(self, otherwise: Pipeline) -> Pipeline:
        """Return what holds for it in a chain with the setting `otherwise`.

        A login by GSSAPI is a dialogue, in which no message can be sent early.
        """
        pipeline = self.pipeline or otherwise
        return Pipeline.OFF if isinstance(self.credentials, Gssapi) else pipeline

    @property
    def contact(self) -> Contact:
        """What makes it the same as another hop to connect to."""
        return self.identity.contact

    def is_among(self, keys: Container[Identity | Contact]) -> bool:
        """Tell whether its identity or its contact is one of `keys`."""
        return self.contact in keys or self.identity in keys

    @property
    def carries_no_udp(self) -> str | None:
        """The reason why there is no UDP through this hop; None when there may be."""
        if self.is_unix:
            return f"hop {self.name} is at a unix socket, which has no address to send datagrams to"
        if self.tls:
            return f"hop {self.name} is spoken to in TLS, and datagrams would go in the clear beside it"
        if not self.kind.carries_udp:
            return f"hop {self.name} speaks {self.protocol}, and {which(lambda kind: kind.carries_udp)} carries UDP"
        if isinstance(self.credentials, Gssapi) and self.credentials.protection is not Protection.NONE:
            return f"hop {self.name} protects its messages by GSSAPI, and datagrams would not be protected"
        return None

    @property
    def has_no_bind(self) -> str | None:
        """The reason why this hop cannot be asked to BIND; None when it can."""
        if self.kind.has_bind:
            return None
        return f"hop {self.name} speaks {self.protocol}, and {which(lambda kind: kind.has_bind)} can BIND"

    def cannot_carry(self, target: Address) -> str | None:
        """Return why this hop cannot be asked for `target`, and what to do about it; None when it can."""
        is_name = target.type is DOMAINNAME
        if is_name and isinstance(target, UnixAddress):
            return "no hop can connect to a unix socket of this machine: the hop there has to be the first one"
        if self.kind.carries(target) or (is_name and self.resolve is Resolve.LOCAL):
            return None
        if is_name and self.protocol is HopProtocol.SOCKS4:
            return (
                f"plain {self.protocol} cannot carry the name in {target}; give this hop "
                'protocol = "socks4a", or resolve = "local" (which shows the name to the local resolver)'
            )
        if is_name:
            return f"{self.protocol} cannot carry the name in {target}: no host name has such characters"
        what = f"the IPv6 address of {target}" if target.type is AddressType.IPV6 else str(target)
        return f"{self.protocol} cannot carry {what}; {which(lambda kind: kind.carries(target))} can"


def parse_hop_url(url: str, name: str | None = None) -> Hop:
    """Read ``scheme://[user[:password]@]host[:port]``; the name of the hop is its address by default.

    ``unix:/path`` may stand in place of host and port. ``tor`` alone is the tor of this machine, which is searched.

    Characters of the user and the password may be percent-encoded. Only "@" and "%", and ":" in the user, have to be.
    Either may be empty; a SOCKS5 user without a password has an empty one, as in curl.

    Raises:
        ValueError: saying what is wrong, without repeating a secret.
    """
    if url == TOR:
        return Hop(name or TOR, HopProtocol.SOCKS5, find_tor(), tor=True)
    scheme, separator, rest = url.partition("://")
    expected = f"a URL such as socks5://host:1080; it begins with {', '.join([*SCHEMES, *TLS_SCHEMES])}"
    if (
        not separator or not scheme.replace("+", "").isalnum()
    ):  # "alice:p://word@host": not a scheme, but a piece of a login
        raise ValueError(f"expected {expected}")
    kind, tls = SCHEMES.get(scheme.lower()), None
    if kind is None:
        kind, tls = TLS_SCHEMES.get(scheme.lower()), Tls()
    if kind is None:
        known = [*SCHEMES, *TLS_SCHEMES]
        raise ValueError(f"unknown scheme {scheme!r}" + (did_you_mean(scheme.lower(), known) or f"; use {expected}"))
    userinfo, at, host = _split_login(rest)
    host = host if host.startswith(f"{UNIX}/") else host.rstrip("/")
    address = parse_hop_address(host, kind.default_tls_port if tls else kind.default_port)
    user, colon, password = (unquote_to_bytes(part) for part in userinfo.partition(":"))
    if at and not userinfo and UsernamePassword in kind.logins:
        raise ValueError("no login stands before the @: take it out, or write :@ for an empty username and password")
    with_password = colon or UsernamePassword in kind.logins
    credentials = make_credentials(kind, user, password if with_password else None) if at else None
    return Hop(name or str(address), kind.protocol, address, credentials, tls=tls)


def _split_login(rest: str) -> tuple[str, str, str]:
    """Split what follows the scheme of a URL at the "@" behind its login. A path may have one, too."""
    if rest.startswith(f"{UNIX}/"):
        return "", "", rest
    userinfo, at, path = rest.partition(f"@{UNIX}/")
    return (userinfo, "@", f"{UNIX}/{path}") if at else rest.rpartition("@")


def _parse(default_port: int, text: str) -> Address:
    return parse_hop_address(text, default_port)
