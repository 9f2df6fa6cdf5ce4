"""Who asks for a way out."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """A client, as far as the choice of its way may depend on it."""

    host: str = ""
    """Its IP address; empty on a unix socket."""
    user: bytes | None = field(default=None, repr=False)
    """The name that it has logged in with; None where nobody has checked one."""
