"""`chainsocks manual`: show a page of the manual in the terminal.

The pages are the Markdown files of ``chainsocks/manual``. Its ``README.md`` lists the topics, one line each; every
other file is the page of one topic. Output that is not a terminal gets the same text without escape codes and pager.
"""

from __future__ import annotations

import re
from importlib.resources import files

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from chainsocks.config.suggest import describe, suggest
from chainsocks.errors import ConfigError, Problem
from chainsocks.protocol.address import printable
from chainsocks.tools.topics import INDEX, topics

__all__ = ["read_page", "show_page"]

WIDEST = 100
"""Columns. Longer lines are hard to read, however wide the terminal is."""

# rich's own styles put a black background behind code, which is unreadable on a light terminal.
_THEME = Theme({"markdown.code": "cyan", "markdown.h1": "bold reverse", "markdown.h2": "bold underline"})

_RULES = {"h1": "=", "h2": "-", "h3": "~"}

_RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!\w+:)[^)]+\)")


def read_page(topic: str) -> str:
    """Return the Markdown text of a page.

    Raises:
        ConfigError: there is no such page; the message names the closest topic, or all of them.
    """
    known = topics()
    if (plain := topic.lower().removesuffix(".md")) in known:
        topic = plain
    if topic not in (*known, INDEX):
        message = f"there is no page {printable(describe(topic))}{suggest(topic, known)}"
        raise ConfigError([Problem("TOPIC", message)])
    return (files("chainsocks") / "manual" / f"{topic}.md").read_text("utf-8")


def show_page(topic: str | None, console: Console) -> None:
    """Print the page of `topic`, or the list of topics; a terminal that is too low for it gets a pager.

    Raises:
        ConfigError: there is no such page.
    """
    page = _Page(_without_relative_links(read_page(topic or INDEX)))
    if not console.color_system and not console.is_terminal:
        page.mark_code()
    console.width = min(console.width, WIDEST)
    with console.use_theme(_THEME), console.capture() as capture:
        console.print(page)
    text = "".join(line.rstrip() + "\n" for line in capture.get().splitlines())
    if console.is_terminal and text.count("\n") >= console.height:
        click.echo_via_pager(text)  # which strips colours where the pager has none
    else:
        click.echo(text, nl=False, color=console.is_terminal)


def _without_relative_links(text: str) -> str:
    """Keep the words of links between files, which are topics to type; their targets mean nothing in a terminal."""
    return _RELATIVE_LINK.sub(r"`\1`", text)


class _Heading(Heading):
    """A heading at the left margin; where there are no styles, a line below it makes it one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text
        if not console.color_system and self.tag in _RULES:
            yield Text(_RULES[self.tag] * self.text.cell_len)


class _CodeBlock(CodeBlock):
    """Code on the background of the terminal."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(
            code, self.lexer_name, theme="ansi_dark", background_color="default", word_wrap=True, padding=(0, 0, 0, 2)
        )


class _Page(Markdown):
    elements = Markdown.elements | {"heading_open": _Heading, "fence": _CodeBlock, "code_block": _CodeBlock}

    def mark_code(self) -> None:
        """Keep the backticks around code in the text, where the text is for another program."""
        for block in self.parsed:
            for token in block.children or ():
                if token.type == "code_inline":
                    token.content = f"`{token.content}`"
