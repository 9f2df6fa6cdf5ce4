"""The exceptions of chainsocks: the tree in their docstring, the reply codes they know, and how they read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chainsocks import errors
from chainsocks.errors import (
    ChainsocksError,
    ConfigError,
    ConnectError,
    DialError,
    DialTimeout,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    Place,
    Problem,
    RequestRefused,
    ResolverError,
    UnsupportedAddress,
)
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import ReplyCode

PARIS = Place("paris", Address("10.0.0.1", 1080), "waiting for the reply")
DESTINATION = Place(None, Address("2001:db8::1", 443), "connecting")


def exception_classes() -> dict[str, type[Exception]]:
    public = {name: getattr(errors, name) for name in errors.__all__}
    return {name: value for name, value in public.items() if issubclass(value, Exception)}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    branch: list[str] = []  # from the root down to the line above
    for line in (errors.__doc__ or "").split("::\n")[1].splitlines():
        name, _, _ = line.lstrip(" │├└─").partition(" ")
        if name.isidentifier() and line.startswith("    "):
            depth = (len(line) - len(line.lstrip(" │├└─"))) // 4 - 1
            branch[depth:] = [name]
            drawn[name] = branch[depth - 1] if depth else "Exception"
    assert drawn == {name: kind.__bases__[0].__name__ for name, kind in exception_classes().items()}


def test_everything_raised_on_purpose_has_one_root() -> None:
    assert all(issubclass(kind, ChainsocksError) for kind in exception_classes().values())


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("server.workers", "found -1"), "server.workers: found -1"),
        (Problem("", "this is not UTF-8 text"), "this is not UTF-8 text"),
    ],
    ids=["with a place", "of the whole file"],
)
def test_a_problem_says_where_it_is(problem: Problem, text: str) -> None:
    assert str(problem) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", "server.workers: found -1\nrules: unknown section"),
        ("c.toml", "c.toml: server.workers: found -1\nc.toml: rules: unknown section"),
    ],
    ids=["from nowhere", "from a file"],
)
def test_a_configuration_error_lists_every_problem(source: str, text: str) -> None:
    problems = [Problem("server.workers", "found -1"), Problem("rules", "unknown section")]
    error = ConfigError(problems, source)
    assert (error.problems, error.source, str(error)) == (tuple(problems), source, text)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_refused_request_knows_its_reply_code() -> None:
    error = RequestRefused("denied by rule 2", ReplyCode.NOT_ALLOWED_BY_RULESET)
    assert (str(error), error.reply_code) == ("denied by rule 2", ReplyCode.NOT_ALLOWED_BY_RULESET)


# --- the way to the destination ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (PARIS, "hop paris at 10.0.0.1:1080, waiting for the reply"),
        (DESTINATION, "destination [2001:db8::1]:443, connecting"),
        (replace(DESTINATION, end="resolver"), "resolver [2001:db8::1]:443, connecting"),
    ],
    ids=["hop", "destination", "resolver"],
)
def test_a_place_names_the_hop_or_the_destination(place: Place, text: str) -> None:
    assert str(place) == text


@pytest.mark.parametrize(
    ("elapsed", "limit", "text"),
    [
        (10, 10, "hop paris at 10.0.0.1:1080, waiting for the reply: no answer (10.00 s of 10 s)"),
        (0.0049, 2.5, "hop paris at 10.0.0.1:1080, waiting for the reply: no answer (0.00 s of 2.5 s)"),
        (3, math.inf, "hop paris at 10.0.0.1:1080, waiting for the reply: no answer (3.00 s without a limit)"),
    ],
    ids=["whole", "fractions", "no limit"],
)
def test_a_failure_says_who_where_what_and_how_long(elapsed: float, limit: float, text: str) -> None:
    error = DialError(PARIS, "no answer", elapsed=elapsed, limit=limit)
    assert str(error) == text
    assert (error.place, error.problem, error.elapsed, error.limit) == (PARIS, "no answer", elapsed, limit)


@pytest.mark.parametrize(
    ("kind", "reply_code"),
    [
        (DialError, ReplyCode.GENERAL_FAILURE),
        (UnsupportedAddress, ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED),
        (ConnectError, ReplyCode.GENERAL_FAILURE),
        (HopProtocolError, ReplyCode.GENERAL_FAILURE),
        (HopAuthenticationError, ReplyCode.GENERAL_FAILURE),
        (HopRefused, ReplyCode.GENERAL_FAILURE),
        (ResolverError, ReplyCode.GENERAL_FAILURE),
        (DialTimeout, ReplyCode.TTL_EXPIRED),
    ],
)
def test_what_a_waiting_client_is_told(kind: type[DialError], reply_code: ReplyCode) -> None:
    assert kind(PARIS, "no answer", elapsed=1, limit=10).reply_code == reply_code


@pytest.mark.parametrize("reply_code", [0x00, ReplyCode.CONNECTION_REFUSED, 0xF0, 0x99])
def test_a_failure_may_know_a_better_reply_code(reply_code: int) -> None:
    error = HopRefused(PARIS, "it refused", elapsed=1, limit=10, reply_code=reply_code)
    assert error.reply_code == reply_code
    assert HopRefused.reply_code == ReplyCode.GENERAL_FAILURE
