"""The client of the control socket that commands use. It blocks, so that they need no event loop and start quickly."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from chainsocks.control.messages import ControlError, Fault, Hop, Request, Session, Status, What
from chainsocks.control.wire import Answer, encode_request, hops_in, read_answer, sessions_in, status_in
from chainsocks.errors import ChainsocksError
from chainsocks.protocol.address import printable

__all__ = ["ControlClient", "NotRunningError"]

CHUNK = 256 * 1024

PATIENCE = 10.0
"""Seconds without an answer, after which a server counts as stuck."""


class NotRunningError(ChainsocksError):
    """No server answers at any of the places."""


class ControlClient:
    """A connection to the control socket at the first of `places` where a server answers; a context manager.

    Raises:
        NotRunningError: there is no server.
        ControlError: this user may not connect to it.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self._sock, self.path = _connect(places)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def ask(self, request: Request, patience: float | None = PATIENCE) -> Iterator[Answer]:
        """Send a request, and yield the parts of its answer.

        Raises:
            ControlError: the server says why there is no answer, has ended, or sends nothing for `patience` seconds.
        """
        self._sock.settimeout(patience)
        try:
            self._sock.sendall(encode_request(request))
            while True:
                answer = read_answer(self._line())
                yield answer
                if not answer.more:
                    return
        except TimeoutError:
            raise ControlError(Fault.UNAVAILABLE, f"the server did not answer within {patience:g} s") from None
        except OSError as error:
            raise ControlError(Fault.UNAVAILABLE, f"the server ended the connection ({error.strerror})") from None

    def status(self) -> Status:
        """Ask for the status. Raises: as `ask`."""
        return status_in(self.ask(Request(what=What.STATUS)))

    def sessions(self) -> list[Session]:
        """Ask for all sessions. Raises: as `ask`."""
        return sessions_in(self.ask(Request(what=What.SESSIONS)))

    def hops(self) -> tuple[Hop, ...]:
        """Ask for the hops. Raises: as `ask`."""
        return hops_in(self.ask(Request(what=What.HOPS)))

    def wait_for_end(self) -> None:
        """Return when the server has ended the connection."""
        self._sock.settimeout(None)
        try:
            while self._sock.recv(CHUNK):
                pass
        except OSError:
            pass  # it was reset, which ends it as well

    def _line(self) -> bytes:
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            data = self._sock.recv(CHUNK)
            if not data:
                raise ConnectionResetError(0, "it has ended")
            parts.append(data)
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        return line


def _connect(places: Sequence[Path]) -> tuple[socket.socket, Path]:
    for place in places:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(PATIENCE)
            sock.connect(str(place))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            sock.close()
        except OSError as error:
            sock.close()
            what = f"{printable(str(place))}: {error.strerror or error}"
            raise ControlError(Fault.UNAVAILABLE, what) from None
        else:
            return sock, place
    where = " and ".join(printable(str(place)) for place in places)
    raise NotRunningError(f"no server answers at {where}; -c FILE or --control PATH names another place")
