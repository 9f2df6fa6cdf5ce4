"""How sessions end: the ends that owe the client nothing, and the kinds of outcomes.

A kind is what counters and the live view tell outcomes apart by; the text of an outcome is for people.
"""

from __future__ import annotations

from typing import Any

from chainsocks.errors import Cause, DialError, LoginRefused, ProtocolError, RequestRefused
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.protocol.messages import ReplyCode
from chainsocks.relay.datagrams import DatagramRelay
from chainsocks.relay.relay import Relay
from chainsocks.session.begun import CLIENT_LEFT

__all__ = ["ClientLeft", "SessionOver", "kind_of_error", "kind_of_refusal", "relay_over"]


class SessionOver(Exception):
    """The session ends without an answer to the client; its text is the outcome."""

    def __init__(self, outcome: str, kind: OutcomeKind) -> None:
        super().__init__(outcome)
        self.kind = kind


class ClientLeft(SessionOver):
    """The client cannot take the reply that it is owed."""

    def __init__(self) -> None:
        super().__init__(CLIENT_LEFT, OutcomeKind.CLIENT_LEFT)


def relay_over(relay: Relay[Any] | DatagramRelay) -> SessionOver:
    """Return the end of a session whose relay has ended."""
    kind = relay.outcome.kind if isinstance(relay, Relay) else relay.kind
    return SessionOver(relay.outcome, kind)


def kind_of_error(error: ProtocolError) -> OutcomeKind:
    """Return the kind of outcome of a client that broke the protocol, or may not come in."""
    if error.cause is Cause.SYSTEM_ERROR:
        return OutcomeKind.LOCAL_ERROR
    if isinstance(error, LoginRefused):
        return OutcomeKind.LOGIN_REFUSED
    return OutcomeKind.NO_REQUEST if error.cause is Cause.CLOSED else OutcomeKind.BAD_REQUEST


def kind_of_refusal(refusal: RequestRefused | DialError) -> OutcomeKind:
    """Return the kind of outcome of a request that is refused, or whose dial has failed."""
    if not refusal.is_failure:
        return OutcomeKind.REFUSED
    is_local = isinstance(refusal, RequestRefused) and refusal.reply_code == ReplyCode.GENERAL_FAILURE
    return OutcomeKind.LOCAL_ERROR if is_local else OutcomeKind.DIAL_FAILED
