"""`chainsocks check --print`: its output is a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_main

FILE = """
[hops]
paris = { url = "socks5://bob:secret@10.0.0.1", timeout = 5 }
osaka = "socks4a://10.0.0.2"
[chains]
default = ["paris", "osaka"]
[[users]]
name = "carol"
password_env = "NOT_SET"
"""


def test_the_whole_configuration_is_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path, again = tmp_path / "a.toml", tmp_path / "b.toml"
    path.write_text(FILE)
    status, out, err = run_main(capsys, "check", "--print", path)
    warning = "warning: users[1].password_env: the environment variable NOT_SET is not set\n"
    assert (status, err) == (0, warning)
    assert out.startswith("# The whole configuration, with all defaults. Secrets are masked.\n")
    again.write_text(out)
    assert run_main(capsys, "check", "--print", again) == (0, out, warning)
    assert run_main(capsys, "check", path)[1] == run_main(capsys, "check", again)[1]


@pytest.mark.parametrize("option", [["--json"], ["--explain", "a.example:1"]])
def test_one_form_at_a_time(capsys: pytest.CaptureFixture[str], tmp_path: Path, option: list[str]) -> None:
    status, _, err = run_main(capsys, "check", "--print", *option, tmp_path / "a.toml")
    assert status == 2
    assert "--print cannot be used together with --explain or --json" in err
