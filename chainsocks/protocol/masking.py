"""Hide what may be a login in a text that is quoted in a message.

Users put logins in the wrong places, and in the orders of other programs: ``host:port:user:password``,
``user:password@host``, ``host:port user password``. So a text is shown as it is only where it cannot hold one: a word,
a path, an IP address, a network, or ``host:port``, also behind a scheme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

__all__ = ["HIDDEN", "masked", "masked_name", "may_be_login", "without_logins"]

HIDDEN = "***"
"""Stands for what is not shown."""

MANY = 3
"""Words that may be a host, a port and a login."""

_SEPARATOR = re.compile(r"[\s:,;|]")
_PORT = re.compile(r"\d{1,5}", re.ASCII)
_BRACKETS = re.compile(r"\[[^\]\s@]*\](?::?\d{0,5})?", re.ASCII)
_PATH = re.compile(r"(?:unix:)?/[^\s:]*|/[^:]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]*://)(.*)", re.DOTALL)
_QUANTITY = re.compile(
    r"(?:\s*\d+(?:\.\d+)?\s*-?\s*(?:ms|s|m|h|d|secs?|seconds?|mins?|minutes?|hours?|days?)?\s*)+", re.ASCII
)
_IDENTITY = re.compile(r"((?:gssapi|ident):)(.*)", re.DOTALL)


def masked(text: str) -> str:
    """Return a text with what may be a login hidden. The host behind a login is shown."""
    if "@" in text:
        login, _, host = text.rpartition("@")
        swapped = any(_is_address(part) for part in (login, login.rpartition("/")[2]))  # as in host:port@user:password
        return f"{HIDDEN}@{host}" if _is_plain(host) and not swapped else HIDDEN
    if match := _SCHEME.fullmatch(text) or _IDENTITY.fullmatch(text):
        return text if _is_plain(match[2]) else match[1] + HIDDEN
    return text if _is_plain(text) else HIDDEN


def masked_name(name: str) -> str:
    """Return a name that stands before a value, or a part of it; what is masked there is the whole name.

    ``carol:12345`` is a login here, and no host with a port.
    """
    host, colon, _ = name.partition(":")
    doubtful = colon and "." not in host and not _is_ip(name) and host != "localhost"
    return HIDDEN if doubtful and "@" not in name else masked(name)


def may_be_login(name: str) -> bool:
    """Whether a name that the log will show looks like a login, alone or beside a host."""
    return masked(name) != name and not name.endswith(":")


def without_logins(text: str, values: Iterable[str]) -> str:
    """Return a message with those of `values` masked that it repeats, as other libraries do."""
    for value in sorted(filter(None, values), key=len, reverse=True):
        for one in (value, repr(value)[1:-1]):
            text = text.replace(one, masked(value))
    return text


def _is_plain(text: str) -> bool:
    """Whether a text cannot hold a login."""
    if ":" not in text:  # a word, or some: a login in words comes behind a host and a port
        words = _SEPARATOR.split(text.strip())
        return len(words) < MANY or not any(map(_PORT.fullmatch, words)) or bool(_QUANTITY.fullmatch(text))
    if _is_address(text.rstrip("/")):
        return True
    first, _, last = text.partition("-")
    is_range = _is_ip(first.strip()) and _is_ip(last.strip())
    return is_range or any(each.fullmatch(text) for each in (_BRACKETS, _PATH))


def _is_address(text: str) -> bool:
    """Whether it is an IP address, a network, or a host with a port."""
    if _is_ip(text):
        return True
    host, colon, port = text.rpartition(":")
    if not colon or (port and not _PORT.fullmatch(port)):
        return False
    return _is_ip(host) or not _SEPARATOR.search(host)


def _is_ip(text: str) -> bool:
    try:
        return bool(ip_address(text.partition("/")[0].partition("%")[0].removeprefix("[").removesuffix("]")))
    except ValueError:
        return False
