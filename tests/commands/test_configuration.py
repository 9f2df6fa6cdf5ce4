"""The configuration of a command: where it is from, and what is said of that. Options are tested with `serve`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click
import pytest

from chainsocks.commands.configuration import find, log_start, not_found, one_of, with_options
from chainsocks.config.models import Config
from chainsocks.errors import ConfigError

FILE = """
[server]
listen = ["127.0.0.1:1"]
[timeouts]
hop = 7
[hops]
a = "socks5://a"
[chains]
default = ["a"]
onion = ["a"]
"""
HOPS = ("socks5://bob:hunter2@b", "socks5://c")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is the only one that is searched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "chainsocks.config.places.config_places",
        lambda: [Path("chainsocks.toml"), tmp_path / "etc" / "chainsocks.toml"],
    )
    monkeypatch.setattr(
        "chainsocks.commands.configuration.config_places",
        lambda: [Path("chainsocks.toml"), tmp_path / "etc" / "chainsocks.toml"],
    )
    return tmp_path


def said(
    caplog: pytest.LogCaptureFixture, path: Path | None = None, listen: tuple[str, ...] = (), hops: tuple[str, ...] = ()
) -> list[str]:
    """What the start of a server says of its configuration."""
    caplog.set_level(logging.INFO)
    found = find(path)
    log_start(found, with_options(found.config, listen, hops, None), hops, logging.getLogger("chainsocks"))
    return [f"{record.levelname} {record.message}" for record in caplog.records]


def test_a_file_that_is_named_is_the_one(folder: Path) -> None:
    (folder / "chainsocks.toml").write_text("[server]\nworkers = 2")
    (folder / "other.toml").write_text("[server]\nworkers = 3")
    assert find(None).config.server.workers == 2
    assert find(Path("other.toml")).config.server.workers == 3


def test_a_file_is_named_once() -> None:
    assert one_of(Path("a"), None) == one_of(None, Path("a")) == Path("a")
    with pytest.raises(click.UsageError, match="is named twice"):
        one_of(Path("a"), Path("a"))


class TestStart:
    def test_a_file_that_was_found(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        (folder / "chainsocks.toml").write_text(FILE)
        assert said(caplog) == [f"INFO configuration: {folder}/chainsocks.toml", "INFO default chain: a"]

    def test_a_file_that_was_named(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        (folder / "other.toml").write_text(FILE)
        assert said(caplog, Path("other.toml"))[0] == f"INFO configuration: {folder}/other.toml"

    def test_no_file_means_direct_and_is_a_warning(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        looked = f"{folder}/chainsocks.toml, {folder}/etc/chainsocks.toml"
        assert said(caplog) == [f"WARNING no configuration file: looked for {looked}; everything goes direct"]

    def test_no_file_but_hops(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        looked = f"{folder}/chainsocks.toml, {folder}/etc/chainsocks.toml"
        expected = [f"INFO no configuration file: looked for {looked}", "INFO default chain: b:1080 -> c:1080"]
        assert said(caplog, hops=HOPS) == expected

    @pytest.mark.parametrize(
        ("text", "listen", "used"),
        [
            (FILE, (), "[server], [timeouts], chain onion"),
            (FILE, ("127.0.0.1:2",), "[timeouts], chain onion"),
            ("[server]\nmax_sessions = 9\nlisten = '127.0.0.1:1'", ("127.0.0.1:2",), "[server]"),
            ("[[rules]]\ndeny = true\n[health]\nrest = 3", (), "[health], [[rules]]"),
            ("[[users]]\nname = 'carol'\npassword_env = 'CAROL'", (), "[[users]]"),
            ("[hops]\na = 'socks5://a'\n[chains]\ndefault = ['a']", (), "nothing else"),
            ("", (), "nothing else"),
        ],
    )
    def test_hops_beside_a_file(
        self,
        folder: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        text: str,
        listen: tuple[str, ...],
        used: str,
    ) -> None:
        monkeypatch.setenv("CAROL", "wonderland")
        (folder / "chainsocks.toml").write_text(text)
        assert said(caplog, None, listen, HOPS) == [
            f"INFO configuration: {folder}/chainsocks.toml",
            f'INFO the chain "default" is that of --hop; the file is used for {used}',
            "INFO default chain: b:1080 -> c:1080",
        ]

    @pytest.mark.parametrize(
        ("text", "way"),
        [
            ("", "direct"),
            ("[chains]\ndefault = 'direct'", "direct"),
            (
                "[hops]\na = 'socks5://a'\n[chains]\nonion = ['a']",
                "not declared, so what no rule sends elsewhere is refused",
            ),
        ],
    )
    def test_the_default_way(self, folder: Path, caplog: pytest.LogCaptureFixture, text: str, way: str) -> None:
        (folder / "chainsocks.toml").write_text(text)
        assert said(caplog)[1:] == [f"INFO default chain: {way}"]


def test_a_folder_that_cannot_be_searched_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat

    def lstat(path: Path) -> os.stat_result:
        if "etc" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert not_found().endswith(f"{folder}/chainsocks.toml, {folder}/etc/chainsocks.toml (Permission denied)")


def test_a_link_that_leads_nowhere_is_not_passed_over(folder: Path) -> None:
    """The server would go direct, past the hops of a file that was meant."""
    (folder / "chainsocks.toml").symlink_to(folder / "gone")
    with pytest.raises(ConfigError, match=r"chainsocks\.toml: No such file or directory"):
        find(None)


def test_all_problems_of_options_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        with_options(Config(), ("nonsense",), ("socks6://a",), None)
    assert [problem.path for problem in caught.value.problems] == ["--listen", "--hop"]
