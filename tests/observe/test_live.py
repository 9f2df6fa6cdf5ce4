from __future__ import annotations

from chainsocks.observe.live import LiveSession, LiveSessions, Moment
from chainsocks.observe.phase import Phase
from chainsocks.observe.record import Record


class FakeSession:
    """Ends when it is told to."""

    def __init__(self) -> None:
        self.record = Record("client", began=0)
        self.is_killed = False

    def moment(self) -> Moment:
        return Moment(Phase.REQUEST, 10)

    def kill(self) -> None:
        self.is_killed = True


def test_sessions_are_known_while_they_run() -> None:
    live, first, second = LiveSessions(), FakeSession(), FakeSession()
    session: LiveSession = first
    live.add(session)
    live.add(second)
    assert (set(live), len(live), first in live) == ({first, second}, 2, True)
    assert live.remove(first) is False
    assert (set(live), first in live) == ({second}, False)


def test_a_session_that_ends_tells_whether_it_was_killed() -> None:
    live, session = LiveSessions(), FakeSession()
    live.add(session)
    live.kill(session)
    assert session.is_killed
    assert session in live
    assert live.remove(session) is True
    assert live.remove(session) is False
