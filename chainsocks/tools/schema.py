"""The JSON Schema of a configuration file with the words of the manual: its reference has an entry for each key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType

from pydantic.json_schema import JsonSchemaValue

from chainsocks.config.json_schema import json_schema
from chainsocks.config.schema import ListenTable
from chainsocks.config.sections import SECTIONS, Shape
from chainsocks.config.tables import Table

__all__ = ["schema_of_the_file"]

_ENTRY = re.compile(r"\*\*`(?P<key>\w+)`\*\* \((?P<type>[^;]+); [^;]+\): (?P<meaning>.+\.) Example: `.+`\.")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")

_FORMS: Mapping[Shape, str] = MappingProxyType({Shape.ONE: "[{}]", Shape.NAMED: "[{}]", Shape.LISTED: "[[{}]]"})


def schema_of_the_file() -> JsonSchemaValue:
    """Return the schema, with a description for each key."""
    return json_schema(_descriptions((files("chainsocks") / "manual" / "configuration.md").read_text("utf-8")))


def _descriptions(page: str) -> dict[tuple[type[Table], str], str]:
    """Read the reference: a heading for each table, and an item for each key."""
    models = {f"`{_FORMS[section.shape].format(name)}`": section.model for name, section in SECTIONS.items()}
    models["A listener"] = ListenTable
    _, *parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return {
        (models[heading], match["key"]): _LINK.sub(r"\1", f"{match['type']}: {match['meaning']}")
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
        for item in re.findall(r"^- (.+(?:\n  .+)*)", text, re.MULTILINE)
        if heading in models and (match := _ENTRY.fullmatch(" ".join(item.split())))
    }
