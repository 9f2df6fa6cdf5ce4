"""A program that listens, and ends as badly as it is told to."""

from __future__ import annotations

import sys

from benchmarks.programs import Program
from chainsocks.protocol.address import Address

__all__ = ["server"]

SERVER = """
import os, socket, signal, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
if "parent" in sys.argv and os.fork():
    listener.close()
    signal.pause()
print("I listen", flush=True)
while True:
    listener.accept()
"""


def server(address: Address, *words: str) -> Program:
    return Program([sys.executable, "-c", SERVER, address.host, str(address.port), *words], address)
