"""What the tables of a TOML file have in common: `Table`, and the kinds of values that several of them have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from chainsocks.config.gssapi import parse_protection, parse_service
from chainsocks.config.values import parse_duration
from chainsocks.protocol.gssapi import Protection

__all__ = ["LIST", "Duration", "LeastProtection", "ServiceName", "Table", "listed", "not_empty", "text"]


def text(value: object) -> str:
    """Let a text through, and nothing else; what was found instead is not told, for most texts hold a secret."""
    if not isinstance(value, str):
        raise ValueError("expected a text in quotes")
    return value


def not_empty(value: object) -> object:
    """Let anything through but an empty list."""
    if value == []:
        raise ValueError("expected at least one entry")
    return value


def listed(value: object) -> list[object]:
    """Let a single value stand for a list of it; no list is empty."""
    not_empty(value)
    return value if isinstance(value, list) else [value]


LIST = BeforeValidator(listed)
"""A list for which a single value may stand."""

Duration = Annotated[float, BeforeValidator(parse_duration)]
LeastProtection = Annotated[Protection, BeforeValidator(lambda value: parse_protection(text(value)))]
ServiceName = Annotated[str, BeforeValidator(lambda value: parse_service(text(value)))]


class Table(BaseModel):
    """A TOML table: unknown keys are errors, and nothing is converted silently.

    The defaults below only mark a key as optional; `given` leaves them out.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def given(self) -> dict[str, Any]:
        """Return what the user wrote, as keyword arguments for the value that has the defaults."""
        return {key: getattr(self, key) for key in self.model_fields_set}
