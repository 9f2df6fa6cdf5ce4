"""`chainsocks import`: what it prints, and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_main

FILE = "strict_chain\n[ProxyList]\nsocks5 192.0.2.1 1080 bob hunter2\n"


def test_the_output_is_a_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "proxychains.conf").write_text(FILE)
    status, out, err = run_main(capsys, "import", tmp_path / "proxychains.conf")
    assert (status, err) == (0, "")
    assert 'password = "hunter2"' in out
    path = tmp_path / "chainsocks.toml"
    path.write_text(out)
    assert run_main(capsys, "check", path)[::2] == (0, "")


def test_what_cannot_be_imported_is_exit_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "proxychains.conf").write_text(f"{FILE}raw 192.0.2.2 8080 bob hunter2\n")
    status, out, err = run_main(capsys, "import", tmp_path / "proxychains.conf")
    assert (status, err) == (
        1,
        "chainsocks: not all of the file can be imported, as the comments say; all requests are refused\n",
    )
    (tmp_path / "chainsocks.toml").write_text(out)
    assert run_main(capsys, "check", tmp_path / "chainsocks.toml")[0] == 0


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("socks6 192.0.2.2 1080 bob hunter2", "line 4: expected TYPE HOST PORT"),
        ("socks4 192.0.2.2 1080\nsocks5 ::1 1080 hunter2 hunter2", "chains.default[2]: socks4a cannot carry the IPv6"),
    ],
)
def test_a_mistake_is_exit_status_2_and_shows_no_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, more: str, problem: str
) -> None:
    path = tmp_path / "proxychains.conf"
    path.write_text(FILE + more)
    status, out, err = run_main(capsys, "import", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"chainsocks: {path}: {problem}")
    assert "hunter2" not in err
    assert run_main(capsys, "import", tmp_path / "none")[0] == 2
