"""The proxy that the environment names, as curl, git and most clients read it: ``ALL_PROXY`` and its kin."""

from __future__ import annotations

from collections.abc import Mapping

from chainsocks.config.choices import Resolve
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol

__all__ = ["VARIABLES", "proxy_of"]

VARIABLES = ("all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY")
"""The first one that is set and not empty holds. ``http_proxy`` is for requests in the clear, not for connections."""


def proxy_of(environment: Mapping[str, str]) -> Hop | None:
    """Return the proxy of the environment as a hop; None where it names none.

    Without a scheme it is an HTTP proxy, as for curl. Names are sent to the proxy, but for ``socks4``, which cannot
    carry them: there this machine resolves them, as curl has it.

    Raises:
        ValueError: a variable is no URL of a proxy; the message names it, and repeats no secret.
    """
    for name in VARIABLES:
        if url := environment.get(name, "").strip():
            try:
                hop = parse_hop_url(url if "://" in url else f"http://{url}")
            except ValueError as error:
                raise ValueError(f"{name} in the environment: {error}") from None
            if hop.protocol is HopProtocol.SOCKS4:
                return Hop(hop.name, hop.protocol, hop.address, hop.credentials, resolve=Resolve.LOCAL, tls=hop.tls)
            return hop
    return None
