"""From the error of a failed connect to words and a `Cause`, as the kernel, trio and anyio raise it."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from chainsocks.chain.connect_errors import errno_of, explain_connect_error
from chainsocks.errors import reply_code_of
from chainsocks.protocol.errors import Cause
from chainsocks.protocol.messages import ReplyCode


def hidden(*numbers: int) -> OSError:
    """Make what trio and anyio raise when they tried several addresses."""
    error = OSError("all attempts failed")
    causes = [OSError(number, os.strerror(number)) for number in numbers]
    error.__cause__ = causes[0] if len(causes) == 1 else ExceptionGroup("attempts", causes)
    return error


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ECONNREFUSED, Cause.CONNECTION_REFUSED),
        (errno.ECONNRESET, Cause.RESET),
        (errno.ENETUNREACH, Cause.NETWORK_UNREACHABLE),
        (errno.ENETDOWN, Cause.NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, Cause.HOST_UNREACHABLE),
        (errno.EHOSTDOWN, Cause.HOST_UNREACHABLE),
        (errno.ETIMEDOUT, Cause.NO_ANSWER),
        (errno.EACCES, Cause.NOT_ALLOWED),
        (errno.EPERM, Cause.NOT_ALLOWED),
        (errno.EAFNOSUPPORT, Cause.NO_ADDRESS_FAMILY),
        (errno.ENOMEM, Cause.OUT_OF_MEMORY),
        (errno.ENOBUFS, Cause.OUT_OF_MEMORY),
        (errno.EIO, Cause.SYSTEM_ERROR),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if type(value) is int else value.name,
)
def test_each_errno_has_its_words_and_its_cause(number: int, cause: Cause) -> None:
    words = os.strerror(number).lower()
    assert explain_connect_error(OSError(number, os.strerror(number))) == (words, cause)
    assert explain_connect_error(hidden(number)) == (words, cause)
    assert explain_connect_error(hidden(number, errno.EPIPE)) == (words, cause)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_what_we_lack_ourselves_is_said_to_be_lacking_here(number: int) -> None:
    words, cause = explain_connect_error(OSError(number, os.strerror(number)))
    assert words == "too many open files here, at this end (see `ulimit -n`, max_sessions)"
    assert cause is Cause.TOO_MANY_FILES


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EADDRINUSE])
def test_a_port_that_is_lacking_here_says_nothing_of_the_network(number: int) -> None:
    words, cause = explain_connect_error(OSError(number, os.strerror(number)))
    assert words == f"no local address or port to connect from, at this end: {os.strerror(number).lower()}"
    assert cause is Cause.NO_LOCAL_PORT
    for at_destination in (True, False):
        assert reply_code_of(cause, at_destination=at_destination) == ReplyCode.GENERAL_FAILURE


def test_the_number_of_a_failed_look_up_is_no_errno() -> None:
    assert errno_of(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) is None


@pytest.mark.parametrize("error", [OSError("mysterious"), OSError()], ids=["with words", "without"])
def test_an_error_without_a_number_is_a_system_error(error: OSError) -> None:
    words, cause = explain_connect_error(error)
    assert words == (str(error) or "OSError")
    assert cause is Cause.SYSTEM_ERROR


def test_a_cause_that_is_no_os_error_has_no_number() -> None:
    error = OSError("odd")
    error.__cause__ = ValueError("odd")
    assert errno_of(error) is None
