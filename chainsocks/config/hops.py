"""Hops and the chains made of them, and the URLs in which people write hops."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from urllib.parse import unquote_to_bytes

from chainsocks.protocol.address import MAX_NAME, Address, AddressType, parse_address
from chainsocks.protocol.messages import Credentials, UserId, UsernamePassword, Version
from chainsocks.protocol.socks4 import MAX_USER_ID, announces_name
from chainsocks.protocol.socks5 import MAX_LOGIN

__all__ = [
    "DEFAULT_PORT",
    "DIRECT",
    "Chain",
    "Hop",
    "HopProtocol",
    "Pipeline",
    "Resolve",
    "Udp",
    "make_credentials",
    "parse_hop_address",
    "parse_hop_url",
]

DEFAULT_PORT = 1080
"""IANA's port for SOCKS."""


class HopProtocol(StrEnum):
    """What we speak to a hop."""

    SOCKS4 = "socks4"
    SOCKS4A = "socks4a"
    SOCKS5 = "socks5"

    @property
    def version(self) -> Version:
        """The version byte of this protocol's messages."""
        return Version.SOCKS5 if self is HopProtocol.SOCKS5 else Version.SOCKS4


class Resolve(StrEnum):
    """Who looks up a name that a hop is asked to reach."""

    REMOTE = "remote"
    LOCAL = "local"


class Pipeline(StrEnum):
    """What of a dial may be sent to a hop, and behind it, before the answers are there: what the hop is known to keep.

    It says something of the hop itself: a hop that throws away what it did not expect yet never answers the rest.
    """

    OFF = "off"
    """One message at a time."""
    HOP = "hop"
    """Its own messages at once: greeting, login and request."""
    CHAIN = "chain"
    """These, and right behind its request whatever comes first for the next hop."""


class Udp(StrEnum):
    """What a chain does with UDP ASSOCIATE."""

    NESTED = "nested"
    """Through an association at every hop, each opened through the hops before it."""
    REFUSE = "refuse"


_SCHEMES = {protocol.value: protocol for protocol in HopProtocol} | {
    "socks5h": HopProtocol.SOCKS5  # curl's word for "the proxy resolves names"; ours always do
}

_NOT_IN_A_HOST = re.compile(r"[\s/?#]")


@dataclass(frozen=True, slots=True)
class Hop:
    """One upstream proxy.

    `timeout` bounds its whole negotiation in seconds; None means ``[timeouts] hop``. With `Resolve.LOCAL` a name is
    looked up on this machine before the hop is asked for it, which tells the local resolver where we go. Where
    `pipeline` is None, the chain's holds.
    """

    name: str
    protocol: HopProtocol
    address: Address
    credentials: Credentials | None = None
    timeout: float | None = None
    resolve: Resolve = Resolve.REMOTE
    pipeline: Pipeline | None = None

    def cannot_carry(self, target: Address) -> str | None:
        """Say why this hop cannot be asked for `target`, and what to do about it; None when it can."""
        if self.protocol is HopProtocol.SOCKS5:
            return None
        if target.type is AddressType.IPV4:
            return f"{self.protocol} cannot carry {target}; only socks5 can" if announces_name(target.packed) else None
        if target.type is AddressType.IPV6:
            return f"{self.protocol} cannot carry the IPv6 address of {target}; only socks5 can"
        if self.protocol is HopProtocol.SOCKS4A or self.resolve is Resolve.LOCAL:
            return None
        return (
            f"plain socks4 cannot carry the name in {target}; give this hop "
            'protocol = "socks4a", or resolve = "local" (which shows the name to the local resolver)'
        )


@dataclass(frozen=True, slots=True, init=False)
class Chain:
    """Ordered hops: the first is the one we connect to. A chain of no hops is the direct way.

    Hops may be given as URLs, as in ``Chain("socks5://127.0.0.1:9050", "socks4a://fred@10.0.0.2:1080")``.
    `dial` bounds the way through all of them in seconds; None means ``[timeouts] dial``. `udp` is `Udp.NESTED` where it
    is not given and all hops can do that; SOCKS4 cannot. `pipeline`, which may be given as text, holds for each hop
    that has none of its own.

    Raises:
        ValueError: a URL that is not a hop's, UDP through hops that cannot carry it, or no kind of `Pipeline`.
    """

    hops: tuple[Hop, ...]
    name: str
    dial: float | None
    udp: Udp
    pipeline: Pipeline

    def __init__(
        self,
        *hops: Hop | str,
        name: str = "default",
        dial: float | None = None,
        udp: Udp | None = None,
        pipeline: Pipeline | str = Pipeline.OFF,
    ) -> None:
        made = tuple(parse_hop_url(hop) if isinstance(hop, str) else hop for hop in hops)
        object.__setattr__(self, "hops", made)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "dial", dial)
        object.__setattr__(self, "pipeline", Pipeline(pipeline))
        unfit = next((hop for hop in made if hop.protocol is not HopProtocol.SOCKS5), None)
        if unfit and udp is Udp.NESTED:
            raise ValueError(f"hop {unfit.name} speaks {unfit.protocol}, and only socks5 carries UDP; use 'refuse'")
        object.__setattr__(self, "udp", udp or (Udp.REFUSE if unfit else Udp.NESTED))

    def __str__(self) -> str:
        return " -> ".join(hop.name for hop in self.hops) or "direct"


DIRECT = Chain(name="direct")


def parse_hop_url(url: str, name: str | None = None) -> Hop:
    """Read ``scheme://[user[:password]@]host[:port]``; a hop without a name is called by its address.

    What is special in a URL may stand in the user and the password percent-encoded; only "@" and "%", and ":" in the
    user, have to.

    Raises:
        ValueError: saying what is wrong, without repeating a secret.
    """
    scheme, separator, rest = url.partition("://")
    expected = "a URL such as socks5://host:1080, socks4a://host:1080 or socks4://user@host:1080"
    if not separator or not scheme.isalnum():  # "alice:p://word@host": not a scheme, but a piece of a login
        raise ValueError(f"expected {expected}")
    protocol = _SCHEMES.get(scheme.lower())
    if protocol is None:
        close = get_close_matches(scheme.lower(), _SCHEMES, n=1)
        raise ValueError(
            f"unknown scheme {scheme!r}; " + (f"did you mean {close[0]!r}?" if close else f"use {expected}")
        )
    userinfo, at, host = rest.rpartition("@")
    address = parse_hop_address(host.rstrip("/"))
    user, colon, password = (unquote_to_bytes(part) for part in userinfo.partition(":"))
    credentials = make_credentials(protocol, user, password if colon else None) if at else None
    return Hop(name or str(address), protocol, address, credentials)


def parse_hop_address(text: str) -> Address:
    """Read ``host[:port]``, with IPv6 in brackets.

    Raises:
        ValueError: saying what is expected. It does not repeat the text, for that may hold a login in another program's
            order, as in ``host:port:user:password``.
    """
    with suppress(ValueError):
        address = parse_address(text, DEFAULT_PORT)
        if address.port and not _NOT_IN_A_HOST.search(address.host):
            return address
    raise ValueError(
        f"expected host:port, as in example.org:1080 or [::1]:1080, with a name of at most {MAX_NAME} bytes "
        "and a port in 1..65535; a login stands before an @, or under keys of its own"
    )


def make_credentials(protocol: HopProtocol, user: bytes, password: bytes | None) -> Credentials:
    """Put a user, and for SOCKS5 a password, into the form that the protocol sends.

    Raises:
        ValueError: they do not fit the protocol; the message repeats neither.
    """
    if protocol.version is Version.SOCKS4:
        if password is not None:
            raise ValueError(f"{protocol} has a user id and no password; use socks5 for a password")
        if len(user) > MAX_USER_ID or b"\0" in user:
            raise ValueError(f"a user id has at most {MAX_USER_ID} bytes, none of them NUL")
        return UserId(user)
    if password is None:
        raise ValueError("a username needs a password")
    for what, text in (("username", user), ("password", password)):
        if not 1 <= len(text) <= MAX_LOGIN:
            raise ValueError(f"a {what} has 1 to {MAX_LOGIN} bytes, this one has {len(text)}")
    return UsernamePassword(user, password)
