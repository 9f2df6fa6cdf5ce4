"""The file that ``users_file`` names: one user on each line, as ``name:scrypt:N:r:p:SALT:HASH``.

Empty lines are skipped, and so are lines that begin with ``#``. Blanks around a line do not count. A name may have
colons in it, since the hash has a fixed form. A problem names its line, and repeats nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chainsocks.config.identities import Proof
from chainsocks.config.models import User
from chainsocks.config.passwords import SCHEME, parse_hash
from chainsocks.protocol.socks5_messages import MAX_LOGIN

__all__ = ["check_user_name", "parse_users"]


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
