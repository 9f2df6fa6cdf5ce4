"""`chainsocks hash-password`: where the password comes from, and what it may be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from chainsocks.config.load import load_config
from chainsocks.config.passwords import parse_hash
from tests.commands import CHAINSOCKS, run_main
from tests.e2e.programs import clean_environment


@pytest.mark.parametrize(
    ("words", "password"),
    [
        pytest.param(b"wonderland\n", b"wonderland", id="line"),
        pytest.param(b"wonderland", b"wonderland", id="no-end-of-line"),
        pytest.param(b" open sesame \r\nmore\n", b" open sesame ", id="first-line-as-it-is"),
        pytest.param("wäldchen\n".encode(), "wäldchen".encode(), id="utf-8"),
        pytest.param(b"\xff\xfe\n", b"\xff\xfe", id="any-bytes"),
        pytest.param(b"x" * 255, b"x" * 255, id="longest"),
        pytest.param(b"\r\n", b"", id="empty-line"),
    ],
)
def test_the_line_goes_into_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: bytes, password: bytes
) -> None:
    """And it accepts the password."""
    status, out, err = run_main(capsys, "hash-password", words=words)
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    path = tmp_path / "chainsocks.toml"
    path.write_text(f'[[users]]\nname = "carol"\n{out}')
    [user] = load_config(path).users
    assert user.password.matches(password)
    assert not user.password.matches(password + b".")


@pytest.mark.parametrize(
    ("words", "size"),
    [
        pytest.param(b"x" * 256, 256, id="too-long"),
        pytest.param(("ä" * 128).encode(), 256, id="too-long-in-bytes"),
    ],
)
def test_no_password_of_socks5(capsys: pytest.CaptureFixture[str], words: bytes, size: int) -> None:
    status, out, err = run_main(capsys, "hash-password", words=words)
    assert (status, out) == (2, "")
    assert err.startswith(f"chainsocks: a SOCKS5 password has at most 255 bytes, this one has {size}\n")


def test_no_line_is_no_empty_password(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that failed in front of the pipe has not chosen one."""
    status, out, err = run_main(capsys, "hash-password", words=b"")
    assert (status, out) == (2, "")
    assert err.startswith("chainsocks: standard input has no line with a password\n")


def test_a_terminal_does_not_show_it(tmp_path: Path) -> None:
    master, slave = os.openpty()
    program = subprocess.Popen(
        [CHAINSOCKS, "hash-password"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(tmp_path),
        start_new_session=True,
    )
    with program, os.fdopen(master, "r+b", buffering=0) as keyboard:
        os.close(slave)
        assert program.stderr
        assert program.stdout
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            assert program.stderr.read(len(prompt)) == prompt
            keyboard.write(b"wonderland\n")
            assert program.stderr.read(1) == b"\n"
        out = program.stdout.read().decode()
        try:
            echoed = keyboard.read(1000)
        except OSError:  # as Linux has it when the other end of a terminal is gone and has said nothing
            echoed = b""
    assert (program.returncode, echoed) == (0, b"")
    assert parse_hash(out.split('"')[1]).matches(b"wonderland")
