"""Sockets made inside for the process outside."""

from __future__ import annotations

import socket

from tests.namespace.inside import run_inside

LINES = """
import time
from chainsocks.namespace.agent import Order, start_agent
agent, pid = start_agent(inside)
found = {"files": sorted(os.listdir(f"/proc/{pid}/fd")), "session": os.getsid(pid) == pid}
try: os.waitpid(-1, os.WNOHANG)
except ChildProcessError: found["children"] = False
def ask(*order):
    agent.ask(*order)
    return agent.take()
server = socket.create_server(("127.0.0.1", 0))
ask(Order.STREAM).connect(server.getsockname())
found["six"] = ask(Order.STREAM, socket.AF_INET6).family == socket.AF_INET6
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("192.0.2.80", 443))
ask(Order.DATAGRAMS_FROM, socket.AF_INET, "192.0.2.80", 443).sendto(b"from there", client.getsockname())
found["from"] = client.recv(100).decode()
def refused(within):
    end = time.monotonic() + within
    while (left := end - time.monotonic()) > 0:
        try:
            client.send(b"x")  # again and again: the kernel limits how many refusals it sends
            client.settimeout(min(left, 1))
            client.recv(1)
        except TimeoutError: pass
        except OSError: return True
    return False
found["refused"] = [refused(20)]
ask(Order.TAKE_DATAGRAMS)
found["refused"].append(refused(0.3))
data, told, _, sender = inside.datagrams[0].recvmsg(10, 100)
found["told"] = [data.decode(), told[0][2][2:8].hex(), list(sender) == list(client.getsockname())]
ask(Order.REFUSE_DATAGRAMS)
found["refused"].append(refused(20))
try: ask(Order.REFUSE_DATAGRAMS)
except OSError as error: found["problem"] = "the kernel does not take" in str(error)
watch = os.pidfd_open(pid)
agent.socket.shutdown(socket.SHUT_RDWR)
__import__("select").select([watch], [], [], 20)
try: agent.take()
except OSError: found["ended"] = True
"""


def test_an_agent() -> None:
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
