"""The topics of the manual."""

from __future__ import annotations

from importlib.resources import files

from chainsocks.tools.topics import INDEX, topics
from tests.manual.pages import MANUAL


def test_pages_are_found_through_the_installed_package() -> None:
    assert topics() == sorted(page.stem for page in MANUAL.glob("*.md") if page.stem != INDEX)
    assert (files("chainsocks") / "manual" / f"{INDEX}.md").is_file()
