"""From the cause of a failed TCP connect to words, and to the reply code that tells the truth about it."""

from __future__ import annotations

import errno
import os
import socket

from chainsocks.protocol.messages import ReplyCode

__all__ = ["OUT_OF_DESCRIPTORS", "errno_of", "explain_connect_error"]

OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
"""This process, or this machine, can open no more files: nobody else's fault."""

_CODES = {
    errno.ECONNREFUSED: ReplyCode.CONNECTION_REFUSED,
    errno.ENETUNREACH: ReplyCode.NETWORK_UNREACHABLE,
    errno.ENETDOWN: ReplyCode.NETWORK_UNREACHABLE,
    errno.EADDRNOTAVAIL: ReplyCode.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: ReplyCode.HOST_UNREACHABLE,
    errno.EHOSTDOWN: ReplyCode.HOST_UNREACHABLE,
    errno.ETIMEDOUT: ReplyCode.TTL_EXPIRED,
    errno.EACCES: ReplyCode.NOT_ALLOWED_BY_RULESET,  # the local firewall says no
    errno.EPERM: ReplyCode.NOT_ALLOWED_BY_RULESET,
    errno.EAFNOSUPPORT: ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED,
}


def errno_of(error: OSError) -> int | None:
    """Return the ``errno`` of a failed connect. anyio and trio hide it in the cause, which may be a group."""
    if isinstance(error, socket.gaierror):
        return None  # its number is of another kind
    cause: BaseException | None = error
    if error.errno is None:
        cause = error.__cause__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
    return cause.errno if isinstance(cause, OSError) else None


def explain_connect_error(error: OSError) -> tuple[str, ReplyCode]:
    """Say what went wrong, and which reply code says so to a client whose destination it was."""
    number = errno_of(error)
    if number is None:
        return str(error) or type(error).__name__, ReplyCode.GENERAL_FAILURE
    if number in OUT_OF_DESCRIPTORS:
        return "too many open files here, at this end (see `ulimit -n`, max_sessions)", ReplyCode.GENERAL_FAILURE
    return os.strerror(number).lower(), _CODES.get(number, ReplyCode.GENERAL_FAILURE)
