"""Configuration files as tests write them, and what comes out of reading them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from textwrap import dedent

import pytest

from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.errors import ConfigError

__all__ = ["NOT_POSITIVE", "Toml", "complaint_of", "emit", "problems", "read", "reading"]

NOT_POSITIVE = 'expected more than 0 seconds; "off" disables it'
"""What is said of a duration of none."""

Toml = str | int | float | bool | datetime.date | datetime.time | Sequence["Toml"] | Mapping[str, "Toml"]
"""Whatever a TOML file can hold."""


def read(text: str) -> Config:
    """Read a file that is fine."""
    return parse_config(dedent(text))


def problems(text: str) -> list[str]:
    """Read a file that is not, and return each of its problems as people see it."""
    with pytest.raises(ConfigError) as caught:
        parse_config(dedent(text))
    return [str(problem) for problem in caught.value.problems]


def reading(text: str) -> Config | ConfigError:
    """Read a file of which nobody knows whether it is fine."""
    try:
        return parse_config(text)
    except ConfigError as error:
        return error


def complaint_of(function: Callable[..., object], *arguments: object) -> str:
    """Call a function that refuses its arguments, and return what its ValueError says."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller compares the whole message
        function(*arguments)
    return str(caught.value)


def emit(data: Mapping[str, Toml]) -> str:
    """Write data as a TOML file, each key on a line of its own."""
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in data.items())


def _value(value: Toml) -> str:
    match value:
        case str():
            return _text(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case Mapping():
            return "{" + ", ".join(f"{_text(key)} = {_value(item)}" for key, item in value.items()) + "}"
        case _:
            return "[" + ", ".join(_value(item) for item in value) + "]"


def _text(text: str) -> str:
    # TOML's escapes are JSON's, but for one character that TOML wants escaped and JSON does not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
