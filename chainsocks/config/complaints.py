"""Say what is wrong where pydantic found a value that does not fit, in the words of TOML, and without a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chainsocks.config.rules import DIRECTLY
from chainsocks.config.schema import ListenerTlsTable, ListenTable, ServerTable, UserTable
from chainsocks.config.schema_routing import ChainTable, GroupTable, HopTable, TlsTable
from chainsocks.config.suggest import describe, none_of, suggest
from chainsocks.config.tables import Table

__all__ = ["Place", "as_written", "describe_kind", "explain", "known_keys"]

Place = tuple[str | int, ...]
"""The keys and indices that lead to a value."""

_SECRETS = {"user_id", "username", "password", "password_env", "password_file", "users_file"}
_TYPES = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "dict_type": "a table, as in {{ paris = 3, osaka = 1 }}",
    "list_type": "a list, in square brackets",
    "tuple_type": "a list, in square brackets",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}


def explain(model: type[Table], detail: Any) -> str:
    """Describe one of pydantic's errors."""
    match detail["type"]:
        case "extra_forbidden":
            *above, key = detail["loc"]
            hint = _HINTS.get((model, key)) if not above else None
            return f"unknown key{hint or suggest(key, known_keys(model, detail['loc']))}"
        case "missing":
            return "this key is missing"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "enum" | "literal_error":
            return none_of(re.findall(r"'([^']*)'", detail["ctx"]["expected"]), detail["input"])
        case "model_type":
            return f"expected {_shape(model)}, found {describe_kind(detail['input'])}"
        case kind:
            expected = _TYPES.get(kind, "another kind of value").format(**detail.get("ctx", {}))
            found = "something else" if _SECRETS.intersection(detail["loc"]) else describe(detail["input"])
            return f"found {found}, expected {expected}"


_HINTS: Mapping[tuple[type[Table], str], str] = {
    (UserTable, "password"): "; run `chainsocks hash-password`, and paste the password_hash that it prints",
    (HopTable, "user"): "; did you mean 'username' (socks5 and http) or 'user_id' (socks4 and socks4a)?",
}
"""What to say of keys that other programs have, and that are none of the close ones here."""


def known_keys(model: type[Table], location: Place) -> list[str]:
    """Return the keys of which the unknown one at `location` may be one; it is in a table, or in one within it."""
    *above, key = location
    if not above and (model, key) in _HINTS:
        return []
    inner = _WITHIN.get((model, "tls" in above), model) if above else model
    return [field.alias or name for name, field in inner.model_fields.items()]


_WITHIN: Mapping[tuple[type[Table], bool], type[Table]] = {
    (ServerTable, False): ListenTable,
    (ServerTable, True): ListenerTlsTable,
    (HopTable, True): TlsTable,
}
"""The table that a table may have within it, and whether that is under ``tls``."""


def as_written(raw: Mapping[str, Any], location: Place) -> Place:
    """Remove from a place the parts that a short form does not have: the index of a single value, the key of a text."""
    here: Any = raw
    written: list[str | int] = []
    for part in location:
        if isinstance(part, str):
            if not isinstance(here, dict):
                break
            here = here.get(part)
        elif isinstance(here, list):
            here = here[part]
        else:
            continue
        written.append(part)
    return tuple(written)


def _shape(model: type[Table]) -> str:
    if model is HopTable:
        return "a URL or a table"
    if model is ChainTable:
        return f'a list of hop names, a table, or "{DIRECTLY}"'
    return "a list of hop names or a table" if model is GroupTable else "a table"


def describe_kind(value: object) -> str:
    """Describe a value in the place of a table. A text is not shown, since it may be "user:password"."""
    return "a text" if isinstance(value, str) else describe(value)
