"""`chainsocks manual`: show a page of `chainsocks.tools.manual`."""

from __future__ import annotations

from chainsocks.commands.console import open_page_console
from chainsocks.tools.manual import show_page

__all__ = ["manual"]


def manual(*, topic: str | None) -> None:
    """Show the page of `topic`, or the list of topics, as wide as the terminal."""
    show_page(topic, open_page_console())
