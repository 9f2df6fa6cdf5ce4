"""The routes of the web server.

::

    GET /                       the page                 GET /healthz          200 while all event loops answer
    GET /metrics                for monitoring           GET /readyz           200 while clients are welcome
    GET /api/v1/status          as on the control socket GET /readyz?chain=X   and chain X has a way that works
    GET /api/v1/sessions, hops, metrics                  GET /api/v1/view      what the page shows
    POST /api/v1/kill, rest, wake, reload, drain         GET /api/v1/events    the same, each second
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from chainsocks.config.rules import DIRECTLY
from chainsocks.control.messages import ControlError, Fault, What
from chainsocks.control.wire import MAX_LINE, VERSION, read_request
from chainsocks.web.exposition import write_metrics
from chainsocks.web.feed import Feed
from chainsocks.web.guard import Guard, Rules
from chainsocks.web.readiness import chain_problem, life_problem, readiness_problem
from chainsocks.web.source import Source
from chainsocks.web.view import History, build_view

__all__ = ["WRITES", "build_app"]

PAGE = Path(__file__).parent / "page"

WRITES = (What.KILL, What.REST, What.WAKE, What.RELOAD, What.DRAIN)
"""Requests that change something."""

_STATUSES: Mapping[Fault, HTTPStatus] = {
    Fault.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    Fault.NO_SUCH_HOP: HTTPStatus.NOT_FOUND,
    Fault.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""How HTTP says why a request has no answer; 500 otherwise."""

Handler = Callable[[Request], Awaitable[Response]]


def build_app(source: Source, feed: Feed, rules: Rules) -> Guard:
    """Make the ASGI application that answers from `source`."""
    routes = _Routes(source, feed)
    found = [
        Route("/", _file("index.html")),
        Route("/page.css", _file("page.css")),
        Route("/page.js", _file("page.js")),
        Route("/metrics", routes.metrics),
        Route("/healthz", routes.healthz),
        Route("/readyz", routes.readyz),
        Route("/api/v1/status", routes.status),
        Route("/api/v1/sessions", routes.sessions),
        Route("/api/v1/hops", routes.hops),
        Route("/api/v1/metrics", routes.raw_metrics),
        Route("/api/v1/view", routes.view),
        Route("/api/v1/events", routes.events),
        *(Route(f"/api/v1/{what}", routes.order(what), methods=["POST"]) for what in WRITES),
    ]
    app = Starlette(routes=found, exception_handlers={ControlError: _no_answer, json.JSONDecodeError: _bad_json})
    return Guard(app, rules)


class _Routes:
    def __init__(self, source: Source, feed: Feed) -> None:
        self._source = source
        self._feed = feed
        self._history = History()

    async def metrics(self, request: Request) -> Response:
        measured = await self._source.measured()
        text, content_type = write_metrics(measured.samples, request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    async def healthz(self, request: Request) -> Response:
        return _verdict(life_problem(await self._source.status()))

    async def readyz(self, request: Request) -> Response:
        problem = readiness_problem(await self._source.status())
        name = request.query_params.get("chain")
        if problem is None and name is not None and name != DIRECTLY:
            chains = (await self._source.measured()).chains
            chain = next((chain for chain in chains if chain.name == name), None)
            if chain is None:
                return PlainTextResponse("no chain has that name\n", HTTPStatus.NOT_FOUND)
            problem = chain_problem(chain, await self._source.hops())
        return _verdict(problem)

    async def status(self, request: Request) -> Response:
        return JSONResponse(asdict(await self._source.status()))

    async def sessions(self, request: Request) -> Response:
        return JSONResponse({"sessions": (await self._source.sessions()).sessions})

    async def hops(self, request: Request) -> Response:
        return JSONResponse({"hops": [asdict(hop) for hop in await self._source.hops()]})

    async def raw_metrics(self, request: Request) -> Response:
        return JSONResponse((await self._source.measured()).document)

    async def view(self, request: Request) -> Response:
        return JSONResponse(await build_view(self._source, self._history))

    async def events(self, request: Request) -> Response:
        if self._feed.is_full:
            return PlainTextResponse("too many pages are open\n", HTTPStatus.SERVICE_UNAVAILABLE)
        return StreamingResponse(self._feed.watch(), media_type="text/event-stream")

    def order(self, what: What) -> Handler:
        async def handle(request: Request) -> Response:
            body = await _body_of(request)
            given = json.loads(body) if body.strip() else {}
            if not isinstance(given, dict) or {"version", "request", "id"} & given.keys():
                raise ControlError(Fault.BAD_REQUEST, f"expected a JSON object with what {what} takes")
            line = json.dumps({"version": VERSION, "request": what, **given}).encode()
            return JSONResponse(await self._source.order(read_request(line)))

        return handle


async def _body_of(request: Request) -> bytes:
    """Return the body of a request, if it is no longer than a request on the control socket may be."""
    body = b""
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_LINE:
                raise ControlError(Fault.BAD_REQUEST, f"a request has at most {MAX_LINE} bytes")
    return body


def _verdict(problem: str | None) -> Response:
    if problem is None:
        return PlainTextResponse("ok\n")
    return PlainTextResponse(f"{problem}\n", HTTPStatus.SERVICE_UNAVAILABLE)


async def _no_answer(request: Request, error: Exception) -> Response:
    """Say why the server does not answer."""
    fault = error.fault if isinstance(error, ControlError) else Fault.BUG
    status = _STATUSES.get(fault, HTTPStatus.INTERNAL_SERVER_ERROR)
    return JSONResponse({"error": {"code": fault, "message": str(error)}}, status)


async def _bad_json(request: Request, error: Exception) -> Response:
    return await _no_answer(request, ControlError(Fault.BAD_REQUEST, "expected a JSON object"))


def _file(name: str) -> Handler:
    async def handle(request: Request) -> Response:
        return FileResponse(PAGE / name)

    return handle
