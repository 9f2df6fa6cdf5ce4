"""Secrets that stand outside the configuration file: in environment variables, and in files of their own.

Files are read when the configuration is read, so a reload reads them again. A path may lead through links, as a mounted
Kubernetes secret does, and may begin with ``$CREDENTIALS_DIRECTORY/``, the folder with the credentials of a systemd
unit. Any other relative path begins in the folder of the configuration file. No error repeats a path, or the name of a
variable that is no usual one: it may be the secret itself, written in the wrong place.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from chainsocks.protocol.socks5_messages import MAX_LOGIN

__all__ = ["CREDENTIALS", "LARGEST_LIST", "VARIABLE", "Missing", "Secrets", "others_can_read"]

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""The environment variable with the folder of the credentials that ``LoadCredential=`` in a systemd unit names."""

LARGEST_LIST = 8 * 2**20
"""Bytes of a list of users: some 60,000."""

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
"""The usual name of an environment variable. Another text may be a password in the wrong place."""

_IN_CREDENTIALS = re.compile(r"\$(?:CREDENTIALS_DIRECTORY|\{CREDENTIALS_DIRECTORY\})/(.+)", re.DOTALL)


class Missing(Enum):
    """What it means that this machine does not have a secret."""

    PROBLEM = auto()
    WARNING = auto()
    """Nothing, where a file is only checked: the server may run elsewhere, or as another user."""


class _NotHere(ValueError):
    """A secret that this machine does not have."""


def _ignore(key: str, message: str) -> None:
    """Take a warning that nothing shows."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the secrets of one configuration are."""

    folder: Path = Path()
    """Where relative paths begin."""
    missing: Missing = Missing.PROBLEM
    warn: Callable[[str, str], None] = _ignore
    """Takes a warning: the key that it is about, and what it says."""

    def from_variable(self, name: str, key: str = "password_env") -> bytes:
        """Return the secret in the environment variable that `key` names, byte for byte.

        Raises:
            ValueError: it is not set, or empty.
        """
        if value := os.environ.get(name):
            return os.fsencode(value)
        shown = name if VARIABLE.fullmatch(name) else "of this name"
        self._tell(key, _NotHere(f"the environment variable {shown} is not set"))
        return f"${name}".encode()[:MAX_LOGIN]  # two variables are two passwords

    def from_file(self, path: str) -> bytes:
        """Return the password in the file that ``password_file`` names, without one line break at its end.

        Raises:
            ValueError: the file cannot be read, or what is in it cannot be a password.
        """
        key = "password_file"
        try:
            content = self._read(key, path, MAX_LOGIN + len("\r\n"))
        except _NotHere as error:
            self._tell(key, error)
            return f"<{path}".encode()[:MAX_LOGIN]
        password = content.removesuffix(b"\n")
        if password != content:
            password = password.removesuffix(b"\r")
        if not password:
            raise ValueError("the file with the password is empty")
        if len(password) > MAX_LOGIN:
            raise ValueError(f"a password has at most {MAX_LOGIN} bytes, and the file has more")
        if b"\0" in password:
            raise ValueError("the file with the password has a NUL byte in it; expected plain text")
        if password != password.strip():
            self.warn(key, "the password in the file begins or ends with a blank or a line break")
        return password

    def list_from_file(self, key: str, path: str) -> str | None:
        """Return the text of the file that `key` names; None where it is missing and that is no problem.

        Raises:
            ValueError: the file cannot be read, is larger than `LARGEST_LIST`, or is not UTF-8.
        """
        try:
            content = self._read(key, path, LARGEST_LIST)
        except _NotHere as error:
            self._tell(key, error)
            return None
        if len(content) > LARGEST_LIST:
            raise ValueError(f"the file has more than {LARGEST_LIST // 2**20} MiB")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("the file is not UTF-8 text") from None

    def has_file(self, path: str) -> bool:
        """Return whether there is a file at a path, which then is no password in the wrong place."""
        try:
            return self._place(path).is_file()
        except (OSError, ValueError):
            return False

    def path_of(self, path: str) -> str:
        """Return the place of a file that is no secret, whose path is written as those of secrets are.

        Raises:
            ValueError: it is no path.
        """
        return str(self._place(path))

    def _tell(self, key: str, error: _NotHere) -> None:
        if self.missing is Missing.PROBLEM:
            raise error
        self.warn(key, str(error))

    def _read(self, key: str, path: str, size: int) -> bytes:
        """Return what is in a file, and of one that is larger than `size` the first bytes: one more than that."""
        place = self._place(path)
        try:
            with open(place, "rb", opener=_open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ValueError("expected a regular file")
                content = file.read(size + 1)
        except OSError as error:
            begins = "" if path.startswith(("/", "$")) else "; a relative path begins at the configuration file"
            raise _NotHere(f"the file cannot be read: {error.strerror}{begins}") from None
        if others_can_read(place):
            self.warn(key, f"every user of this machine can read the file: chmod o= {shlex.quote(str(place))}")
        return content

    def _place(self, path: str) -> Path:
        if not path or "\0" in path:
            raise ValueError("expected the path of a file")
        if not (match := _IN_CREDENTIALS.fullmatch(path)):
            return self.folder / path
        if folder := os.environ.get(CREDENTIALS):
            return Path(folder, match[1])
        raise _NotHere(f"{CREDENTIALS} is not set: systemd sets it for a unit with LoadCredential=")


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; without O_NONBLOCK, a pipe would be opened when it has a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def others_can_read(path: Path) -> bool:
    """Whether every user of this machine can read a file."""
    try:
        place = path.resolve(strict=True)
        status = place.stat()
        can_be_reached = all(folder.stat().st_mode & stat.S_IXOTH for folder in place.parents)
    except OSError:
        return False
    return bool(stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH and can_be_reached)
