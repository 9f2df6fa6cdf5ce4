"""What the tables of a TOML file have in common: `Table`, and kinds of values.

The values that tables build are frozen dataclasses, and have the defaults. A table whose keys are the fields of its
value is made from those fields (`table_of`), so that a key, its type and its default stand in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from dataclasses import Field as DataclassField
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    create_model,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from chainsocks.config.gssapi import parse_protection, parse_service
from chainsocks.config.values import parse_duration
from chainsocks.protocol.gssapi import Protection

__all__ = [
    "LIST",
    "NUMBER",
    "Duration",
    "LeastProtection",
    "ServiceName",
    "Table",
    "listed",
    "not_empty",
    "parsed",
    "table_of",
]


def parsed(parse: Callable[[str], object], written: Any = str) -> BeforeValidator:
    """Have a text read by `parse`; `written` is the type of the text, where it is one of a few.

    Anything else is an error that does not show the value: where a text is expected, it is often a secret.
    """

    def validate(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("expected a text in quotes")
        return parse(value)

    return BeforeValidator(validate, json_schema_input_type=written)


def not_empty(value: object) -> object:
    """Accept everything but an empty list."""
    if value == []:
        raise ValueError("expected at least one entry")
    return value


def listed(value: object) -> list[object]:
    """Return a list as it is, and any other value as the only one of a list. An empty list is an error."""
    not_empty(value)
    return value if isinstance(value, list) else [value]


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


NUMBER = BeforeValidator(_number_as_text, json_schema_input_type=str | int)
"""A number may be written without the quotes."""


class _List:
    """Has `listed` read a value, and says so in the JSON Schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several | {"minItems": 1}]}


LIST = _List()
"""A list. A single value may be written without the brackets."""

_DurationText = Annotated[str, Field(pattern=r"^(off|(\d+(\.\d+)?(ms|s|m|h))+)$")]

Duration = Annotated[
    float, BeforeValidator(parse_duration, json_schema_input_type=Annotated[float, Field(gt=0)] | _DurationText)
]
LeastProtection = Annotated[Protection, parsed(parse_protection, Literal["none", "integrity", "confidentiality"])]
ServiceName = Annotated[str, parsed(parse_service)]


class Table(BaseModel):
    """A TOML table. Unknown keys are errors, and no value is converted to another type."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    def given(self) -> dict[str, Any]:
        """Return the keys that the user wrote, as arguments for the value that has the defaults of the others."""
        return {key: getattr(self, key) for key in self.model_fields_set}


TableT = TypeVar("TableT", bound=Table)

_KINDS: Mapping[Any, Any] = {float: Duration, int: StrictInt, bool: StrictBool}


def table_of(value: type[Any], base: type[TableT], kinds: Mapping[str, Any] | None = None, **more: Any) -> type[TableT]:
    """Make the table whose keys are the fields of a dataclass, and `more`, each a type with a default.

    `base` has the docstring, and the methods. A float is a `Duration`. `kinds` has the types of keys that are written
    in another way; None leaves a field out.
    """
    types = {**get_type_hints(value), **(kinds or {})}
    keys: dict[str, Any] = {
        each.name: (_KINDS.get(types[each.name], types[each.name]), _default_of(each))
        for each in fields(value)
        if types[each.name] is not None
    }
    name = base.__name__.lstrip("_")
    return create_model(name, __base__=base, __module__=base.__module__, __doc__=base.__doc__, **keys, **more)


def _default_of(field: DataclassField[Any]) -> object:
    return ... if field.default is MISSING else field.default
