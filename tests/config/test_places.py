"""Where a configuration file is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainsocks.config.places import find_config

HERE, XDG = "chainsocks.toml", "/xdg/chainsocks/chainsocks.toml"
HOME, ETC = "/home/carol/.config/chainsocks/chainsocks.toml", "/etc/chainsocks/chainsocks.toml"


@pytest.mark.parametrize(
    ("existing", "xdg", "found"),
    [
        pytest.param({HERE, XDG, HOME, ETC}, "/xdg", HERE, id="the current folder first"),
        pytest.param({XDG, HOME, ETC}, "/xdg", XDG, id="then XDG_CONFIG_HOME"),
        pytest.param({HOME, ETC}, "/xdg", ETC, id="XDG_CONFIG_HOME replaces ~/.config"),
        pytest.param({XDG, HOME, ETC}, None, HOME, id="which it is by default"),
        pytest.param({XDG, HOME, ETC}, "", HOME, id="and when empty"),
        pytest.param({ETC}, None, ETC, id="then /etc"),
        pytest.param(set(), "/xdg", None, id="nowhere"),
    ],
)
def test_the_first_file_that_is_there(
    existing: set[str], xdg: str | None, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: str(path) in existing)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/carol"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_CONFIG_HOME", xdg)
    assert find_config() == (found and Path(found))


def test_a_real_file_in_a_real_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, xdg = tmp_path / "here", tmp_path / "xdg" / "chainsocks"
    for folder in (here, xdg):
        folder.mkdir(parents=True)
    (xdg / "chainsocks.toml").touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(xdg.parent))
    (here / "chainsocks.toml").mkdir()  # a folder is no file
    assert find_config() == xdg / "chainsocks.toml"
    (here / "chainsocks.toml").rmdir()
    (here / "chainsocks.toml").touch()
    assert find_config() == Path("chainsocks.toml")


def test_a_folder_that_we_may_not_look_into_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_file(path: Path) -> bool:
        if str(path) == XDG:
            raise PermissionError(13, "Permission denied")
        return str(path) == ETC

    monkeypatch.setattr(Path, "is_file", is_file)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    assert find_config() == Path(ETC)


def test_a_user_without_a_home_may_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(Path, "is_file", lambda path: str(path) == ETC)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert find_config() == Path(ETC)
