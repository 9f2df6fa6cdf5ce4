"""The filter of system calls, judged by running it."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from chainsocks.namespace.seccomp import make_filter

ALLOWED = 0x7FFF0000
X86_64, I386, AARCH64, RISCV64 = 0xC000003E, 0x40000003, 0xC00000B7, 0xC00000F3
LAST = 0xFFFFFFFF


def judge(machine: str, architecture: int, number: int, *arguments: int) -> int:
    """Return the errno that a call gets; 0 if it is allowed."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *([0] * (6 - len(arguments))))
    code = make_filter(machine)
    program = [struct.unpack_from("=HBBI", code, place) for place in range(0, len(code), 8)]
    place = accumulator = 0
    while True:
        operation, if_true, if_false, value = program[place]
        place += 1
        match operation:
            case 0x20:
                [accumulator] = struct.unpack_from("=I", data, value)
            case 0x15:
                place += if_true if accumulator == value else if_false
            case 0x35:
                place += if_true if accumulator >= value else if_false
            case 0x06:
                return 0 if value == ALLOWED else value & 0xFFFF
            case _:
                raise AssertionError(operation)


SOCKET, IOCTL = {X86_64: 41, I386: 359, AARCH64: 198, RISCV64: 198}, {X86_64: 16, I386: 54, AARCH64: 29, RISCV64: 29}


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", X86_64), ("x86_64", I386), ("aarch64", AARCH64), ("riscv64", RISCV64)],
)
def test_what_is_refused(machine: str, architecture: int) -> None:
    for known in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
        assert judge(machine, architecture, SOCKET[architecture], known) == 0
    for family in (40, 31, 43, 21, 0x1_0000_0028):
        assert judge(machine, architecture, SOCKET[architecture], family) == errno.EAFNOSUPPORT
    for request in (0x5412, 0x541C, 0x1_0000_5412):
        assert judge(machine, architecture, IOCTL[architecture], 0, request) == errno.EPERM
    assert judge(machine, architecture, IOCTL[architecture], 0, 0x5413) == 0  # TIOCGWINSZ
    assert judge(machine, architecture, 425) == errno.ENOSYS
    for number in (0, 1, 3, 400, 500):
        assert judge(machine, architecture, number) == 0


def test_what_a_filter_cannot_see_is_refused() -> None:
    assert judge("x86_64", I386, 102) == errno.ENOSYS  # socketcall
    assert judge("x86_64", X86_64, 0x40000029, 2) == errno.ENOSYS  # x32
    assert judge("x86_64", AARCH64, 1) == errno.ENOSYS
    assert judge("riscv64", X86_64, 1) == errno.ENOSYS


def test_an_unknown_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="system calls of vax machines are not known, only those of x86_64"):
        make_filter("vax")
