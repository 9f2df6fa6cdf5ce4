"""The record of one session, from its start to its one line in the log."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count

import trio

from chainsocks.config.chains import Chain, Route
from chainsocks.observe.log import current_session, write_line
from chainsocks.observe.outcomes import Failure, OutcomeKind
from chainsocks.observe.privacy import is_private, private
from chainsocks.protocol.address import printable
from chainsocks.protocol.messages import Command, Request, show_code

__all__ = ["Record", "Traffic", "prefix_ids", "sessions_begun"]

log = logging.getLogger("chainsocks.session")
_DIFFICULT = re.compile('[ "=]').search
_COMMANDS = {command: command.name for command in Command}  # a quarter of the price of the attribute
_ids = count(1)
_prefix = ""


def sessions_begun() -> int:
    """Return how many sessions have begun in this process: each takes an id."""
    return int(repr(_ids).removeprefix("count(").removesuffix(")")) - 1  # it cannot be asked without being changed


def prefix_ids(prefix: str) -> None:
    """Put `prefix` before all session ids in the log of this process, which is one of several workers."""
    global _prefix
    _prefix = prefix


@dataclass(slots=True)
class Traffic:
    """Bytes passed on so far, readable while the relay runs."""

    up: int = field(default=0, kw_only=True)
    """From the client to the upstream."""
    down: int = field(default=0, kw_only=True)
    """From the upstream to the client."""


@dataclass(slots=True)
class Record(Traffic):
    """The fields of a session's log line. `client` is its address; `outcome` says how it ended."""

    client: str
    id: int = field(default_factory=_ids.__next__)
    began: float = field(default_factory=trio.current_time)
    request: Request | None = None
    chain: Chain | None = None
    reply: int | None = None
    outcome: str = "ended by a bug in chainsocks"
    kind: OutcomeKind = OutcomeKind.BUG
    """What the outcome is, for programs."""
    route: Route | None = None
    """The hops that were chosen from groups, if the chain has groups."""
    warm: bool = False
    """Whether the request went along a way that was ready before (`chainsocks.chain.warm`)."""
    user: str = ""
    """The verified identity of the client (`chainsocks.config.identities`); empty if none."""
    rule: str = ""
    """The number of the rule that decided, "-" if none did; empty without rules."""
    failure: Failure | None = None
    """What has failed, where a dial has."""
    ended: float | None = None
    """When it ended, on trio's clock; None while it runs."""

    @property
    def name(self) -> str:
        """The session's id, unique among all workers."""
        return f"{_prefix}{self.id}"

    @property
    def who(self) -> str:
        """The session and its client, for other lines of the log."""
        return f"session {self.name}{private(f', client {self.client}', '')}:"

    def mark_debug_lines(self) -> None:
        """Put the session's id at the start of all debugging lines of this task and of the tasks it starts."""
        if log.isEnabledFor(logging.DEBUG):
            current_session.set(self.name)

    @property
    def duration(self) -> float:
        """The seconds that the session has lasted."""
        return (trio.current_time() if self.ended is None else self.ended) - self.began

    def write(self, now: float) -> None:
        """Write the line of a session that has ended `now`: a warning if it has failed."""
        self.ended = now
        write_line(log, logging.WARNING if self.kind.is_failure else logging.INFO, self)

    def __str__(self) -> str:
        request = self.request
        command = _COMMANDS[request.command] if request else "-"
        destination, client, user = "-", "-", ""
        if not is_private():
            destination = _quoted(str(request.destination)) if request else "-"
            client = self.client
            user = f" user={_quoted(printable(self.user))}" if self.user else ""
        chain = _quoted_name(self.chain.name) if self.chain else "-"
        if self.route:
            chain += " hops=" + _quoted(",".join(hop.name for hop in self.route.hops))
        warm = " warm=1" if self.warm else ""
        rule = f" rule={self.rule}" if self.rule else ""
        reply = "-" if self.reply is None else show_code(self.reply)
        return (
            f"id={_prefix}{self.id} client={client}{user} command={command} destination={destination} "
            f"chain={chain}{warm}{rule} reply={reply} up={self.up} down={self.down} duration={self.duration:.3f} "
            f"outcome={_in_quotes(self.outcome)}"
        )

    def fields(self) -> dict[str, object]:
        """Return the same for programs; what there is not is None."""
        request, failure, hidden = self.request, self.failure, is_private()
        return {
            "event": "session",
            "id": self.name,
            "client": None if hidden else self.client,
            "user": None if hidden else printable(self.user) or None,
            "command": request.command.name if request else None,
            "destination": str(request.destination) if request and not hidden else None,
            "chain": self.chain.name if self.chain else None,
            "hops": [hop.name for hop in self.route.hops] if self.route else None,
            "warm": self.warm,
            "rule": int(self.rule) if self.rule.isdigit() else None,
            "reply": None if self.reply is None else self.reply & 0xFF,
            "up": self.up,
            "down": self.down,
            "duration": round(self.duration, 3),
            "kind": self.kind,
            "hop": failure.hop or None if failure else None,
            "step": failure.step if failure else None,
            "cause": failure.cause if failure else None,
            "outcome": self.outcome,
        }

    @property
    def likeness(self) -> Hashable:
        """What failed sessions have in common that repeat each other."""
        return self.kind, self.failure, self.reply


def _quoted(text: str) -> str:
    return _in_quotes(text) if _DIFFICULT(text) else text


_quoted_name = lru_cache(64)(_quoted)


@lru_cache(64)
def _in_quotes(text: str) -> str:
    return json.dumps(text)
