"""Every page of the README and the manual: its links lead somewhere, its code can be read, loaded and typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from chainsocks.cli import cli
from chainsocks.config.load import parse_config
from chainsocks.tools.topics import INDEX, topics
from tests.manual.pages import (
    DOCUMENTS,
    MANUAL,
    ROOT,
    Block,
    anchors,
    blocks,
    inline_code,
    links,
    write_certificates,
    write_secrets,
)

SECRETS = ("LIMA_PASSWORD", "PARIS_PASSWORD", "OSAKA_PASSWORD", "CAROL_PASSWORD", "WEB_TOKEN")
"""The environment variables that examples name."""

WIDTH = 78
"""Columns of code: what is left of 80 beside the margin of `chainsocks manual`."""

SHELL = {">", ">>", "|"}
"""Words that end the arguments of a command."""

PROGRAM = re.compile(r"(?:[\w./-]*/)?chainsocks$")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def toml_blocks() -> list[Block]:
    return [block for page in DOCUMENTS for block in blocks(page, "toml")]


def typed_lines() -> list[tuple[str, list[str]]]:
    """The lines of all shell blocks that run chainsocks, as words, each with its place."""
    found = []
    for page in DOCUMENTS:
        for block in blocks(page, "sh", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                end = next((place for place, word in enumerate(words) if word in SHELL), len(words))
                found += [
                    (f"{block}: {line}", words[place + 1 : end])
                    for place, word in enumerate(words)
                    if PROGRAM.match(word) and words[place - 1 : place] not in (["-u"], ["now"])
                ]
    return found


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    command = cli.commands.get(words[0]) if words else None
    return (command, words[1:]) if command else (cli, words)


def context() -> click.Context:
    """The context in which a command finds itself; click keeps the help options that it finds there."""
    return click.Context(cli, info_name="chainsocks", **cli.context_settings)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment and a folder in which examples can be loaded, on a machine without a keytab and Kerberos."""
    for name in SECRETS:
        monkeypatch.setenv(name, "secret-of-an-example")
    write_secrets(tmp_path)
    write_certificates(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("chainsocks.config.gssapi.os.access", lambda path, mode: True)
    monkeypatch.setattr("chainsocks.config.gssapi.require", lambda module, extra: None)
    monkeypatch.setattr("chainsocks.config.schema_web.require_installed", lambda packages, extra: None)


def test_the_index_lists_each_topic_once() -> None:
    listed = [link.removesuffix(".md") for link in links(MANUAL / f"{INDEX}.md")]
    assert sorted(listed) == topics()


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, fragment = link.partition("#")
        if re.match(r"\w+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not fragment or fragment in anchors(path), link


@pytest.mark.parametrize("page", sorted(MANUAL.glob("*.md")), ids=name_of)
def test_code_fits_a_terminal(page: Path) -> None:
    for block in blocks(page):
        assert [line for line in block.text.splitlines() if len(line) > WIDTH] == [], block


@pytest.mark.parametrize("page", sorted(MANUAL.glob("*.md")), ids=name_of)
def test_every_page_begins_with_its_title_and_a_summary(page: Path) -> None:
    title, blank, summary, *_ = page.read_text("utf-8").splitlines()
    assert title.startswith("# ")
    assert (blank, summary[-1]) == ("", ".")


@pytest.mark.parametrize("block", toml_blocks(), ids=str)
@pytest.mark.usefixtures("secrets")
def test_every_configuration_is_one(block: Block) -> None:
    parse_config(block.text)


@pytest.mark.parametrize(("place", "words"), typed_lines(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_line_to_type_is_understood(place: str, words: list[str]) -> None:
    """Its command exists, has these options, and takes so many arguments."""
    command, arguments = command_of(words)
    try:
        with command.make_context(command.name, arguments, context() if command is not cli else None):
            pass
    except click.exceptions.Exit:  # --help, --version
        pass


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_every_command_in_the_text_exists(page: Path) -> None:
    for code in inline_code(page):
        words = code.split()
        if words[:1] != ["chainsocks"] or len(words) < 2:
            continue
        command, rest = command_of(words[1:])
        assert command is not cli or words[1].startswith("-"), code
        known = {option for parameter in command.get_params(context()) for option in parameter.opts}
        assert {word for word in rest if re.match(r"--?\w", word)} <= known, code
