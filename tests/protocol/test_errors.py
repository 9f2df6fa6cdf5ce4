"""The tree: whoever catches a branch catches its leaves."""

from __future__ import annotations

import pytest

from chainsocks.protocol.errors import ChainsocksError, LoginRefused, ProtocolError


@pytest.mark.parametrize(
    ("leaf", "branch"),
    [(LoginRefused, ProtocolError), (ProtocolError, ChainsocksError), (ChainsocksError, Exception)],
)
def test_a_branch_catches_its_leaves(leaf: type[Exception], branch: type[Exception]) -> None:
    with pytest.raises(branch):
        raise leaf("why")
