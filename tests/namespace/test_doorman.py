"""Sockets made inside for the process outside."""

from __future__ import annotations

import socket

from tests.namespace.inside import run_inside

LINES = """
from chainsocks.namespace.doorman import Wish, open_door
door, doorman = open_door(inside)
found = {"files": sorted(os.listdir(f"/proc/{doorman}/fd")), "session": os.getsid(doorman) == doorman}
try: os.waitpid(-1, os.WNOHANG)
except ChildProcessError: found["children"] = False
def ask(*wish):
    door.ask(*wish)
    return door.take()
server = socket.create_server(("127.0.0.1", 0))
ask(Wish.STREAM).connect(server.getsockname())
found["six"] = ask(Wish.STREAM, socket.AF_INET6).family == socket.AF_INET6
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("192.0.2.80", 443))
ask(Wish.DATAGRAMS_FROM, socket.AF_INET, "192.0.2.80", 443).sendto(b"from there", client.getsockname())
found["from"] = client.recv(100).decode()
def refused(within):
    client.send(b"x")
    client.settimeout(within)
    try: client.recv(1)
    except TimeoutError: return False
    except OSError: return True
found["refused"] = [refused(20)]
ask(Wish.TAKE_DATAGRAMS)
found["refused"].append(refused(0.3))
data, told, _, sender = inside.datagrams[0].recvmsg(10, 100)
found["told"] = [data.decode(), told[0][2][2:8].hex(), list(sender) == list(client.getsockname())]
ask(Wish.REFUSE_DATAGRAMS)
found["refused"].append(refused(20))
try: ask(Wish.REFUSE_DATAGRAMS)
except OSError as error: found["problem"] = "the kernel does not take" in str(error)
watch = os.pidfd_open(doorman)
door.socket.shutdown(socket.SHUT_RDWR)
__import__("select").select([watch], [], [], 20)
try: door.take()
except OSError: found["ended"] = True
"""


def test_a_door() -> None:
    found = run_inside(LINES)
    assert found == {
        "files": ["0", "1", "2", "3"],
        "session": True,
        "children": False,
        "six": True,
        "from": "from there",
        "refused": [True, False, True],
        "told": ["x", "01bb" + socket.inet_aton("192.0.2.80").hex(), True],
        "problem": True,
        "ended": True,
    }
