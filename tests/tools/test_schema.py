"""The schema has the manual's words for every key."""

from __future__ import annotations

from chainsocks.config.sections import SECTIONS
from chainsocks.tools.schema import schema_of_the_file


def test_every_key_is_described_without_links() -> None:
    definitions = schema_of_the_file()["$defs"]
    for name in (*(section.model.__name__ for section in SECTIONS.values()), "ListenTable"):
        table = definitions[name].get("anyOf", [definitions[name]])[-1]
        for key, value in table["properties"].items():
            assert value.get("description"), (name, key)
            assert ".md" not in value["description"]


def test_what_a_description_says() -> None:
    keys = schema_of_the_file()["$defs"]["ServerTable"]["properties"]
    assert keys["open"]["description"] == (
        "true or false: allows a server that strangers can use, which is otherwise refused."
    )
