"""``[web]``: the web server for metrics and the live view (`chainsocks.web`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from chainsocks.config.listeners import is_loopback
from chainsocks.protocol.address import Address

__all__ = ["Web"]


@dataclass(frozen=True, slots=True)
class Web:
    """``[web]``."""

    listen: Address | None = None
    """Where the web server listens; None for no web server."""
    hosts: tuple[str, ...] = ()
    """The names that it is reached by, beside the address that it listens on and ``localhost``."""
    token_env: str | None = None
    """The environment variable with the token; None for no token, and so for a server that only reads."""
    token: bytes | None = field(default=None, repr=False)
    """What `token_env` holds."""

    @property
    def is_exposed(self) -> bool:
        """Whether other machines can reach it: then reading needs the token as well."""
        return self.listen is not None and not is_loopback(self.listen)
