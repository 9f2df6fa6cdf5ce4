"""What a table with mistakes was probably meant to be."""

from __future__ import annotations

from chainsocks.config.mending import rename_unknown, without
from chainsocks.config.schema import ServerTable, TimeoutsTable


def test_a_misspelt_key_gets_the_name_that_was_meant() -> None:
    raw = {"listen": [{"adress": 1080}], "wrokers": 2, "foo": 1}
    places = [("listen", 0, "adress"), ("wrokers",), ("foo",)]
    mended = rename_unknown(ServerTable, raw, places)
    assert mended.raw == {"listen": [{"address": 1080}], "workers": 2}
    assert not mended.is_whole  # foo is like no known key
    assert mended.place_in_file(("listen", 0, "address")) == ("listen", 0, "adress")
    assert mended.place_in_file(("workers",)) == ("wrokers",)
    assert raw == {"listen": [{"adress": 1080}], "wrokers": 2, "foo": 1}


def test_a_key_that_is_there_already_is_not_replaced() -> None:
    mended = rename_unknown(TimeoutsTable, {"dail": 5, "dial": 6}, [("dail",)])
    assert (mended.raw, mended.is_whole) == ({"dial": 6}, False)


def test_without_bad_values() -> None:
    assert without({"a": [1], "b": 2}, [("a", 0)]) == {"b": 2}
    assert without({"a": 1}, [()]) is None
