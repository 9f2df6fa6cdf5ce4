"""The place of the control socket: where it is made, and where commands look for it.

The socket is made under a name of its own and then moved to its place, so that it takes the place of one that a killed
server has left in one step.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chainsocks.config.control import OFF
from chainsocks.protocol.address import printable

__all__ = ["default_places", "open_control_socket"]

log = logging.getLogger("chainsocks.control")

SYSTEM_PLACE = Path("/run/chainsocks/control")

BACKLOG = 64


def default_places() -> list[Path]:
    """Return where commands look for the socket. A server uses the first; there is none for a user without a folder."""
    places = []
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(folder) / "chainsocks" / "control")
    return [*places, SYSTEM_PLACE]


@contextmanager
def open_control_socket(setting: str | None) -> Iterator[socket.socket | None]:
    """Listen at the path that the configuration says, or at the default place; None without a socket.

    At the default place, a server that cannot have the socket goes on without it, and says so in the log.

    *Closing*: at the end, the socket is closed and its file removed, unless another server has replaced it.

    Raises:
        OSError: the socket cannot be made at a configured path, which ``filename`` is.
    """
    if setting == OFF:
        yield None
        return
    try:
        sock, path = _listen_at_default() if setting is None else (_listen(Path(setting)), Path(setting))
    except OSError as error:
        if setting is not None:
            raise OSError(error.errno, error.strerror or str(error), setting) from None
        what = error.strerror or str(error)
        place = printable(str(default_places()[0]))
        log.warning("no control socket at %s: %s; [control] socket can name another place", place, what)
        yield None
        return
    if sock is None:
        log.info("no control socket: XDG_RUNTIME_DIR is not set; [control] socket can name a place")
        yield None
        return
    log.info("control socket: %s", printable(str(path)))
    made = path.stat()
    with sock:
        try:
            yield sock
        finally:
            with suppress(OSError):
                now = path.stat()
                if (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino):
                    path.unlink()


def _listen_at_default() -> tuple[socket.socket | None, Path]:
    place = default_places()[0]
    if place == SYSTEM_PLACE and os.geteuid() != 0:
        return None, place
    place.parent.mkdir(mode=0o700, exist_ok=True)
    return _listen(place), place


def _listen(path: Path) -> socket.socket:
    """Make the socket; only the user of this process can connect to it, from its first moment on.

    Raises:
        OSError: a server answers there, something else is in the way, or the folder is not usable.
    """
    _check_free(path)
    passing = path.with_name(f".{os.getpid():x}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        passing.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            sock.bind(str(passing))
        finally:
            os.umask(before)
        try:
            sock.listen(BACKLOG)
            sock.settimeout(0)
            passing.rename(path)
        except BaseException:
            passing.unlink(missing_ok=True)
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def _check_free(path: Path) -> None:
    """Check that nothing is at a path but perhaps the socket of a server that was killed.

    Raises:
        OSError: something is.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file of another kind is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except BlockingIOError:
            pass  # its backlog is full: a server is there, and is busy
    raise OSError(errno.EADDRINUSE, "another server answers there")
