"""Conversations as scripts, and the three ways to decode a message.

Bytes are written as the RFCs draw them, one word per field: hex, or ASCII in quotes, either of them repeatable::

    "05 01 00 03 0B 'example.org' 0050"     VER CMD RSV ATYP LEN DST.ADDR DST.PORT
    "04 01 0050 7F000001 'a'*512 00"        VN CD DSTPORT DSTIP USERID NULL

1. A playbook accounts for everything: what the handshake owes, or raises, is claimed before the next line is played.
2. A playbook that asserts nothing fails its test (``conftest.py`` sees to it).
3. In every one of the three ways, a message decides nothing before its last byte, and takes no byte behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import zip_longest
from typing import NoReturn, Protocol, TypeVar

import pytest

from chainsocks.protocol import socks5
from chainsocks.protocol.errors import ProtocolError
from chainsocks.protocol.handshake import ClientHandshake, Handshake, ServerHandshake, State
from chainsocks.protocol.messages import Reply, Request, UsernamePassword

__all__ = [
    "Feed",
    "Playbook",
    "byte_by_byte",
    "fields",
    "finish_all",
    "play",
    "three_ways",
    "whole",
    "wire",
    "with_trailing_data",
]

# --- bytes ------------------------------------------------------------------------------------------------------------

_FIELD = re.compile(r"(?:'([^']+)'|((?:[0-9A-F]{2})+))(?:\*(\d+))?(?=\s|$)")


def fields(text: str) -> list[bytes]:
    """Read one word per field.

    Raises:
        ValueError: a word is neither hex in capitals nor in quotes.
    """
    found = []
    text = text.strip()
    while text:
        match = _FIELD.match(text)
        if match is None:
            raise ValueError(f"{text!r} begins with neither 'text' nor HEX")
        quoted, hexed, times = match.groups()
        found.append((quoted.encode("ascii") if quoted else bytes.fromhex(hexed)) * int(times or 1))
        text = text[match.end() :].lstrip()
    return found


def wire(text: str) -> bytes:
    """Return the bytes of all fields."""
    return b"".join(fields(text))


def _show(field: bytes) -> str:
    if len(field) > 40:
        return f"{field[:8].hex().upper()}..({len(field)} bytes)"
    return field.hex().upper()


def _difference(expected: str, actual: bytes) -> str:
    """Lay `actual` out in the fields of `expected`, with a mark under each field that differs."""
    wanted = fields(expected)
    got, rest = [], actual
    for field in wanted:
        got.append(rest[: len(field)])
        rest = rest[len(field) :]
    if rest:
        got.append(rest)
    rows = ["expected", "     got", "        "]
    for want, have in zip_longest(wanted, got, fillvalue=b""):
        shown = _show(want), _show(have)
        width = max(map(len, shown))
        cells = *shown, "" if want == have else "^" * width
        rows = [f"{row} {cell:{width}}" for row, cell in zip(rows, cells, strict=True)]
    return "\n".join(row.rstrip() for row in rows)


# --- playbooks --------------------------------------------------------------------------------------------------------

_unfinished: list[Playbook] = []


def play(handshake: Handshake) -> Playbook:
    """Begin a script: ``play(handshake).receive("05 01 00").expect_send("05 00").expect_state(State.REQUEST)``."""
    return Playbook(handshake)


def finish_all() -> None:
    """Close the books: fail for every playbook that asserted nothing or left something unclaimed."""
    playbooks = _unfinished.copy()
    _unfinished.clear()
    for playbook in playbooks:
        playbook.finish()


class Playbook:
    """A conversation with one handshake, played line by line; on failure it prints itself up to the wrong line.

    In the print, ``<`` is what the handshake received, ``>`` what it sent, ``!`` what it raised and ``=`` what we
    decided for it.
    """

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._lines = [f"  {handshake!r}"]
        self._asserted = False
        self._raised: ProtocolError | None = None
        self._owed = handshake.data_to_send()
        _unfinished.append(self)

    # What happens to the handshake.

    def receive(self, data: str) -> Playbook:
        """Let the peer say something."""
        __tracebackhide__ = True
        self._play(f"< {data}", lambda: self._handshake.receive_data(wire(data)))
        return self

    def receive_end(self) -> Playbook:
        """Let the peer close its side."""
        __tracebackhide__ = True
        self._play("< end of data", lambda: self._handshake.receive_data(b""))
        return self

    def accept_login(self) -> Playbook:
        """Let the client in."""
        __tracebackhide__ = True
        self._play("= login accepted", self._socks5_server().accept_login)
        return self

    def refuse_login(self) -> Playbook:
        """Turn the client away."""
        __tracebackhide__ = True
        self._play("= login refused", self._socks5_server().refuse_login)
        return self

    def work(self, work: Callable[[], None]) -> Playbook:
        """Let GSSAPI's mechanism do what the handshake waits for."""
        __tracebackhide__ = True
        self._play("= the mechanism has worked", work)
        return self

    def reply(self, reply: Reply) -> Playbook:
        """Answer the request."""
        __tracebackhide__ = True
        self._play(f"= {reply}", lambda: self._server().send_reply(reply))
        return self

    # What we expect of it.

    def expect_send(self, expected: str) -> Playbook:
        """Expect exactly these bytes to be owed to the peer now."""
        __tracebackhide__ = True
        owed, self._owed = self._owed, b""
        if owed != wire(expected):
            self._fail(f"it sent something else:\n{_difference(expected, owed)}")
        return self._agree(f"> {expected}")

    def expect_state(self, expected: State) -> Playbook:
        """Expect the handshake to be in this step."""
        __tracebackhide__ = True
        return self._expect("state", expected, self._handshake.state)

    def expect_step(self, expected: State) -> Playbook:
        """Expect the handshake to be in this step, or to have failed in it."""
        __tracebackhide__ = True
        return self._expect("step", expected, self._handshake.step)

    def expect_error(self, kind: type[ProtocolError], pattern: str) -> Playbook:
        """Expect the last line to have raised exactly `kind`, with a message in which `pattern` is found."""
        __tracebackhide__ = True
        raised, self._raised = self._raised, None
        if raised is None:
            self._fail(f"{kind.__name__} was expected, and nothing was raised")
        if type(raised) is not kind or not re.search(pattern, str(raised)):
            self._fail(f"{kind.__name__} matching {pattern!r} was expected, and it raised\n{raised!r}")
        return self._agree(f"! {raised}")

    def expect_trailing(self, expected: str) -> Playbook:
        """Expect these bytes to wait behind what was decoded."""
        __tracebackhide__ = True
        if self._handshake.trailing_data != wire(expected):
            self._fail(f"other bytes trail:\n{_difference(expected, self._handshake.trailing_data)}")
        return self._agree(f"  trailing: {expected or 'nothing'}")

    def expect_login(self, expected: UsernamePassword) -> Playbook:
        """Expect the client to have logged in with this."""
        __tracebackhide__ = True
        login = self._socks5_server().login
        self._expect("username", expected.username, login.username)
        return self._expect("password", expected.password, login.password)

    def expect_request(self, expected: Request) -> Playbook:
        """Expect the client to have asked for this."""
        __tracebackhide__ = True
        return self._expect("request", expected, self._server().request)

    def expect_reply(self, expected: Reply) -> Playbook:
        """Expect the proxy to have answered with this."""
        __tracebackhide__ = True
        assert isinstance(self._handshake, ClientHandshake)
        return self._expect("reply", expected, self._handshake.reply)

    def finish(self) -> None:
        """End the script.

        Raises:
            pytest.fail.Exception: it asserted nothing, or left something that the handshake did unclaimed.
        """
        __tracebackhide__ = True
        self._all_claimed()
        if not self._asserted:
            self._fail("this playbook asserts nothing")
        self._forget()

    # How it is done.

    def _play(self, line: str, action: Callable[[], None]) -> None:
        __tracebackhide__ = True
        self._all_claimed()
        self._lines.append(f"  {line}")
        try:
            action()
        except ProtocolError as error:
            self._raised = error
        self._owed = self._handshake.data_to_send()

    def _all_claimed(self) -> None:
        __tracebackhide__ = True
        if self._raised is not None:
            self._fail(f"it raised what the script does not expect\n{self._raised!r}")
        if self._owed:
            self._fail(f"it sent what the script does not expect: {_show(self._owed)}")

    def _expect(self, what: str, expected: object, actual: object) -> Playbook:
        __tracebackhide__ = True
        if actual != expected:
            self._fail(f"the {what} is another:\nexpected {expected!r}\n     got {actual!r}")
        return self._agree(f"  {what}: {expected}")

    def _agree(self, line: str) -> Playbook:
        self._asserted = True
        self._lines.append(f"  {line}")
        return self

    def _fail(self, problem: str) -> NoReturn:
        __tracebackhide__ = True
        self._forget()
        pytest.fail("\n".join([*self._lines, problem]))

    def _forget(self) -> None:
        if self in _unfinished:
            _unfinished.remove(self)

    def _server(self) -> ServerHandshake:
        assert isinstance(self._handshake, ServerHandshake)
        return self._handshake

    def _socks5_server(self) -> socks5.ServerHandshake:
        assert isinstance(self._handshake, socks5.ServerHandshake)
        return self._handshake


# --- the three ways ---------------------------------------------------------------------------------------------------

_BANNER = "'SSH-2.0-stranger' 0D0A"

H = TypeVar("H", bound=Handshake)


class Feed(Protocol):
    """One way to let a handshake hear one message; it returns the handshake, and raises what the handshake raises.

    `behind` is what may come after the message: the beginning of the next one, where one is due.
    """

    def __call__(self, handshake: H, message: str, behind: str = ...) -> H: ...


def whole(handshake: H, message: str, behind: str = _BANNER) -> H:
    """Deliver the message in one piece."""
    handshake.receive_data(wire(message))
    assert handshake.trailing_data == b"", "part of the message was left over"
    return handshake


def byte_by_byte(handshake: H, message: str, behind: str = _BANNER) -> H:
    """Deliver one byte at a time, and see that nothing is decided before the last."""
    *prefix, last = wire(message)
    before = handshake.state
    for count, byte in enumerate(prefix, 1):
        try:
            handshake.receive_data(bytes((byte,)))
        except ProtocolError as error:
            pytest.fail(f"raised after {count} bytes of {len(prefix) + 1}: {error}")
        assert handshake.state is before, f"decided after {count} bytes of {len(prefix) + 1}"
        assert handshake.data_to_send() == b"", f"answered after {count} bytes of {len(prefix) + 1}"
    handshake.receive_data(bytes((last,)))
    assert handshake.trailing_data == b"", "part of the message was left over"
    return handshake


def with_trailing_data(handshake: H, message: str, behind: str = _BANNER) -> H:
    """Deliver the message with more bytes glued to it, and see that they stay."""
    handshake.receive_data(wire(message) + wire(behind))
    assert handshake.trailing_data == wire(behind), "the bytes behind the message are not all there"
    return handshake


three_ways = pytest.mark.parametrize(
    "feed",
    [
        pytest.param(whole, id="whole"),
        pytest.param(byte_by_byte, id="byte-by-byte"),
        pytest.param(with_trailing_data, id="trailing-data"),
    ],
)
"""Run a decoding test whole, byte by byte, and with trailing data; it takes a `Feed` named ``feed``."""
