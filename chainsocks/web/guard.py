"""What a request has to bring: a name that this server is known by, the token, and for changes a right Origin.

1. A Host that is not ours is refused: otherwise a website whose name an attacker points at 127.0.0.1 could read this
   server through a visitor's browser (DNS rebinding). A request without one, which HTTP/1.0 allows, comes from no
   browser.
2. The token is read from the Authorization header only. In a URL it would be in logs and histories, and a cookie goes
   along with requests that other websites make.
3. Changes need the token, always. Reading needs it where other machines can connect; whether the server is well may
   be asked without it.
4. Tokens are compared in constant time.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from chainsocks.observe.privacy import shown

__all__ = ["PUBLIC", "Guard", "Rules"]

log = logging.getLogger("chainsocks.web")

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC = frozenset({"/", "/page.css", "/page.js", "/healthz", "/readyz"})
"""Paths that say nothing about sessions, and may be read without the token."""

SAFE = frozenset({"GET", "HEAD"})

HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What every answer has: browsers are to load nothing from elsewhere, and to show it inside no other page."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of requests."""

    hosts: frozenset[str]
    """Names in lower case, and addresses as they stand in a Host header, without ports."""
    token: bytes | None = None
    guards_reads: bool = False
    """Whether reading needs the token."""


class Guard:
    """An ASGI application that lets requests through to `app`, and puts the security headers on every answer."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        try:
            await (refusal or self._app)(scope, receive, send_with_headers)
        except Exception as error:  # the client has its 500 already
            log.error("a bug in chainsocks: %s: %s (in the web server)", type(error).__name__, shown(error))
            log.debug("where it happened", exc_info=error)

    def _refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        host = headers.get("host")
        if host is not None and not self._is_ours(host, scope.get("server")):
            why = "this server is not known by that name: put it into hosts in [web], if it should be\n"
            return PlainTextResponse(why, HTTPStatus.FORBIDDEN)
        writes = scope["method"] not in SAFE
        origin = headers.get("origin")
        if writes and origin is not None and origin.partition("://")[2].lower() != (host or "").lower():
            return PlainTextResponse("this request comes from another website\n", HTTPStatus.FORBIDDEN)
        if not (writes or (self._rules.guards_reads and scope["path"] not in PUBLIC)):
            return None
        token = self._rules.token
        if token is None:
            return PlainTextResponse("this server only answers questions: it has no token_env\n", HTTPStatus.FORBIDDEN)
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1", "replace"), token):
            return None
        why = "the token is missing or wrong: send it as Authorization: Bearer TOKEN\n"
        return PlainTextResponse(why, HTTPStatus.UNAUTHORIZED, {"www-authenticate": "Bearer"})

    def _is_ours(self, host: str, server: tuple[str, int | None] | None) -> bool:
        """Whether a Host header has one of our names, or the IP address that its connection came in at."""
        name = _without_port(host).lower()
        if name in self._rules.hosts:
            return True
        try:
            return server is not None and ip_address(name.strip("[]")) == ip_address(server[0])
        except ValueError:
            return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
