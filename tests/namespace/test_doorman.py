"""Sockets made inside for the process outside."""

from __future__ import annotations

from tests.namespace.inside import run_inside

LINES = """
from chainsocks.namespace.doorman import open_door
outside = os.open("/proc/self/ns/net", os.O_RDONLY)
door, doorman = open_door()
files = sorted(os.listdir(f"/proc/{doorman}/fd"))
server = socket.create_server(("127.0.0.1", 0))
door.ask(socket.AF_INET)
made = door.take()
made.connect(server.getsockname())
door.ask(socket.AF_INET6)
six = door.take()
found = {"children": True, "files": files, "six": six.family == socket.AF_INET6}
found["session"] = os.getsid(doorman) == doorman
try: os.waitpid(-1, os.WNOHANG)
except ChildProcessError: found["children"] = False
watch = os.pidfd_open(doorman)
door.socket.shutdown(socket.SHUT_RDWR)
__import__("select").select([watch], [], [], 20)
try: door.take()
except OSError: found["ended"] = True
"""


def test_a_door() -> None:
    found = run_inside(LINES)
    assert found == {"children": False, "six": True, "session": True, "files": ["0", "1", "2", "3"], "ended": True}
