"""Values of the library's keywords: what has one meaning is converted, and everything else is a `ValueError` at once.

The message says which keyword it is about and what to write. It repeats no text that may be a secret.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from enum import StrEnum
from operator import index
from typing import TypeVar

from chainsocks.config.idn import a_name, with_a_labels
from chainsocks.config.suggest import did_you_mean
from chainsocks.protocol.address import Address, HostLike, PortLike, host_text, port_number

__all__ = ["AddressLike", "as_address", "as_choice", "as_count", "as_flag", "as_seconds", "as_text", "shown"]

AddressLike = Address | str | tuple[HostLike, PortLike]
"""What is taken for an address: one, a text such as ``"example.org:1080"``, or a host and a port."""

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)

_BLANK = re.compile(r"\s")
_WORD = re.compile(r"[A-Za-z0-9_.-]{0,20}")


def shown(value: object) -> str:
    """Say what was given where something else was expected."""
    match value:
        case None | bool() | int() | float():
            return repr(value)
        case str() if _WORD.fullmatch(value):
            return repr(str.__str__(value))
        case str():
            return "a text"
        case type():
            return f"the class {value.__name__}"
        case _:
            return f"a value of type {type(value).__name__}"


def as_choice(kind: type[ChoiceT], value: object, name: str) -> ChoiceT:
    """Return a member of an enum, which may be given as its text."""
    if isinstance(value, kind):
        return value
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        texts = [member.value for member in kind]
        expected = " or ".join(f'"{text}"' for text in texts)
        problem = f"{name}: {shown(value)} is not a valid {kind.__name__}"
        raise ValueError(f"{problem}; write {expected}{did_you_mean(value, texts)}") from None


def as_seconds(value: object, name: str, *, may_be_zero: bool = False) -> float:
    """Return a duration in seconds, more than 0; ``math.inf`` for no limit."""
    if not isinstance(value, str | bytes | bool) and hasattr(type(value), "__float__"):
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        if seconds > 0 or (may_be_zero and seconds == 0):  # which nan is not
            return seconds
    least = "at least" if may_be_zero else "more than"
    raise ValueError(f"{name} is {shown(value)}; write a number of seconds that is {least} 0")


def as_flag(value: object, name: str) -> bool:
    """Return True or False, which texts and numbers do not stand for."""
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name} is {shown(value)}; write True or False")


def as_count(value: object, name: str) -> int:
    """Return a whole number, of any type."""
    if not isinstance(value, bool):
        try:
            return index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise ValueError(f"{name} is {shown(value)}; write a whole number")


def as_text(value: object, name: str) -> str:
    """Return a text."""
    if isinstance(value, str):
        return str.__str__(value)
    raise ValueError(f"{name} is {shown(value)}; write a text")


def as_address(value: object, name: str, parse: Callable[[str], Address]) -> Address:
    """Return an address with its name as A-labels; `parse` reads a text."""
    try:
        match value:
            case Address():
                return with_a_labels(value)
            case str() if not _BLANK.search(value):
                return with_a_labels(parse(value))
            case [host, port]:
                return Address(a_name(host_text(host)), port_number(port))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    raise ValueError(f'{name} is {shown(value)}; write chainsocks.Address("example.org", 1080) or "example.org:1080"')
