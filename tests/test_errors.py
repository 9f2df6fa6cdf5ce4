"""The exceptions of chainsocks: the tree in their docstring, what catches them, their reply codes, and their copies."""

from __future__ import annotations

import copy
import errno
import math
import multiprocessing
import pickle
from dataclasses import replace

import pytest

from chainsocks import errors
from chainsocks.errors import (
    Cause,
    ChainsocksError,
    ConfigError,
    ConnectError,
    DestinationRefused,
    DestinationRefusedHop,
    DestinationTlsError,
    DialError,
    DialTimeout,
    End,
    GssError,
    HopAuthenticationError,
    HopProtocolError,
    HopRefused,
    HopTlsError,
    LoginRefused,
    NotFoundError,
    Place,
    Problem,
    ProtocolError,
    RequestRefused,
    ResolverError,
    ResponseError,
    Step,
    UnsupportedAddress,
    WebListenError,
    reply_code_of,
)
from chainsocks.gss.stream import CapsuleError
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.protocol.messages import ReplyCode

PARIS = Place("paris", Address("10.0.0.1", 1080), State.REQUEST, 2, 3)
DESTINATION = Place(None, Address("2001:db8::1", 443), Step.CONNECT)

CEILING = 60
"""Seconds that a pool of processes may take for what it does in a few milliseconds, its start included."""


def at_hop(kind: type[DialError], cause: Cause) -> DialError:
    return kind(PARIS, "trouble", cause, elapsed=1, limit=10)


def at_destination(kind: type[DialError], cause: Cause, number: int | None = None) -> DialError:
    return kind(DESTINATION, "trouble", cause, elapsed=1, limit=10, at_destination=True, errno=number)


def refusal(code: int, cause: Cause = Cause.REFUSED) -> HopRefused:
    return HopRefused(PARIS, "it refused", cause, code=code, elapsed=1, limit=10)


SAMPLES: list[Exception] = [
    ChainsocksError("trouble"),
    ConfigError([Problem("server.workers", "found -1")], "c.toml"),
    ProtocolError("trouble", Cause.MALFORMED),
    LoginRefused("trouble", Cause.LOGIN_REFUSED),
    RequestRefused("denied by rule 2", ReplyCode.NOT_ALLOWED_BY_RULESET),
    GssError("trouble"),
    WebListenError("127.0.0.1:9090", errno.EADDRINUSE, "Address already in use"),
    NotFoundError("trouble", Cause.NAME_NOT_FOUND),
    at_hop(DialError, Cause.SYSTEM_ERROR),
    at_hop(UnsupportedAddress, Cause.UNSUPPORTED_ADDRESS),
    at_destination(ConnectError, Cause.NETWORK_UNREACHABLE, errno.ENETUNREACH),
    at_destination(ConnectError, Cause.CONNECTION_REFUSED, errno.ECONNREFUSED),
    at_hop(HopProtocolError, Cause.TLS),
    at_hop(HopTlsError, Cause.CERTIFICATE_NAME),
    at_destination(DestinationTlsError, Cause.CERTIFICATE_NAME),
    at_hop(HopAuthenticationError, Cause.LOGIN_REFUSED),
    refusal(ReplyCode.NOT_ALLOWED_BY_RULESET),
    refusal(ReplyCode.CONNECTION_REFUSED),
    at_destination(ResolverError, Cause.NAME_NOT_FOUND),
    at_destination(ResponseError, Cause.CLOSED),
    at_hop(DialTimeout, Cause.TIMED_OUT).after([refusal(1), at_destination(DialTimeout, Cause.TIMED_OUT)]),
    CapsuleError("trouble"),
]
"""One error of every public class."""

IDS = [type(sample).__name__ for sample in SAMPLES]


def exception_classes() -> dict[str, type[Exception]]:
    public = {name: getattr(errors, name) for name in errors.__all__}
    return {name: kind for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, Exception)}


def everything_in(error: BaseException) -> tuple[object, ...]:
    """Return all that an error says, an error within it in the same way."""
    attributes = {name: getattr(error, name) for name in ("errno", "strerror", "filename") if hasattr(error, name)}
    attributes |= vars(error)
    attributes["earlier"] = tuple(everything_in(one) for one in attributes.get("earlier", ()))
    return type(error), str(error), error.args, attributes


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, list[str]] = {}
    branch: list[str] = []  # from the root down to the line above
    for line in (errors.__doc__ or "").split("::\n")[1].splitlines():
        name, *others = line.lstrip(" │├└─").partition("  ")[0].split(", ")
        if name.isidentifier() and line.startswith("    "):
            depth = (len(line) - len(line.lstrip(" │├└─"))) // 4 - 1
            branch[depth:] = [name]
            drawn[name] = [branch[depth - 1] if depth else "Exception", *others]
    assert drawn == {name: [base.__name__ for base in kind.__bases__] for name, kind in exception_classes().items()}


def test_everything_raised_on_purpose_has_one_root() -> None:
    assert all(issubclass(kind, ChainsocksError) for kind in exception_classes().values())


# --- copies -----------------------------------------------------------------------------------------------------------


def test_there_is_a_sample_of_every_class() -> None:
    assert {type(sample) for sample in SAMPLES} == {*exception_classes().values(), CapsuleError}


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_a_pickled_error_is_the_same(sample: Exception) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert everything_in(pickle.loads(pickle.dumps(sample, protocol))) == everything_in(sample)


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_a_copied_error_is_the_same(sample: Exception) -> None:
    for copied in (copy.copy(sample), copy.deepcopy(sample)):
        assert copied is not sample
        assert everything_in(copied) == everything_in(sample)


def raise_sample(index: int) -> None:
    raise SAMPLES[index]


def test_a_pool_of_processes_raises_each_error_and_does_not_hang() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for index, sample in enumerate(SAMPLES):
            with pytest.raises(type(sample)) as caught:
                pool.map_async(raise_sample, [index]).get(CEILING)
            assert everything_in(caught.value) == everything_in(sample)


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
        (PARIS, "hop paris (2 of 3) at 10.0.0.1:1080, request"),
        (Place("paris", Address("10.0.0.1", 1080), Step.CONNECT), "hop paris at 10.0.0.1:1080, TCP connect"),
        (DESTINATION, "destination [2001:db8::1]:443, TCP connect"),
        (replace(DESTINATION, end=End.RESOLVER), "resolver [2001:db8::1]:443, TCP connect"),
    ],
    ids=["hop", "hop without a position", "destination", "resolver"],
)
def test_a_place_names_the_hop_or_the_end(place: Place, text: str) -> None:
    assert str(place) == text


@pytest.mark.parametrize(
    ("elapsed", "limit", "text"),
    [
        (10, 10, "no answer (10.00 s of 10 s)"),
        (0.0049, 2.5, "no answer (0.00 s of 2.5 s)"),
        (3, math.inf, "no answer (3.00 s without a limit)"),
    ],
    ids=["whole", "fractions", "no limit"],
)
def test_a_failure_says_who_where_what_and_how_long(elapsed: float, limit: float, text: str) -> None:
    error = DialError(PARIS, "no answer", Cause.RESET, elapsed=elapsed, limit=limit)
    assert str(error) == f"hop paris (2 of 3) at 10.0.0.1:1080, request: {text}"
    assert (error.place, error.problem, error.cause) == (PARIS, "no answer", Cause.RESET)
    assert (error.elapsed, error.limit, error.at_destination, error.earlier) == (elapsed, limit, False, ())


def test_the_text_of_the_last_error_ends_with_earlier_ones() -> None:
    first = at_hop(HopProtocolError, Cause.CLOSED)
    cause = ValueError("below")
    with pytest.raises(DialTimeout) as caught:
        raise at_hop(DialTimeout, Cause.TIMED_OUT) from cause
    last = caught.value
    told = last.after(iter([first]))
    assert (told.earlier, last.earlier) == ((first,), ())
    assert str(told) == f"{last}; before that, {first}"
    assert type(told) is DialTimeout
    assert (told.__cause__, told.__suppress_context__, told.__traceback__) == (cause, True, last.__traceback__)


# --- what catches it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "number"),
    [
        (
            at_destination(ConnectError, Cause.CONNECTION_REFUSED, errno.ECONNREFUSED),
            DestinationRefused,
            errno.ECONNREFUSED,
        ),
        (at_destination(ConnectError, Cause.NETWORK_UNREACHABLE, errno.ENETUNREACH), ConnectError, errno.ENETUNREACH),
        (at_hop(ConnectError, Cause.CONNECTION_REFUSED), ConnectError, None),
        (refusal(0x05), DestinationRefusedHop, errno.ECONNREFUSED),
        (refusal(0x04), HopRefused, None),
        (refusal(0x05, Cause.NEXT_NOT_REACHED), HopRefused, None),
        (at_hop(DialTimeout, Cause.TIMED_OUT), DialTimeout, errno.ETIMEDOUT),
        (at_hop(HopProtocolError, Cause.CLOSED), HopProtocolError, None),
    ],
)
def test_an_error_is_what_callers_of_sockets_catch(error: DialError, kind: type[DialError], number: int | None) -> None:
    assert type(error) is kind
    assert isinstance(error, OSError)
    assert isinstance(error, TimeoutError) is (kind is DialTimeout)
    assert isinstance(error, ConnectionRefusedError) is (kind in (DestinationRefused, DestinationRefusedHop))
    assert (error.errno, error.strerror, error.filename) == (number, error.problem, None)


@pytest.mark.parametrize(
    "error",
    [
        at_destination(ConnectError, Cause.CONNECTION_REFUSED),
        *(refusal(code) for code in (0x04, 0x05, 0x06, 0xF0, 0xF7)),
    ],
)
def test_the_destination_has_failed(error: DialError) -> None:
    assert error.at_destination


@pytest.mark.parametrize(
    "error",
    [
        at_hop(ConnectError, Cause.CONNECTION_REFUSED),
        *(refusal(code) for code in (0x01, 0x02, 0x03, 0x07, 0x08, 0x5A, 0x15C)),  # of the hop, or of nothing
        refusal(0x04, Cause.NEXT_NOT_REACHED),
    ],
)
def test_the_destination_may_be_well(error: DialError) -> None:
    assert not error.at_destination


# --- the reply to a waiting client ------------------------------------------------------------------------------------

REPLY_CODES = {
    Cause.CONNECTION_REFUSED: (0x05, 0x01),
    Cause.NETWORK_UNREACHABLE: (0x03, 0x01),
    Cause.HOST_UNREACHABLE: (0x04, 0x01),
    Cause.NAME_NOT_FOUND: (0x04, 0x01),
    Cause.NO_ANSWER: (0x06, 0x01),
    Cause.NOT_ALLOWED: (0x02, 0x01),
    Cause.NO_ADDRESS_FAMILY: (0x08, 0x01),
    Cause.TIMED_OUT: (0x06, 0x06),
    Cause.UNSUPPORTED_ADDRESS: (0x08, 0x08),
}
"""At the destination, and elsewhere."""


@pytest.mark.parametrize("cause", Cause)
def test_the_reply_code_follows_from_the_cause(cause: Cause) -> None:
    expected = REPLY_CODES.get(cause, (0x01, 0x01))
    assert (reply_code_of(cause, at_destination=True), reply_code_of(cause, at_destination=False)) == expected
    assert (at_destination(DialError, cause).reply_code, at_hop(DialError, cause).reply_code) == expected


@pytest.mark.parametrize("code", [0x02, ReplyCode.CONNECTION_REFUSED, 0xF0, 0x99])
def test_the_last_hops_own_code_is_passed_through(code: int) -> None:
    assert (refusal(code).code, refusal(code).reply_code) == (code, code)


@pytest.mark.parametrize("code", [0x02, ReplyCode.CONNECTION_REFUSED, 0xF0])
def test_what_a_hop_says_of_the_next_one_is_a_general_failure(code: int) -> None:
    error = refusal(code, Cause.NEXT_NOT_REACHED)
    assert (error.code, error.reply_code) == (code, ReplyCode.GENERAL_FAILURE)
