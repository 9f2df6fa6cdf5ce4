"""How complaints quote what a user wrote, and suggest what was meant. Logins are masked."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from chainsocks.protocol.masking import masked, masked_name

__all__ = ["MAX_INTEGER", "closest", "describe", "did_you_mean", "none_of", "suggest"]

MAX_INTEGER = 2**63 - 1
"""The largest integer that TOML can hold."""

CLOSE = 0.7
"""How alike two texts are, between 0 and 1, for one to be suggested in place of the other."""


def describe(value: object) -> str:
    """Say what a user wrote, in the words of TOML, with logins masked."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(masked(value))
        case int() if abs(value) > MAX_INTEGER:
            return "a number that is too large"
        case int() | float():
            return repr(value)
        case _:
            return "a date or a time"


def closest(name: object, known: Iterable[str]) -> str | None:
    """Return the known text that is most like `name`, if there is one that may have been meant."""
    close = get_close_matches(name, list(known), n=1, cutoff=CLOSE) if isinstance(name, str) else []
    return close[0] if close else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` where a known text is close, otherwise nothing."""
    meant = closest(name, known)
    return f"; did you mean {masked_name(meant)!r}?" if meant else ""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `did_you_mean`, or the list of what is known where nothing is close."""
    names = sorted(set(known))
    return did_you_mean(name, names) or (f"; known are {', '.join(map(masked_name, names))}" if names else "")


def none_of(known: Iterable[str], found: object) -> str:
    """Return the complaint that a value is none of the few texts that it may be."""
    texts = list(known)
    return f"found {describe(found)}, expected {' or '.join(map(repr, texts))}{did_you_mean(found, texts)}"
