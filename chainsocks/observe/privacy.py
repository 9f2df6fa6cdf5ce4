"""What the log may say of clients: everything, or nothing that tells which client went where.

With ``privacy = "full"`` no line of the log contains the name or address of a client, a user or a destination, nor an
address that a destination's name has been resolved to. What is written to the log goes through `shown` where it is a
value that may contain one, and through `private` where it is such a text itself. Both return all of it unless the log
is private, so that programs that use the library see whole errors.

Hops, chains, groups, rules and listeners are the operator's own, and stay; so do steps, causes, counts and durations.
"""

from __future__ import annotations

from chainsocks.errors import ChainsocksError, Place

__all__ = ["is_private", "private", "set_private", "shown"]

_is_private = False


def set_private(private: bool) -> None:  # noqa: FBT001 (it is a setting's value)
    """Have `shown` and `private` leave out clients, users and destinations from now on, or no longer."""
    global _is_private
    _is_private = private


def is_private() -> bool:
    """Whether the log leaves out clients, users and destinations."""
    return _is_private


def shown(value: object) -> str:
    """Return the text of a value for the log. A text counts as written by the program: see `private` for others.

    If the log is private, an error or a place of a dial is described by its typed fields only; of an error of the
    system its cause is left, and of an unknown one its type.
    """
    if not _is_private or isinstance(value, str):
        return str(value)
    if isinstance(value, ChainsocksError | Place):
        return value.discreet
    if isinstance(value, OSError):
        return value.strerror or type(value).__name__
    return type(value).__name__


def private(text: str, instead: str = "-") -> str:
    """Return a text that names a client, a user or a destination; or `instead` of it, if the log is private."""
    return instead if _is_private else text
