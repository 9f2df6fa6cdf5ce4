"""The Markdown files for users: their code blocks, headings and links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.certificates import authority

__all__ = [
    "DOCUMENTS",
    "MANUAL",
    "ROOT",
    "Block",
    "anchors",
    "blocks",
    "inline_code",
    "links",
    "sections",
    "shows",
    "tables",
    "write_certificates",
    "write_secrets",
]

ROOT = Path(__file__).parent.parent.parent
MANUAL = ROOT / "chainsocks" / "manual"

DOCUMENTS = sorted(
    page
    for folder in (".", ".github", "chainsocks/manual", "examples", "examples/cluster")
    for page in ROOT.glob(f"{folder}/*.md")
)
"""Every file that users read."""


def write_secrets(folder: Path) -> None:
    """Write the files that examples name: of passwords, and of users."""
    (folder / "secrets").mkdir()
    for name in ("lima", "carol"):
        (folder / "secrets" / name).write_text(f"the secret of {name}\n")
        (folder / name).write_text(f"the secret of {name}\n")
    (folder / "users").write_text("erin:scrypt:16:8:1:AAAA:AAAAAAAAAAAAAAAAAAAAAA\n")


def write_certificates(folder: Path) -> None:
    """Write what examples about TLS name: certificates with and without their keys, and of authorities."""
    for name in ("ca", "clients"):
        (folder / f"{name}.pem").write_bytes(authority().ca.cert_pem.bytes())
    leaf = authority().issue()
    for name in ("carol", "paris"):
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
        leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))


@dataclass(frozen=True)
class Block:
    """A code block: the language after its fence, its text, and where it stands."""

    page: Path
    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
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


def sections(page: Path, language: str = "") -> dict[str, str]:
    """Return the first code block in a language below each heading that has one."""
    found: dict[str, str] = {}
    heading = ""
    for token, after in pairwise(_tokens(page)):
        if token.type == "heading_open":
            heading = after.content
        elif token.type == "fence" and token.info == language:
            found.setdefault(heading, token.content)
    return found


def shows(example: str, real: str) -> bool:
    """Whether a page shows `real`: broken into lines as it likes, with ``...`` for what is left out."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in example.split("..."))
    return re.fullmatch(r"\s*.*?\s*".join(parts), " ".join(real.split())) is not None


def tables(page: Path) -> list[list[list[str]]]:
    """Return the tables of a page: their rows, the first of which is the heading, as Markdown."""
    found: list[list[list[str]]] = []
    for token in _tokens(page):
        match token.type:
            case "table_open":
                found.append([])
            case "tr_open":
                found[-1].append([])
            case "td_open" | "th_open":
                found[-1][-1].append("")
            case "inline" if found and found[-1] and found[-1][-1][-1:] == [""]:
                found[-1][-1][-1] = token.content
    return found
