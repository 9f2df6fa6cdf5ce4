"""What a misspelt name may have been meant to be, and how complaints quote it."""

from __future__ import annotations

import pytest

from chainsocks.config.suggest import MAX_INTEGER, did_you_mean, none_of, suggest


@pytest.mark.parametrize(
    ("name", "known", "suggestion"),
    [
        ("pariss", ["osaka", "paris"], "; did you mean 'paris'?"),
        ("x", ["paris", "osaka"], "; known are osaka, paris"),
        ("pisa", ["paris"], "; known are paris"),
        ("x", [], ""),
        ("x", ["alice:secret@paris"], "; known are ***@paris"),
        ("alice:secret@pariss", ["alice:secret@paris"], "; did you mean '***@paris'?"),
    ],
    ids=["close", "far", "not close enough", "nothing known", "far, with a login", "close, with a login"],
)
def test_suggestions(name: str, known: list[str], suggestion: str) -> None:
    assert suggest(name, known) == suggestion
    assert did_you_mean(name, known) == (suggestion if "mean" in suggestion else "")


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ("fats", "found 'fats', expected 'slow' or 'fast'; did you mean 'fast'?"),
        ("alice:secret@x", "found '***@x', expected 'slow' or 'fast'"),
        (True, "found true, expected 'slow' or 'fast'"),
        (MAX_INTEGER + 1, "found a number that is too large, expected 'slow' or 'fast'"),
    ],
)
def test_what_is_none_of_a_few_texts(found: object, complaint: str) -> None:
    assert none_of(["slow", "fast"], found) == complaint
