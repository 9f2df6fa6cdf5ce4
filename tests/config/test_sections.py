"""The list of tables: it has every model, and a file may have every table of it."""

from __future__ import annotations

import pytest

from chainsocks.config.schema import ListenerTlsTable, ListenTable
from chainsocks.config.schema_routing import TlsTable
from chainsocks.config.sections import SECTIONS, Shape
from chainsocks.config.tables import Table
from tests.config.files import problems, read

EMPTY = {Shape.ONE: "{}", Shape.NAMED: "{}", Shape.LISTED: "[]"}


def _leaves(table: type[Table] = Table) -> set[type[Table]]:
    below = {each for one in table.__subclasses__() for each in _leaves(one)}
    return below or {table}


def test_every_model_is_that_of_a_table_or_within_one() -> None:
    models = {each for each in _leaves() if each.__module__.startswith("chainsocks.")}
    assert models == {section.model for section in SECTIONS.values()} | {ListenTable, ListenerTlsTable, TlsTable}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_file_may_have_each_table(name: str) -> None:
    assert read(f"{name} = {EMPTY[SECTIONS[name].shape]}") == read("")


def test_no_other_table_may_be_there() -> None:
    assert problems("hopps = {}") == ["hopps: unknown section; did you mean 'hops'?"]
