"""What tables have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import StrictInt, ValidationError

from chainsocks.config.tables import LIST, Duration, Table, not_empty, parsed, table_of


class Example(Table):
    wait: Duration = 0
    ports: Annotated[tuple[StrictInt, ...], LIST] = ()
    shouted: Annotated[str, parsed(str.upper)] = ""


def test_what_is_given_is_what_was_written() -> None:
    assert Example.model_validate({"wait": "1m"}).given() == {"wait": 60}
    assert Example.model_validate({}).given() == {}


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValidationError, match="wiat"):
        Example.model_validate({"wiat": 5})


@pytest.mark.parametrize(("written", "ports"), [(25, [25]), ([25], [25]), ([25, 26], [25, 26])])
def test_a_single_value_may_stand_for_a_list(written: object, ports: list[int]) -> None:
    assert Example.model_validate({"ports": written}).ports == tuple(ports)


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(ValidationError, match="expected at least one entry"):
        Example.model_validate({"ports": []})
    assert not_empty([0]) == [0]


def test_a_text_is_parsed() -> None:
    assert Example.model_validate({"shouted": "abc"}).shouted == "ABC"


def test_what_is_no_text_is_not_repeated() -> None:
    with pytest.raises(ValidationError, match="expected a text in quotes") as caught:
        Example.model_validate({"shouted": 12345678})
    assert str(caught.value.errors()[0]["ctx"]["error"]) == "expected a text in quotes"


# --- tables of values


@dataclass(frozen=True)
class Value:
    """A value that a table builds."""

    limit: float
    count: int = 3
    on: bool = False
    ports: range = range(1)
    inner: object = None


class _ValueTable(Table):
    """The table of a value."""


Ports = Annotated[range, parsed(lambda text: range(int(text)))]
ValueTable = table_of(Value, _ValueTable, {"ports": Ports, "inner": None}, extra=(StrictInt, 7))


def test_a_table_has_the_fields_of_its_value_and_their_defaults() -> None:
    assert (ValueTable.__name__, ValueTable.__doc__) == ("ValueTable", "The table of a value.")
    table = ValueTable.model_validate({"limit": "1m", "ports": "9"})
    assert table.given() == {"limit": 60, "ports": range(9)}
    assert dict(table) == {"limit": 60, "count": 3, "on": False, "ports": range(9), "extra": 7}


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "Field required"),
        ({"limit": 0}, "expected more than 0 seconds"),
        ({"limit": 1, "count": "1"}, "valid integer"),
        ({"limit": 1, "on": 1}, "valid boolean"),
        ({"limit": 1, "ports": 5}, "expected a text in quotes"),
        ({"limit": 1, "inner": 5}, "Extra inputs"),
    ],
)
def test_what_a_table_of_a_value_refuses(written: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        ValueTable.model_validate(written)
