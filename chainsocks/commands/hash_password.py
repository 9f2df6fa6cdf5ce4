"""`chainsocks hash-password`: read a password, and print its line for the configuration."""

from __future__ import annotations

import os
import sys

import click

from chainsocks.config.passwords import hash_password as hash_of
from chainsocks.protocol.socks5_messages import MAX_LOGIN

__all__ = ["hash_password"]


def hash_password() -> None:
    """Ask for the password on a terminal; otherwise take the first line of standard input.

    Raises:
        UsageError: there is no password, or one that SOCKS5 cannot carry.
    """
    if sys.stdin is None:  # closed, as by <&- in a shell
        raise click.UsageError("standard input is closed; the password is read from there")
    if sys.stdin.isatty():
        prompt = click.prompt(
            "Password", default="", show_default=False, hide_input=True, confirmation_prompt=True, err=True
        )
        password = os.fsencode(prompt)
    else:
        line = sys.stdin.buffer.readline()
        if not line:  # an empty line is an empty password; nothing at all is a program that failed
            raise click.UsageError("standard input has no line with a password")
        password = line.rstrip(b"\r\n")
    if len(password) > MAX_LOGIN:
        raise click.UsageError(f"a SOCKS5 password has at most {MAX_LOGIN} bytes, this one has {len(password)}")
    click.echo(f'password_hash = "{hash_of(password)}"')
