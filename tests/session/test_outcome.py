"""The kind of every outcome that an error makes."""

from __future__ import annotations

import pytest

from chainsocks.errors import Cause, LoginRefused, ProtocolError, RequestRefused
from chainsocks.observe.outcomes import OutcomeKind
from chainsocks.protocol.messages import ReplyCode
from chainsocks.session.outcome import kind_of_error, kind_of_refusal


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ProtocolError("x", Cause.CLOSED), OutcomeKind.NO_REQUEST),
        (ProtocolError("x", Cause.MALFORMED), OutcomeKind.BAD_REQUEST),
        (ProtocolError("x", Cause.SYSTEM_ERROR), OutcomeKind.LOCAL_ERROR),
        (LoginRefused("x", Cause.LOGIN_REFUSED), OutcomeKind.LOGIN_REFUSED),
        (LoginRefused("x", Cause.SYSTEM_ERROR), OutcomeKind.LOCAL_ERROR),
    ],
)
def test_clients_that_break_the_protocol(error: ProtocolError, kind: OutcomeKind) -> None:
    assert kind_of_error(error) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ReplyCode.NOT_ALLOWED_BY_RULESET, OutcomeKind.REFUSED),
        (ReplyCode.GENERAL_FAILURE, OutcomeKind.LOCAL_ERROR),
        (ReplyCode.HOST_UNREACHABLE, OutcomeKind.DIAL_FAILED),
    ],
)
def test_requests_that_are_refused(code: ReplyCode, kind: OutcomeKind) -> None:
    assert kind_of_refusal(RequestRefused("x", code)) is kind
