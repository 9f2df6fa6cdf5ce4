"""The contract of the control socket, version 1: requests and answers, one JSON object on each line.

::

    {"version": 1, "request": "kill", "session": "2-17", "id": 5}
    {"version": 1, "id": 5, "answer": {"count": 1}}
    {"version": 1, "id": 6, "answer": {"sessions": [...]}, "more": true}
    {"version": 1, "id": 7, "error": {"code": "no-such-hop", "message": "no hop is called oslo"}}

1. Requests on one connection are answered in their order. `id` may be any text or number, and the answer repeats it.
2. An answer with ``"more": true`` is a part, and more lines follow; its lists are continued there.
3. Within version 1, answers get further keys, and keys never change their meaning. A reader ignores keys that it does
   not know; a request with an unknown key is refused.
4. Durations are seconds, amounts are bytes, and null is "none", "not known" or "never". No secret is in any answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from functools import cache, partial
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from chainsocks.control.messages import ControlError, Fault, Hop, Hops, Request, Session, Sessions, Status, What

__all__ = [
    "MAX_LINE",
    "VERSION",
    "Answer",
    "as_document",
    "encode_answer",
    "encode_error",
    "encode_request",
    "from_document",
    "hops_in",
    "read_answer",
    "read_request",
    "sessions_in",
    "status_in",
]

VERSION = 1

MAX_LINE = 64 * 1024
"""The longest request, in bytes."""

JSON = Mapping[str, Any]

ValueT = TypeVar("ValueT")


_ARGUMENTS: Mapping[What, tuple[str, ...]] = {
    What.KILL: ("session", "chain", "user"),
    What.REST: ("hop",),
    What.WAKE: ("hop",),
    What.DRAIN: ("delay",),
}
"""What each request takes."""


def read_request(line: bytes) -> Request:
    """Read a request.

    Raises:
        ControlError: the line is none.
    """
    document = _object(line)
    id_ = document.get("id")
    if not (id_ is None or (isinstance(id_, str | int) and not isinstance(id_, bool))):
        raise ControlError(Fault.BAD_REQUEST, '"id" has to be a text or a whole number')
    try:
        return _read_request(document)
    except ControlError as error:
        raise ControlError(error.fault, error.message, id_) from None


def _read_request(document: JSON) -> Request:
    if document.get("version") != VERSION:
        raise ControlError(Fault.UNSUPPORTED_VERSION, f'"version" has to be {VERSION}, the only one there is')
    given = {key: value for key, value in document.items() if key not in ("version", "request")}
    try:
        what = What(str(document.get("request")))
    except ValueError:
        raise ControlError(Fault.BAD_REQUEST, f'"request" has to be one of {", ".join(What)}') from None
    takes = _ARGUMENTS.get(what, ())
    for key, value in given.items():
        if key == "id":
            good = True
        elif key not in takes:
            raise ControlError(Fault.BAD_REQUEST, f"{what} takes no {json.dumps(key)}")
        elif key == "delay":
            good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
        else:
            good = isinstance(value, str)
        if not good:
            raise ControlError(Fault.BAD_REQUEST, f"{json.dumps(key)} of {what} has the wrong kind of value")
    if what in (What.KILL, What.REST, What.WAKE) and not given.keys() & set(takes):
        raise ControlError(Fault.BAD_REQUEST, f"{what} needs {' or '.join(takes)}")
    return Request(what=what, **given)


def encode_request(request: Request) -> bytes:
    """Write a request, as one line."""
    given = {name: getattr(request, name) for name in ("id", *_ARGUMENTS.get(request.what, ()))}
    given = {name: value for name, value in given.items() if value is not None}
    return _line({"version": VERSION, "request": request.what, **given})


def encode_answer(id_: str | int | None, answer: object, *, more: bool = False) -> bytes:
    """Write an answer as one line: a value of this module, or a JSON object. With `more`, it is a part."""
    document = {"version": VERSION, "id": id_, "answer": answer}
    return _line({**document, "more": True} if more else document)


def encode_error(id_: str | int | None, error: ControlError) -> bytes:
    """Write why a request has no answer, as one line."""
    return _line({"version": VERSION, "id": id_, "error": {"code": error.fault, "message": error.message}})


@dataclass(frozen=True, slots=True)
class Answer:
    """A line of the server: an answer or a part of one, as JSON."""

    id: str | int | None
    document: JSON
    more: bool


def read_answer(line: bytes) -> Answer:
    """Read a line of the server.

    Raises:
        ControlError: it says that there is no answer, or it is no line of this contract.
    """
    document = _object(line)
    if document.get("version") != VERSION:
        raise ControlError(Fault.UNSUPPORTED_VERSION, f"the server speaks another version than {VERSION}")
    id_, error, answer = document.get("id"), document.get("error"), document.get("answer")
    if isinstance(error, dict):
        code = error.get("code")
        fault = Fault(str(code)) if code in [*Fault] else Fault.UNAVAILABLE
        raise ControlError(fault, str(error.get("message")), id_)
    if not isinstance(answer, dict):
        raise ControlError(Fault.BAD_REQUEST, "the server sent something that is no answer")
    return Answer(id_, answer, document.get("more") is True)


def status_in(answers: Iterable[Answer]) -> Status:
    """Return what `status` is answered with. Raises: as `from_document`."""
    [answer] = answers
    return from_document(Status, answer.document)


def sessions_in(answers: Iterable[Answer]) -> list[Session]:
    """Return what `sessions` is answered with, in all parts. Raises: as `from_document`."""
    return [session for answer in answers for session in from_document(Sessions, answer.document).sessions]


def hops_in(answers: Iterable[Answer]) -> tuple[Hop, ...]:
    """Return what `hops` is answered with. Raises: as `from_document`."""
    [answer] = answers
    return from_document(Hops, answer.document).hops


def from_document(kind: type[ValueT], document: JSON) -> ValueT:
    """Make a value of this module from its JSON; keys that it does not have are ignored.

    Raises:
        ControlError: a key is missing, or has another kind of value.
    """
    given: dict[str, Any] = {}
    try:
        for name, convert in _converters(cast(Hashable, kind)).items():
            if name in document:
                value = document[name]
                given[name] = convert(value) if convert and value is not None else value
        return kind(**given)
    except (TypeError, ValueError, AttributeError) as error:
        raise ControlError(Fault.BAD_REQUEST, f"the server sent no {kind.__name__.lower()}: {error}") from None


@cache
def _converters(kind: Hashable) -> Mapping[str, Callable[[Any], object] | None]:
    """Return what makes the value of each field from its JSON; None for a value that is the same there."""
    return {name: _converter(hint) for name, hint in get_type_hints(kind).items()}


def _converter(hint: Any) -> Callable[[Any], object] | None:
    if isinstance(hint, UnionType):  # with None, which stays as it is
        [hint] = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is tuple:
        each = _converter(get_args(hint)[0])
        return (lambda values: tuple(map(each, values))) if each else tuple
    if is_dataclass(hint) and isinstance(hint, type):
        return partial(from_document, hint)
    return hint if isinstance(hint, type) and issubclass(hint, StrEnum) else None


def _object(line: bytes) -> JSON:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError(Fault.BAD_REQUEST, "each line has to be a JSON object") from None
    if not isinstance(document, dict):
        raise ControlError(Fault.BAD_REQUEST, "each line has to be a JSON object")
    return document


def _line(document: JSON) -> bytes:
    return json.dumps(document, default=_plain, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def as_document(value: object) -> JSON:
    """Return a value of this module as JSON has it."""
    document: JSON = json.loads(json.dumps(value, default=_plain))
    return document


def _plain(value: object) -> object:
    if not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} has no form in JSON")
    return {name: getattr(value, name) for name in _converters(cast(Hashable, type(value)))}
