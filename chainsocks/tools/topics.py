"""The pages of the manual that there are: the Markdown files of ``chainsocks/manual``."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["INDEX", "topics"]

INDEX = "README"
"""The page that lists the others. GitHub shows a file of this name below the folder."""


def topics() -> list[str]:
    """Return the topics that have a page, in alphabetical order."""
    names = (page.name for page in (files("chainsocks") / "manual").iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md") and name != f"{INDEX}.md")
