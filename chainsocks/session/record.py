"""What is known of one session, from its start to the one line that it leaves in the log."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from itertools import count

import trio

from chainsocks.config.hops import Chain
from chainsocks.protocol.messages import Request
from chainsocks.relay.relay import Traffic

__all__ = ["Record", "prefix_ids"]

log = logging.getLogger("chainsocks.session")
_ids = count(1)
_prefix = ""


def prefix_ids(prefix: str) -> None:
    """Put `prefix` before all ids in the log, for a process that is not the only one to write there."""
    global _prefix
    _prefix = prefix


@dataclass(slots=True)
class Record:
    """A session, as the log sees it. `client` is its address; `outcome` ends up saying how it went."""

    client: str
    id: int = field(default_factory=lambda: next(_ids))
    began: float = field(default_factory=trio.current_time)
    request: Request | None = None
    chain: Chain | None = None
    reply: int | None = None
    traffic: Traffic = field(default_factory=Traffic)
    outcome: str = "ended by a bug in chainsocks"

    def write(self) -> None:
        """Write the session's line."""
        if log.isEnabledFor(logging.INFO):
            log.info("%s", str(self))  # as it is now, whenever a handler gets to format it

    def __str__(self) -> str:
        request = self.request
        parts = {
            "id": f"{_prefix}{self.id}",
            "client": self.client,
            "command": request.command.name if request else "-",
            "destination": _quoted(str(request.destination)) if request else "-",
            "chain": _quoted(self.chain.name) if self.chain else "-",
            "reply": "-" if self.reply is None else f"{self.reply:02X}",
            "up": self.traffic.up,
            "down": self.traffic.down,
            "duration": f"{trio.current_time() - self.began:.3f}",
            "outcome": json.dumps(self.outcome),
        }
        return " ".join(f"{name}={value}" for name, value in parts.items())


def _quoted(text: str) -> str:
    return json.dumps(text) if any(c in text for c in ' "=') else text
