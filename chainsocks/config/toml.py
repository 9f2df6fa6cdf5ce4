"""Read the text of a TOML file, and say what is wrong with one that is none, without repeating what may be a secret."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

from chainsocks.protocol.masking import masked_name

__all__ = ["parse_toml"]

_PLACE = re.compile(r"(.*) (\(at line (\d+), column \d+\))", re.DOTALL)
_KEY = re.compile(r"\(['\"].*['\"],?\)|'.{2,}'(?= in| twice|$)", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_VALUE = re.compile(r"[^\s,\[\]{}=#]+")
_FINE = re.compile(
    r"true|false|[+-]?(?:inf|nan|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)|0[xob][\da-fA-F_]+"
    r"|\d{4}-\d\d-\d\d(?:T\S+)?|\d\d:\d\d\S*"
)
_CURLY = tuple("\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the data of a TOML file.

    Raises:
        ValueError: it is not TOML, or tables are nested too deeply; the message says where, and what to do.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("lists or tables are nested too deeply") from None
    except ValueError as error:  # a TOMLDecodeError, or the error of int() for thousands of digits
        raise ValueError(f"not valid TOML: {_explain(text, str(error))}") from None


def _explain(text: str, message: str) -> str:
    found = _PLACE.fullmatch(message)
    if not found:
        return _KEY.sub(_named, message)
    what, place, line = found[1], found[2], int(found[3])
    written = text.replace("\r\n", "\n").split("\n")[line - 1]
    about_a_value = what.startswith(("Invalid value", "Expected newline", "Invalid date", "Unclosed"))
    hint = _hint(written) if about_a_value else ""
    return f"{hint or _KEY.sub(_named, what)} {place}"


def _hint(line: str) -> str:
    """Say what is wrong with the first value of a line that is no value; nothing if all are fine."""
    value = _QUOTED.sub("", line.partition("=")[2] or line)
    for word in _VALUE.findall(value.partition("#")[0]):
        if word.startswith(_CURLY):
            return 'these are typographic quotes; put the text in straight ones, as in "paris"'
        if word in ("True", "False", "TRUE", "FALSE"):
            return f"write {word.lower()}, in small letters"
        if not _FINE.fullmatch(word):
            return 'a text without quotes: put it in quotes, as in "socks5://127.0.0.1:1080"'
    return ""


def _named(match: re.Match[str]) -> str:
    """Return the name of the key that a message of the parser has, masked."""
    try:
        key = ast.literal_eval(match[0])
    except (ValueError, SyntaxError):
        return "a key"
    return ".".join(masked_name(str(part)) for part in (key if isinstance(key, tuple) else (key,)))
