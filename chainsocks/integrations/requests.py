"""requests through a chain: a session, and the adapter that it is made of.

::

    with chain_session(chain) as session:
        answer = session.get("https://example.org/")

Proxies of the environment and of a request are not used: the chain is the way.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from chainsocks.client.arguments import checked_chain
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.models import Timeouts
from chainsocks.integrations.urllib3 import ChainPoolManager

__all__ = ["ChainAdapter", "chain_session"]


def chain_session(
    chain: Chain = DIRECT, *, timeouts: Timeouts | None = None, isolation: str | None = None
) -> requests.Session:
    """Return a session all of whose requests go through `chain`; the caller closes it."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, ChainAdapter(chain, timeouts=timeouts, isolation=isolation))
    return session


class ChainAdapter(HTTPAdapter):
    """An adapter to mount. `options` are those of ``requests.adapters.HTTPAdapter``."""

    __attrs__ = [*HTTPAdapter.__attrs__, "_chain", "_timeouts", "_isolation"]  # noqa: RUF012  (what is pickled)

    def __init__(
        self,
        chain: Chain = DIRECT,
        *,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
        **options: Any,
    ) -> None:
        self._chain = checked_chain(chain)
        self._timeouts = timeouts
        self._isolation = isolation
        super().__init__(**options)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:  # noqa: FBT001, FBT002
        """Make the pool manager, as requests asks for it."""
        self.poolmanager = ChainPoolManager(
            self._chain,
            timeouts=self._timeouts,
            isolation=self._isolation,
            num_pools=connections,
            maxsize=maxsize,
            block=block,
            **options,
        )

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request, without a proxy."""
        return super().send(request, *args, **{**options, "proxies": None})
