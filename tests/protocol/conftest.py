"""No playbook goes unread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.protocol.playbook import finish_all


@pytest.fixture(autouse=True)
def finished_playbooks() -> Iterator[None]:
    """Fail a test whose playbook asserts nothing, or leaves something that the handshake did unclaimed."""
    yield
    finish_all()
