"""The keywords of the library's calls: what is none of their values is a `ValueError` at once."""

from __future__ import annotations

import ssl
from functools import cache

from chainsocks.config.chains import Chain
from chainsocks.config.models import Timeouts
from chainsocks.config.options import as_text, shown
from chainsocks.protocol.address import Address, AddressType, HostLike, host_text

__all__ = ["TlsLike", "checked_chain", "checked_local_host", "checked_timeouts", "checked_tls"]

TlsLike = ssl.SSLContext | bool
"""TLS to the destination: a context, True for one with the authorities that this machine trusts, or False."""


def checked_chain(chain: object) -> Chain:
    """Return `chain`.

    Raises:
        ValueError: it is no `Chain`. None is not taken for the direct way, which would bypass all hops.
    """
    if isinstance(chain, Chain):
        return chain
    expected = 'write chain=chainsocks.Chain("socks5://127.0.0.1:9050"), or chainsocks.DIRECT for no hops'
    raise ValueError(f"the chain is {shown(chain)}; {expected}")


def checked_timeouts(timeouts: object) -> Timeouts:
    """Return `timeouts`, or the defaults for None.

    Raises:
        ValueError: they are no `Timeouts`.
    """
    if timeouts is None:
        return Timeouts()
    if isinstance(timeouts, Timeouts):
        return timeouts
    raise ValueError(f"the timeouts are {shown(timeouts)}; write timeouts=chainsocks.Timeouts(dial=20)")


def checked_tls(tls: object, server_hostname: object) -> ssl.SSLContext | None:
    """Return the context for TLS to the destination; None for no TLS.

    Raises:
        ValueError: `tls` is no context and no flag, or `server_hostname` is no text or without TLS.
    """
    if server_hostname is not None and as_text(server_hostname, "server_hostname") and tls in (None, False):
        raise ValueError("server_hostname is given, and no TLS; write tls=True")
    match tls:
        case ssl.SSLContext():
            return tls
        case True:
            return _default_context()
        case None | False:
            return None
    raise ValueError(f"tls is {shown(tls)}; write tls=True, or an ssl.SSLContext")


@cache
def _default_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def checked_local_host(host: HostLike | None) -> Address | None:
    """Return the IP address of this machine that connections leave from; None for the kernel's choice.

    Raises:
        ValueError: it is no IP address.
    """
    if host is None:
        return None
    address = Address(host_text(host), 0)
    if address.type is AddressType.DOMAINNAME:
        raise ValueError(f"local_host is {shown(host)}; write an IP address of this machine")
    return address
