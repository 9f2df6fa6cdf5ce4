"""The place of the control socket that a configuration file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainsocks.commands.configured_place import configured_place
from tests.commands import run_main

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("off", "control.socket: it is off: the server of this file cannot be asked"),
        ("run", "control.socket: found 'run', expected \"off\", or a path that starts with /"),
    ],
)
def test_a_file_without_a_socket_is_an_error(capsys: Capture, tmp_path: Path, setting: str, complaint: str) -> None:
    config = tmp_path / "chainsocks.toml"
    config.write_text(f'[control]\nsocket = "{setting}"\n')
    assert run_main(capsys, "hops", "-c", config) == (2, "", f"chainsocks: {config}: {complaint}\n")


def test_the_default_place_has_no_name(tmp_path: Path) -> None:
    config = tmp_path / "chainsocks.toml"
    config.write_text("[control]\n")
    assert configured_place(config) is None
    config.write_text("[control]\nsocket = '/run/x'\n[[users]]\nname = 'a'\npassword_env = 'NOT_SET'\n")
    assert configured_place(config) == Path("/run/x")
