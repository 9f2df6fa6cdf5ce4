"""Write a configuration file: tables as TOML, with comments before them.

The library writes neither comments nor lists of values of different kinds. So comments stand before a part of the file,
and what is written is read again and compared.
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex

import toml

__all__ = ["Part", "Tables", "Value", "write_parts"]

Value = str | int | float | bool | Sequence["Value"] | Mapping[str, "Value"]
"""What stands in a table."""

Tables = Mapping[str, Value]

WIDTH = 78
"""Columns of a comment: with its mark, a line of a terminal."""


_PLAIN = re.compile(r"[A-Za-z0-9_-]+")

_wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True, slots=True)
class Part:
    """Some tables of the file, all under one name, and what is said before them, one line or more for each text."""

    tables: Tables = field(default_factory=dict)
    comments: tuple[str, ...] = ()


def write_parts(parts: Iterable[Part]) -> str:
    """Return the text of a file. Texts hold whole characters only, no surrogates.

    A name may stand in several parts, with tables for further names or in further lists.

    Raises:
        RuntimeError: what was written is not what is read again; a bug.
    """
    parts = list(parts)
    text = "\n".join(filter(None, map(_write, parts)))
    expected: dict[str, Value] = {}
    for part in parts:
        for name, value in part.tables.items():
            expected[name] = _both(expected.get(name), value)
    if tomllib.loads(text) != expected:
        raise RuntimeError("the configuration is not what was written")
    return text


def _both(value: Value | None, more: Value) -> Value:
    """Return what is under a name that stands in one part more."""
    match value, more:
        case Mapping(), Mapping():
            return {**value, **more}
        case list(), list():
            return [*value, *more]
        case _:
            return more


def _write(part: Part) -> str:
    encoder: toml.TomlEncoder[dict[str, Value]] = toml.TomlEncoder()
    encoder.dump_funcs[str] = _text
    encoder.dump_funcs[list] = lambda values: f"[{', '.join(str(encoder.dump_value(each)) for each in values)}]"
    keys = _Keys()
    body: str = toml.dumps(keys.plain(part.tables), encoder) if part.tables else ""
    lines = [f"# {line}\n" for comment in part.comments for line in _wrapper.wrap(comment)]
    return "".join(lines) + keys.restored(body.strip("\n")) + "\n" * bool(body)


class _Keys:
    """Keys that need quotes. The library fails on some of them, so a plain key stands for each until all is written."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, str] = {}

    def plain(self, tables: Tables) -> dict[str, Value]:
        """Return tables with plain keys."""
        return {self._plain_key(key): self._plain_value(value) for key, value in tables.items()}

    def restored(self, text: str) -> str:
        """Return the text that was written of them with the right keys."""
        for key, stand_in in self._stand_ins.items():
            text = text.replace(stand_in, _text(key))
        return text

    def _plain_key(self, key: str) -> str:
        return key if _PLAIN.fullmatch(key) else self._stand_ins.setdefault(key, f"key-{token_hex(16)}")

    def _plain_value(self, value: Value) -> Value:
        match value:
            case Mapping():
                return self.plain(value)
            case list():
                return [self._plain_value(each) for each in value]
            case _:
                return value


def _text(value: str) -> str:
    """Write a text: as in JSON, whose escapes TOML has too, and with DEL escaped as well."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
