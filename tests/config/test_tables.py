"""What tables have in common."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import StrictInt, ValidationError

from chainsocks.config.tables import LIST, Duration, Table, not_empty, text


class Example(Table):
    wait: Duration = 0
    ports: Annotated[tuple[StrictInt, ...], LIST] = ()


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


def test_what_is_no_text_is_not_repeated() -> None:
    assert text("abc") == "abc"
    with pytest.raises(ValueError, match=r"^expected a text in quotes$"):
        text(12345678)
