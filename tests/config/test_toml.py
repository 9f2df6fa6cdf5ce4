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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a = True", "write true, in small letters (at line 1, column 5)"),
        (
            "a = \u201csocks5://h\u201d",
            'these are typographic quotes; put the text in straight ones, as in "paris" (at line 1, column 5)',
        ),
        ('a = "x', "Unterminated string (at end of document)"),
        ("[paris]\n[paris]", "Cannot declare paris twice (at line 2, column 7)"),
        ('["carol:SECRET"]\n["carol:SECRET"]', "Cannot declare *** twice (at line 2, column 16)"),
        ('a = {"h:1:b:SECRET"=1,"h:1:b:SECRET"=2}', "Duplicate inline table key *** (at line 1, column 39)"),
        ("a = 2020-13-13", "Expected newline or end of document after a statement (at line 1, column 9)"),
        ("a b = 1", "Expected '=' after a key in a key/value pair (at line 1, column 3)"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(text: str, complaint: str) -> None:
    assert complaint_of(parse_toml, text) == f"not valid TOML: {complaint}"
