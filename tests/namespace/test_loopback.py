"""The network inside, where IPv6 may be off; tests/namespace/test_enter.py has the rest."""

from __future__ import annotations

from tests.namespace.inside import run_inside

LINES = """
import chainsocks.namespace.loopback as loopback
def without_ipv6(netlink, family, *addresses):
    if family == socket.AF_INET6: raise OSError(95, "IPv6 is off")
loopback._add_family = without_ipv6
families = [int(family) for family in loopback.bring_up()]
try: loopback._ask(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0), 24, bytes(12))
except OSError as error: problem = error.strerror
names = socket.getaddrinfo("127.0.0.1", 1, socket.AF_INET, flags=socket.AI_ADDRCONFIG)
found = [families, bool(problem), bool(names)]
"""


def test_ipv6_may_be_off() -> None:
    assert run_inside(LINES) == [[2], True, True]
