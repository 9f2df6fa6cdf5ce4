"""What of a text is shown, where it may hold a login."""

from __future__ import annotations

import pytest

from chainsocks.protocol.masking import masked, masked_name, may_be_login, without_logins


@pytest.mark.parametrize(
    "text",
    [
        "paris",
        "two words",
        "\n",
        "",
        "*.example.org",
        "10.0.0.1",
        "10.0.0.0/8",
        "10.0.0.1-10.0.0.9",
        "::1",
        "2001:db8::/32",
        "fe80::1%eth0",
        "[::1]",
        "[::1]:1080",
        "[::1]1080",
        "example.org:1080",
        "example.org:",
        "socks5://example.org:1080/",
        "1m30s",
        "5 minutes",
        "40000-40100",
        "/etc/chainsocks.keytab",
        "/a path/with blanks",
        "unix:/run/chainsocks.sock",
        "ident:carol",
    ],
)
def test_what_cannot_hold_a_login_is_shown(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("alice@paris", "***@paris"),
        ("alice:SECRET@paris:1080", "***@paris:1080"),
        ("socks5://alice:SECRET@paris", "***@paris"),
        ("alice:s@c SECRET@paris", "***@paris"),
        ("alice:SECRET@", "***@"),
        ("paris:1080@alice:SECRET", "***"),
        ("10.0.0.1@SECRET", "***"),
        ("socks5://10.0.0.1:1080@SECRET", "***"),
        ("10.0.0.1:1080:alice:SECRET", "***"),
        ("alice:SECRET:10.0.0.1:1080", "***"),
        ("[::1]:1080:alice:SECRET", "***"),
        ("socks5://10.0.0.1:1080:alice:SECRET", "socks5://***"),
        ("socks5://alice:SECRET", "socks5://***"),
        ("alice:SECRET", "***"),
        ("ident:alice:SECRET", "ident:***"),
        ("socks5 10.0.0.1 1080 alice SECRET", "***"),
        ("10.0.0.1,1080,alice,SECRET", "***"),
        ("10.0.0.1;1080;alice;SECRET", "***"),
        ("10.0.0.1|1080|alice|SECRET", "***"),
        ("10.0.0.1\t1080\talice\tSECRET", "***"),
    ],
)
def test_a_login_is_hidden(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("name", "shown", "refused"),
    [
        ("paris", "paris", False),
        ("[/b]:smile:", "***", False),
        ("10.0.0.1:1080", "10.0.0.1:1080", False),
        ("carol:12345", "***", False),  # or a host and its port: it is a name, and is not quoted
        ("carol:SECRET", "***", True),
        ("carol:SECRET@h", "***@h", True),
        ("h:1080:carol:SECRET", "***", True),
    ],
)
def test_names(name: str, shown: str, refused: bool) -> None:  # noqa: FBT001
    assert masked_name(name) == shown
    assert may_be_login(name) is refused


def test_a_message_that_repeats_what_was_typed() -> None:
    words = ["serve", "h:1:bob:SECRET", "--hop", "socks5://bob:SECRET@h", ""]
    text = "no such command 'h:1:bob:SECRET' (socks5://bob:SECRET@h); try serve"
    assert without_logins(text, words) == "no such command '***' (***@h); try serve"
