"""`chainsocks manual`: pages are found where they are installed, and fit the terminal they are shown in."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chainsocks.errors import ConfigError
from chainsocks.tools.manual import read_page, show_page
from chainsocks.tools.topics import INDEX, topics
from tests.commands import run_main
from tests.manual.pages import MANUAL, blocks


@pytest.fixture
def paged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was given to a pager."""
    texts: list[str] = []
    monkeypatch.setattr("click.echo_via_pager", texts.append)
    return texts


def terminal(width: int, height: int) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        width=width,
        height=height,
        legacy_windows=False,
    )


def test_without_a_topic_all_of_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "manual")
    assert (status, err) == (0, "")
    for topic in topics():
        assert f"\n {topic} " in out.replace("`", "")


@pytest.mark.parametrize("topic", [INDEX, *topics()])
def test_piped_pages_are_plain_and_80_columns_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run_main(capsys, "manual", topic)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []
    assert "\x1b" not in out
    assert ".md" not in out, "a link to a file means nothing in a terminal"
    for block in blocks(MANUAL / f"{topic}.md"):
        for line in block.text.splitlines():
            assert f"  {line}".rstrip() in lines, "a line of code is broken"


def test_code_stands_out_without_styles(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_main(capsys, "manual", "getting-started")
    assert "in the\nfolder that has `pyproject.toml`:" in out


def test_headings_stand_out_without_styles(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run_main(capsys, "manual", "getting-started")
    assert out.startswith("Getting started\n===============\n\n")
    assert "\nInstall\n-------\n\n" in out


def test_wide_terminals_are_not_filled(paged: list[str]) -> None:
    show_page("getting-started", terminal(width=300, height=20))
    longest = max(read_page("getting-started").splitlines(), key=len)
    assert len(longest) > 100
    plain = Console(file=io.StringIO(), width=300)
    show_page("getting-started", plain)
    assert plain.width == 100
    assert paged != []


def test_a_page_that_is_higher_than_the_terminal_is_paged(capsys: pytest.CaptureFixture[str], paged: list[str]) -> None:
    show_page(None, terminal(width=80, height=200))
    assert paged == []
    assert "\x1b[" in capsys.readouterr().out
    show_page(None, terminal(width=80, height=5))
    assert "\x1b[" in paged[0]
    assert capsys.readouterr().out == ""


def test_what_is_piped_is_never_paged(capsys: pytest.CaptureFixture[str], paged: list[str]) -> None:
    show_page("getting-started", Console(file=io.StringIO(), width=80, height=5))
    assert (paged, capsys.readouterr().err) == ([], "")


def test_code_keeps_the_background_of_the_terminal(paged: list[str]) -> None:
    show_page("getting-started", terminal(width=80, height=5))
    assert "\x1b[4" not in paged[0].replace("\x1b[4m", "").replace("\x1b[49m", "")


def test_an_unknown_topic_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_main(capsys, "manual", "getting_startd")
    assert (status, out) == (2, "")
    assert err == "chainsocks: TOPIC: there is no page 'getting_startd'; did you mean 'getting-started'?\n"


@pytest.mark.parametrize("topic", ["TLS", "tls.md"])
def test_a_topic_in_other_letters(topic: str) -> None:
    assert read_page(topic) == read_page("tls")


def test_a_topic_is_no_path() -> None:
    with pytest.raises(ConfigError, match=r"there is no page '../README'; known are "):
        read_page("../README")
