"""Configuration files that are written: tables, comments, and every text."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config import written
from chainsocks.config.written import Part, Value, write_parts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda values: st.lists(TEXTS) | st.lists(st.integers(0, 9)) | st.dictionaries(TEXTS, values, max_size=3),
    max_leaves=8,
)


def test_tables_of_every_shape() -> None:
    parts = [
        Part(comments=("The first line.",)),
        Part({"server": {"listen": [{"address": "127.0.0.1:1080"}], "workers": 2}}, ("What programs use.",)),
        Part({"chains": {"default": ["a", "b"], "x": {"hops": ["a"], "dial": 1.5}}}),
        Part({"rules": [{"deny": True}, {"ports": [25]}]}),
    ]
    assert write_parts(parts) == (
        "# The first line.\n"
        "\n"
        "# What programs use.\n"
        "[server]\n"
        "workers = 2\n"
        "[[server.listen]]\n"
        'address = "127.0.0.1:1080"\n'
        "\n"
        "[chains]\n"
        'default = ["a", "b"]\n'
        "\n"
        "[chains.x]\n"
        'hops = ["a"]\n'
        "dial = 1.5\n"
        "\n"
        "[[rules]]\n"
        "deny = true\n"
        "\n"
        "[[rules]]\n"
        "ports = [25]\n"
    )


def test_a_long_comment_is_wrapped_and_no_word_is_broken() -> None:
    text = write_parts([Part(comments=("word " * 40 + "x" * 200, "next"))])
    lines = text.splitlines()
    assert all(line.startswith("# ") for line in lines)
    assert lines[-2:] == [f"#   {'x' * 200}", "# next"]


@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=4), max_size=3))
def test_everything_that_is_written_is_read_again(tables: dict[str, Value]) -> None:
    assert tomllib.loads(write_parts([Part(tables)])) == tables


def test_a_mistake_of_the_writer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "_text", lambda value: '"something else"')
    with pytest.raises(RuntimeError):
        write_parts([Part({"a": {"b": "c"}})])
