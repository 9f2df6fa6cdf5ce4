"""Rules as `check` shows them."""

from __future__ import annotations

import io

from rich.console import Console

from chainsocks.tools.rules import rules_table
from tests.config.files import read

HEAD = "[server]\nident = 'check'\n[hops]\ntor = 'socks5://127.0.0.1:9050'\n[chains]\nonion = ['tor']\n"


def table(*rules: str, head: str = HEAD) -> list[list[str]]:
    """The cells that have something in them, row by row."""
    config = read(head + "".join(f"[[rules]]\n{rule}\n" for rule in rules))
    output = io.StringIO()
    Console(file=output, width=1000, markup=False, emoji=False, highlight=False).print(rules_table(config))
    lines = output.getvalue().splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_a_table_of_a_few() -> None:
    assert table(
        "to = ['*.onion', '10.0.0.0/8']\nchain = 'onion'",
        "ports = [25, '6000-6100']\nfrom = '::1'\nusers = 'ident:carol'\ncommands = ['connect', 'bind']\nversions = 4\n"
        "deny = true",
        "to = '10.0.0.0/8'\nresolve = true\nchain = 'direct'",
    ) == [
        ["rule", "to", "ports", "from", "other conditions", "action"],
        ["1", "*.onion, 10.0.0.0/8", "any", "any", "onion"],
        ["2", "any", "25, 6000-6100", "::1", "users ident:carol, commands connect, bind, versions 4", "deny"],
        ["3", "10.0.0.0/8", "any", "any", "names resolved locally", "direct"],
        ["none", "any", "any", "any", "deny"],
    ]


def test_a_long_list_is_cut() -> None:
    names = ", ".join(f"'{n}.example'" for n in range(1000))
    row = table(f"to = [{names}]\ndeny = true")[1]
    assert row[1] == "0.example, 1.example, 2.example, 3.example, and 996 more"


def test_thousands_are_summed_up() -> None:
    rules = [
        f"to = '{n}.example'\n{'deny = true' if n % 4 else 'chain = 0'.replace('0', repr('onion'))}"
        for n in range(5000)
    ]
    rows = table(*rules, head=HEAD + "default = ['tor']\n")
    assert len(rows) == 53
    assert rows[50][:2] == ["50", "49.example"]
    assert rows[51] == ["...", "4950 more rules: 3713 deny, 1237 onion"]
    assert rows[52][-1] == "default"


def test_names_cannot_write_to_the_terminal() -> None:
    rows = table("users = 'ident:\\u001b[2J'\ndeny = true".replace("'", '"'))
    assert "users" in rows[1][-2]
    assert all(cell.isprintable() for row in rows for cell in row)
