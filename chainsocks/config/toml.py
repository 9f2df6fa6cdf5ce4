"""Read the text of a TOML file, and say what is wrong with one that is none, without repeating what may be a secret."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

from chainsocks.protocol.masking import masked_name

__all__ = ["parse_toml"]

_PLACE = re.compile(r"(.*) (\(at line (\d+), column (\d+)\))", re.DOTALL)
_KEY = re.compile(r"\(['\"].*['\"],?\)|'.{2,}'(?= in| twice|$)", re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_VALUE = re.compile(r"[^\s,\[\]{}=#]+")
_FINE = re.compile(
    r"true|false|[+-]?(?:inf|nan|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)|0[xob][\da-fA-F_]+"
    r"|\d{4}-\d\d-\d\d(?:T\S+)?|\d\d:\d\d\S*"
)
_SPLIT_STRING = "a text does not end: put a quote behind it, of the kind that stands before it"
_ADVICE = (
    ("Illegal character", _SPLIT_STRING),
    ("Unterminated string", _SPLIT_STRING),
    ('Expected "\'"', _SPLIT_STRING),
    ("Unclosed array", "a list does not end: a ] is missing before this place, or a comma between two entries"),
    ("Unclosed inline table", "a table in braces does not end: a } or a comma is missing before this place"),
    ("Invalid initial character for a key part", "expected a key; a table in braces stands on one line"),
    ("Expected ']' at", "a ] is missing behind the name of a table"),
    ("Expected ']]' at", "a second ] is missing behind the name of a table"),
    ("Invalid value", "a value is missing, or is none"),
    ("Invalid statement", "expected key = value, a [table], or # before a comment"),
    ("Cannot overwrite a value", "a key or a table of this name stands above already: remove one"),
    ("Expected newline", "expected the end of the line: each key stands on a line of its own"),
)
"""What to do, by how the messages of the parser begin."""

_TWICE = re.compile(r"Cannot declare (.*) twice", re.DOTALL)
_ENTRY = re.compile(r"\s*[\w.\"'-]+\s*=")
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
        what, separator, place = message.partition(" (at end of document)")
        return f"{_advice(what)}{separator}{place}"
    what, place, line, column = found[1], found[2], int(found[3]), int(found[4])
    written = text.replace("\r\n", "\n").split("\n")[line - 1]
    rest = written[column - 1 :]
    about_a_value = what.startswith(("Invalid value", "Expected newline", "Invalid date"))
    hint = _hint(written) if about_a_value and not (column > 1 and _ENTRY.match(rest)) else ""
    return f"{hint or _advice(what, rest)} {place}"


def _advice(what: str, rest: str = "") -> str:
    """Say what to do about a message of the parser, where `rest` begins; the message itself where that is not known."""
    if what.startswith("Expected '=' after a key"):
        return "write = between a key and its value, and no colon" if rest.startswith(":") else "expected = after a key"
    if twice := _TWICE.fullmatch(_KEY.sub(_named, what)):
        return f"the table {twice[1]} stands twice: put its keys under one header"
    advice = (advice for beginning, advice in _ADVICE if what.startswith(beginning))
    return next(advice, "") or _KEY.sub(_named, what)


def _hint(line: str) -> str:
    """Say what is wrong with the first value of a line that is no value; nothing if all are fine."""
    value = _QUOTED.sub("", line.partition("=")[2] or line)
    for word in _VALUE.findall(value.partition("#")[0]):
        if word.startswith(_CURLY):
            return 'these are typographic quotes; put the text in straight ones, as in "paris"'
        if word in ("True", "False", "TRUE", "FALSE"):
            return f"write {word.lower()}, in small letters"
        if word in ("yes", "no"):
            return f"write {'true' if word == 'yes' else 'false'} in place of {word}"
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
