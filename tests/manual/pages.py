"""The Markdown files for users: their code blocks, headings and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["DOCUMENTS", "MANUAL", "ROOT", "Block", "anchors", "blocks", "inline_code", "links"]

ROOT = Path(__file__).parent.parent.parent
MANUAL = ROOT / "chainsocks" / "manual"

DOCUMENTS = sorted(MANUAL.glob("*.md"))
"""Every file that users read."""


@dataclass(frozen=True)
class Block:
    """A code block: the language after its fence, its text, and where it stands."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text("utf-8"))


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the code blocks of a page, or those in some languages."""
    fences = (token for token in _tokens(page) if token.type == "fence")
    found = [Block(page, fence.info, fence.content, (fence.map or [0])[0] + 1) for fence in fences]
    return [block for block in found if not languages or block.language in languages]


def _children(page: Path) -> list[Token]:
    return [child for token in _tokens(page) for child in token.children or ()]


def inline_code(page: Path) -> list[str]:
    """Return what stands between backticks in the text of a page."""
    return [token.content for token in _children(page) if token.type == "code_inline"]


def links(page: Path) -> list[str]:
    """Return the targets of all links of a page."""
    return [str(token.attrs["href"]) for token in _children(page) if token.type == "link_open"]


def anchors(page: Path) -> set[str]:
    """Return the fragments by which the headings of a page can be linked to, as GitHub makes them."""
    headings = [text.content for token, text in pairwise(_tokens(page)) if token.type == "heading_open"]
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
