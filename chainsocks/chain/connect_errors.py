"""The cause of a failed TCP connect, in words and as a `Cause`."""

from __future__ import annotations

import errno
import os
import socket

from chainsocks.protocol.errors import Cause
from chainsocks.sockets import EgressError

__all__ = ["OUT_OF_DESCRIPTORS", "errno_of", "explain_connect_error"]

OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
"""This process, or this machine, can open no more files: no peer has failed."""

_CAUSES = {
    errno.ECONNREFUSED: Cause.CONNECTION_REFUSED,
    errno.ENOENT: Cause.CONNECTION_REFUSED,  # of a unix socket
    errno.ECONNRESET: Cause.RESET,
    errno.ENETUNREACH: Cause.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Cause.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Cause.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Cause.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Cause.NO_ANSWER,
    errno.EACCES: Cause.NOT_ALLOWED,  # the local firewall says no
    errno.EPERM: Cause.NOT_ALLOWED,
    errno.EAFNOSUPPORT: Cause.NO_ADDRESS_FAMILY,
    errno.EADDRNOTAVAIL: Cause.NO_LOCAL_PORT,
    errno.EADDRINUSE: Cause.NO_LOCAL_PORT,
    errno.EMFILE: Cause.TOO_MANY_FILES,
    errno.ENFILE: Cause.TOO_MANY_FILES,
    errno.ENOMEM: Cause.OUT_OF_MEMORY,
    errno.ENOBUFS: Cause.OUT_OF_MEMORY,
    errno.EAGAIN: Cause.OUT_OF_MEMORY,  # of clone(2): no thread for a lookup
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


def explain_connect_error(error: OSError) -> tuple[str, Cause]:
    """Return the words and the cause of a failed connect."""
    number = errno_of(error)
    if isinstance(error, EgressError):
        return f"{error.strerror}, at this end", Cause.NO_LOCAL_PORT
    if number is None:
        return str(error) or type(error).__name__, Cause.SYSTEM_ERROR
    cause = _CAUSES.get(number, Cause.SYSTEM_ERROR)
    if cause is Cause.TOO_MANY_FILES:
        return "too many open files here, at this end (see `ulimit -n`, max_sessions)", cause
    if cause is Cause.NO_LOCAL_PORT:
        return f"no local address or port to connect from, at this end: {os.strerror(number).lower()}", cause
    return os.strerror(number).lower(), cause
