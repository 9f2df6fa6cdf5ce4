"""The table ``[web]`` of the file, which builds a `chainsocks.config.web.Web`."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import StrictStr, ValidationInfo, model_validator

from chainsocks.config.extras import WEB, require_installed
from chainsocks.config.listeners import is_loopback
from chainsocks.config.secrets import Secrets
from chainsocks.config.suggest import describe
from chainsocks.config.tables import LIST, NUMBER, Table, parsed, table_of
from chainsocks.config.values import parse_listen
from chainsocks.config.web import Web
from chainsocks.protocol.address import Address

__all__ = ["SHORTEST_TOKEN", "WebTable"]

SHORTEST_TOKEN = 16
"""Characters of the shortest token: it can be guessed at over the network."""

_TOKEN = re.compile(rb"[!-~]+")  # what a header carries as it is
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")


def _parse_address(value: str) -> Address:
    address = parse_listen(value)
    if not isinstance(address, Address):
        raise ValueError("the web server listens on TCP: expected host:port, as in 127.0.0.1:9090")
    require_installed(*WEB)
    return address


def _parse_host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"found {describe(value)}, expected the name of a host without a port, as in proxy.example")
    return value.lower()


class _WebTable(Table):
    """``[web]``."""

    _token: bytes | None

    @model_validator(mode="after")
    def _fit(self, info: ValidationInfo) -> Self:
        self._token = None
        given = self.given()
        name, listen = given.get("token_env"), given.get("listen")
        if name is not None:
            secrets: Secrets = info.context or Secrets()
            self._token = token = secrets.from_variable(name, "token_env")
            if token != f"${name}".encode() and not (len(token) >= SHORTEST_TOKEN and _TOKEN.fullmatch(token)):
                what = f"at least {SHORTEST_TOKEN} printable ASCII characters without spaces"
                raise ValueError(f"the token in token_env needs {what}, as `openssl rand -hex 16` makes them")
        elif listen is not None and not is_loopback(listen):
            what = "can be reached from beyond this machine, and shows who connects where"
            raise ValueError(f"{listen} {what}: give token_env, or listen on 127.0.0.1")
        return self

    def build(self) -> Web:
        """Make the value."""
        return Web(**self.given(), token=self._token)


WebTable = table_of(
    Web,
    _WebTable,
    {
        "listen": Annotated[Address | None, parsed(_parse_address), NUMBER],
        "hosts": Annotated[tuple[Annotated[str, parsed(_parse_host)], ...], LIST],
        "token_env": StrictStr | None,
        "token": None,
    },
)
