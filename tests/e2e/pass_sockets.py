"""Start a program as a socket unit of systemd does: with sockets that listen as its descriptors 3 and up.

The first argument is a list of names and addresses in JSON; the others are the program.
"""

from __future__ import annotations

import json
import os
import socket
import sys

if __name__ == "__main__":
    wanted: list[tuple[str, str]] = json.loads(sys.argv[1])
    sockets = []
    for _, address in wanted:
        if address.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(address)
        else:
            host, _, port = address.rpartition(":")
            sock = socket.socket()
            sock.bind((host, int(port)))
        sock.listen()
        sockets.append(os.dup(sock.fileno()))
    kept = [os.dup2(descriptor, 100 + index) for index, descriptor in enumerate(sockets)]
    for index, descriptor in enumerate(kept):
        os.dup2(descriptor, 3 + index, inheritable=True)
        os.close(descriptor)
    passed = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(wanted)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in wanted),
    }
    os.execve(sys.argv[2], sys.argv[2:], {**os.environ, **passed})
