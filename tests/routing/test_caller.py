"""Who asks."""

from __future__ import annotations

from chainsocks.routing.caller import Caller


def test_nobody_sees_the_user_in_a_log() -> None:
    assert "carol" not in repr(Caller("192.0.2.1", b"carol"))
