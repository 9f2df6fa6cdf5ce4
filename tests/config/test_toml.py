"""What is said of a text that is not TOML."""

from __future__ import annotations

import pytest

from chainsocks.config.toml import parse_toml
from tests.config.files import complaint_of

QUOTES = 'a text without quotes: put it in quotes, as in "socks5://127.0.0.1:1080"'


@pytest.mark.parametrize(
    "line",
    [
        "a = socks5://bob:SECRET@h",
        "a = h:1080:bob:SECRET",
        "listen = 127.0.0.1:1080",
        "listen = [::1]:1080",
        "idle = 5m",
        "pick = failover",
        "default = [paris, osaka]",
        'default = ["paris", osaka]',
        "a = { url = socks5://h }",
        'a = "x" socks5://SECRET',
    ],
)
def test_a_text_without_quotes(line: str) -> None:
    assert complaint_of(parse_toml, f"[x]\n{line}\n").startswith(f"not valid TOML: {QUOTES} (at line 2, column ")


OPEN = "a text does not end: put a quote behind it, of the kind that stands before it"
LIST_OPEN = "a list does not end: a ] is missing before this place, or a comma between two entries"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = True", "write true, in small letters (at line 1, column 5)"),
        (
            "a = \u201csocks5://h\u201d",
            'these are typographic quotes; put the text in straight ones, as in "paris" (at line 1, column 5)',
        ),
        ('a = "x', f"{OPEN} (at end of document)"),
        ("[paris]\n[paris]", "the table paris stands twice: put its keys under one header (at line 2, column 7)"),
        (
            '["carol:SECRET"]\n["carol:SECRET"]',
            "the table *** stands twice: put its keys under one header (at line 2, column 16)",
        ),
        ('a = {"h:1:b:SECRET"=1,"h:1:b:SECRET"=2}', "Duplicate inline table key *** (at line 1, column 39)"),
        ("a = 2020-13-13", "expected the end of the line: each key stands on a line of its own (at line 1, column 9)"),
        ("a = 1 b = 2", "expected the end of the line: each key stands on a line of its own (at line 1, column 7)"),
        ("a b = 1", "expected = after a key (at line 1, column 3)"),
        ("a: 1", "write = between a key and its value, and no colon (at line 1, column 2)"),
        ("a = yes", "write true in place of yes (at line 1, column 5)"),
        ("a =", "a value is missing, or is none (at end of document)"),
        ("a = 'x", f"{OPEN} (at end of document)"),
        ('a = "x\n', f"{OPEN} (at line 1, column 7)"),
        ('a = ["x"', f"{LIST_OPEN} (at end of document)"),
        ('a = ["x"\n[b]', f"{LIST_OPEN} (at line 2, column 1)"),
        ('a = ["x" "y"]', f"{LIST_OPEN} (at line 1, column 10)"),
        ("[a", "a ] is missing behind the name of a table (at end of document)"),
        ("[[a]", "a second ] is missing behind the name of a table (at line 1, column 4)"),
        ("a = 1\na = 2", "a key or a table of this name stands above already: remove one (at end of document)"),
        ("; x", "expected key = value, a [table], or # before a comment (at line 1, column 1)"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(text: str, complaint: str) -> None:
    assert complaint_of(parse_toml, text) == f"not valid TOML: {complaint}"
