"""The words of settings, for type checkers."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from chainsocks import Protection
from chainsocks.config import choices, kinds
from chainsocks.config.choices import Isolate, NamesOnly, Pick, Pipeline, Resolve, Udp, UdpFilter, UdpRelay
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol import gssapi


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (kinds.ProtocolText, HopProtocol),
        (choices.ResolveText, Resolve),
        (choices.PipelineText, Pipeline),
        (choices.IsolateText, Isolate),
        (choices.UdpRelayText, UdpRelay),
        (choices.NamesOnlyText, NamesOnly),
        (choices.UdpText, Udp),
        (choices.UdpFilterText, UdpFilter),
        (choices.PickText, Pick),
        (gssapi.ProtectionText, [level for level in Protection if level is not Protection.SELECTIVE]),
    ],
)
def test_type_checkers_know_the_same_texts(texts: object, kind: Any) -> None:
    assert list(get_args(texts)) == [str(member) for member in kind]
