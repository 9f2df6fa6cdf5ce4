"""What a misspelt name may have been meant to be."""

from __future__ import annotations

import pytest

from chainsocks.config.suggest import suggest


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
