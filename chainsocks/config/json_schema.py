"""The JSON Schema of a configuration file, from the models that read it, for editors.

A file that can be read fits the schema. The reverse does not hold: what depends on several keys, or on the form of a
text, is only seen when the file is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import CoreSchema, NullableSchema, WithDefaultSchema

from chainsocks.config.defaults import written_default
from chainsocks.config.rules import DIRECTLY
from chainsocks.config.schema import ListenerTlsTable, ListenTable
from chainsocks.config.schema_routing import WITHOUT_HOPS, ChainTable, GroupTable, HopTable, TlsTable
from chainsocks.config.sections import SECTIONS, Section, Shape
from chainsocks.config.tables import Table

__all__ = ["DIALECT", "json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_DIRECT = "DirectTable"
"""The name of what stands under ``[chains] direct``."""

_NAMES = {"type": "array", "items": {"type": "string"}}

_SHORT_FORMS: Mapping[type[Table], list[JsonSchemaValue]] = {
    HopTable: [{"type": "string"}],
    GroupTable: [_NAMES],
    ChainTable: [_NAMES, {"const": DIRECTLY}],
    ListenTable: [{"type": "string"}, {"type": "integer"}],
    TlsTable: [{"const": True}],
}
"""What may stand in place of a table."""


def json_schema(descriptions: Mapping[tuple[type[Table], str], str]) -> JsonSchemaValue:
    """Return the schema; `descriptions` are those of keys, by the model and the key."""
    models = {section.model for section in SECTIONS.values()}
    places, whole = models_json_schema(
        [(model, "validation") for model in models],
        title="chainsocks.toml",
        ref_template="#/$defs/{model}",
        schema_generator=_Schema,
    )
    definitions = whole["$defs"]
    for model in models | _SHORT_FORMS.keys() | {ListenerTlsTable}:
        table = definitions[model.__name__]
        for key, value in table["properties"].items():
            if description := descriptions.get((model, key)):
                value["description"] = description
        del table["title"]
        if forms := _SHORT_FORMS.get(model):
            definitions[model.__name__] = {"anyOf": [*forms, table]}
    *_, chain = definitions[ChainTable.__name__]["anyOf"]
    keys = {key: value for key, value in chain["properties"].items() if key in WITHOUT_HOPS}
    definitions[_DIRECT] = chain | {"properties": keys | {"hops": {"const": DIRECTLY}}, "required": []}
    return {
        "$schema": DIALECT,
        "title": whole["title"],
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _shaped(section, places[section.model, "validation"]) for name, section in SECTIONS.items()
        },
        "$defs": definitions,
    }


def _shaped(section: Section, table: JsonSchemaValue) -> JsonSchemaValue:
    """Return what stands under the name of a section."""
    match section.shape:
        case Shape.ONE:
            return table
        case Shape.NAMED:
            named = {"type": "object", "additionalProperties": table}
            own = {"properties": {DIRECTLY: {"$ref": f"#/$defs/{_DIRECT}"}}} if section.model is ChainTable else {}
            return named | own
        case Shape.LISTED:
            return {"type": "array", "items": table}


class _Schema(GenerateJsonSchema):
    """Defaults are those that can be written, and null is none of them: TOML has no such value."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        default = written_default(schema.get("default"))
        return inner if default is None else inner | {"default": default}

    def field_title_should_be_set(self, schema: object) -> bool:
        return False  # it would repeat the key

    def handle_invalid_for_json_schema(self, schema: CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}  # a value that only its own parser knows
