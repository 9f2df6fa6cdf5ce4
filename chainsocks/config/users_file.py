"""The file that ``users_file`` names: one user on each line, as ``name:scrypt:N:r:p:SALT:HASH``.

Empty lines are skipped, and so are lines that begin with ``#``. Blanks around a line do not count. A name may have
colons in it, since the hash has a fixed form. A problem names its line, and repeats nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chainsocks.config.identities import Proof
from chainsocks.config.models import User
from chainsocks.config.passwords import SCHEME, PlainPassword, parse_hash
from chainsocks.config.secrets import Secrets
from chainsocks.protocol.socks5_messages import MAX_LOGIN

__all__ = ["MOST_PROBLEMS", "UsersFile", "check_user_name", "parse_users", "read_users"]

KEY = "users_file"

MOST_PROBLEMS = 20
"""How many problems of a file are reported, each with its line."""


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What is in a file."""

    users: tuple[User, ...]
    problems: tuple[str, ...] = ()
    is_complete: bool = True
    """Whether these are all users of the file."""


def check_user_name(name: str) -> str:
    """Return the name of a user, which is no longer than SOCKS5 can carry, and no other identity.

    Raises:
        ValueError: it is one.
    """
    size = len(name.encode())
    if size > MAX_LOGIN:
        raise ValueError(f"a name has at most {MAX_LOGIN} bytes, this one has {size}")
    if name.startswith(tuple(Proof)):
        kinds = ", ".join(Proof)
        raise ValueError(f"a name cannot begin with one of {kinds}, which stand for other identities")
    return name


def parse_users(text: str, complain: Callable[[int, str], None]) -> Iterator[tuple[int, User]]:
    """Yield the users of a file with the numbers of their lines; give `complain` the problems of all other lines."""
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, separator, rest = entry.rpartition(f":{SCHEME}:")
        try:
            if not separator:
                raise ValueError("expected NAME:HASH, with the hash that `chainsocks hash-password` prints")
            user = User(check_user_name(name), parse_hash(f"{SCHEME}:{rest}"))
        except ValueError as error:
            complain(number, str(error))
        else:
            yield number, user


def read_users(secrets: Secrets, path: str, others: tuple[User, ...]) -> UsersFile:
    """Read a file; none of `others`, which are declared elsewhere, may be in it.

    A file that is missing where that is no problem has one user, so that a login is required as with the real one.
    """
    try:
        text = secrets.list_from_file(KEY, path)
    except ValueError as error:
        return UsersFile((), (str(error),), is_complete=False)
    if text is None:
        return UsersFile((User(f"those of {KEY}", PlainPassword(os.urandom(16))),), is_complete=False)
    problems: list[str] = []
    found: dict[str, User] = {}
    where = {user.name: "in [[users]]" for user in others}
    for line, user in parse_users(text, lambda line, problem: problems.append(f"line {line}: {problem}")):
        if earlier := where.get(user.name):
            problems.append(f"line {line}: the user is declared {earlier} already; remove one")
        found.setdefault(user.name, user)
        where.setdefault(user.name, f"on line {line}")
    if not problems and not found:
        problems.append("there is no user in the file, so every client would be let in; add one as NAME:HASH")
    if more := problems[MOST_PROBLEMS:]:
        problems[MOST_PROBLEMS:] = [f"{len(more)} more lines have problems"]
    return UsersFile(tuple(found.values()), tuple(problems), is_complete=not problems)
