"""The keywords that every call of the library has: `chain` and `timeouts`."""

from __future__ import annotations

from chainsocks.config.chains import Chain
from chainsocks.config.models import Timeouts
from chainsocks.config.options import shown

__all__ = ["checked_chain", "checked_timeouts"]


def checked_chain(chain: object) -> Chain:
    """Return `chain`.

    Raises:
        ValueError: it is no `Chain`. None is not taken for the direct way, which would bypass all hops.
    """
    if isinstance(chain, Chain):
        return chain
    expected = 'write chain=chainsocks.Chain("socks5://127.0.0.1:9050"), or chainsocks.DIRECT for no hops'
    raise ValueError(f"the chain is {shown(chain)}; {expected}")


def checked_timeouts(timeouts: object) -> Timeouts:
    """Return `timeouts`, or the defaults for None.

    Raises:
        ValueError: they are no `Timeouts`.
    """
    if timeouts is None:
        return Timeouts()
    if isinstance(timeouts, Timeouts):
        return timeouts
    raise ValueError(f"the timeouts are {shown(timeouts)}; write timeouts=chainsocks.Timeouts(dial=20)")
