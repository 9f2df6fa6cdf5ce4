"""Socket activation: sockets that the service manager has opened, and passes to the server when it starts it.

The protocol is that of sd_listen_fds(3): descriptors from 3 on, their number in ``LISTEN_FDS`` and their names in
``LISTEN_FDNAMES``. Several may have one name. They stay open for the life of the process: a listener uses a copy of
each, so that a reload can leave one out and take it again. The service manager holds them as well; connections that
nothing accepts wait in them.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from chainsocks.config.listeners import Listener, SystemdSocket, UnixPath
from chainsocks.config.models import Config
from chainsocks.protocol.address import address_of
from chainsocks.sockets import keep_urgent

__all__ = ["Activation", "activation", "real_address"]

FIRST = 3
"""The first descriptor that is passed (SD_LISTEN_FDS_START)."""

UNNAMED = "unknown"
"""The name of sockets that have none."""


@dataclass(slots=True)
class Activation:
    """The sockets that were passed to this process, by their names."""

    sockets: dict[str, list[socket.socket]] = field(default_factory=dict)
    is_activated: bool = False

    def take(self, environment: MutableMapping[str, str] = os.environ, first: int = FIRST) -> None:
        """Take over the sockets that the environment tells of, and remove that there: they are for no other program."""
        count, pid = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
        names = environment.pop("LISTEN_FDNAMES", "").split(":")
        if pid != str(os.getpid()) or not count.isdecimal():
            return
        self.is_activated = True
        for index in range(int(count)):
            name = names[index] if index < len(names) and names[index] else UNNAMED
            try:
                sock = socket.socket(fileno=first + index)
            except OSError:
                continue  # no socket: a file, or a queue
            sock.set_inheritable(False)
            self.sockets.setdefault(name, []).append(sock)

    def copies(self, name: str, stack: ExitStack) -> Iterator[socket.socket]:
        """Yield a copy of each socket of a name, ready to accept connections; `stack` closes them.

        Raises:
            OSError: there is none of this name, or one cannot accept connections.
        """
        passed = self.sockets.get(name)
        if not passed:
            raise OSError(errno.ENOENT, self._say_what_there_is())
        for sock in passed:
            if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                what = "it is no stream socket that listens: the socket unit needs ListenStream= and Accept=no"
                raise OSError(errno.EINVAL, what)
            copy = stack.enter_context(sock.dup())
            copy.settimeout(0)
            if copy.family != socket.AF_UNIX:
                copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                keep_urgent(copy)
            yield copy

    def with_addresses(self, config: Config) -> Config:
        """Return `config` with the addresses of sockets that were passed in place of their names."""
        listeners: list[Listener] = []
        for each in config.server.listen:
            if isinstance(each.address, SystemdSocket):
                sockets = self.sockets.get(each.address.name, ())
                listeners += [real_address(each, sock) for sock in sockets]
            else:
                listeners.append(each)
        return replace(config, server=replace(config.server, listen=tuple(listeners)))

    def close(self) -> None:
        """Close them; connections go on waiting at the service manager."""
        for sockets in self.sockets.values():
            for sock in sockets:
                sock.close()
        self.sockets.clear()

    def _say_what_there_is(self) -> str:
        if not self.is_activated:
            return "the server was not started by a socket unit, which would pass it a socket of this name"
        names = ", ".join(self.sockets) or "none"
        return f"no socket of this name was passed, as by FileDescriptorName= in a socket unit; passed: {names}"


activation = Activation()
"""Those of this process; `take` is called when the server starts."""


def real_address(listener: Listener, sock: socket.socket) -> Listener:
    """Return a listener with the address at which its socket listens, where it has only a name for that."""
    if not isinstance(listener.address, SystemdSocket):
        return listener
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return replace(listener, address=UnixPath(name if isinstance(name, str) else f"@{name[1:].decode()}"))
    return replace(listener, address=address_of(name))
