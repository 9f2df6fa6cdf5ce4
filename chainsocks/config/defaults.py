"""Defaults of keys, as a file has them."""

from __future__ import annotations

import math
from enum import Enum

from chainsocks.config.listeners import Listener
from chainsocks.config.written import Value

__all__ = ["written_default"]


def written_default(default: object) -> Value | None:
    """Return a default as it is written; None if there is none, or none that can be written."""
    match default:
        case Enum() as value:
            return str(value.value)
        case bool() | int() as value:
            return value
        case float() as value:
            return "off" if math.isinf(value) else int(value) if value.is_integer() else value
        case str() as value:
            return value or None
        case (Listener(address=address),):
            return [{"address": str(address)}]
        case tuple() as texts if texts and all(isinstance(each, str) for each in texts):
            return list(texts)
        case _:
            return None
