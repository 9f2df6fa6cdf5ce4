"""System calls that are refused inside, by a filter of seccomp(2) in classic BPF.

1. Sockets of other families than those below, with EAFNOSUPPORT. AF_VSOCK leads to the host of a virtual machine, and
   no network namespace holds it; others are of the whole machine too.
2. io_uring, with ENOSYS: it makes sockets and connections without a system call that a filter sees.
3. Input into a terminal (TIOCSTI, and TIOCLINUX of consoles), with EPERM: the shell that chainsocks was called by would
   read it when the program has ended.
4. Calls of an architecture that the filter does not know, with ENOSYS; among those of 32-bit x86, socketcall(2), whose
   arguments a filter cannot see.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass

__all__ = ["make_filter"]

_FAMILIES = (
    socket.AF_UNSPEC,
    socket.AF_UNIX,
    socket.AF_INET,
    socket.AF_INET6,
    socket.AF_NETLINK,
    socket.AF_PACKET,
    socket.AF_ALG,
)
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_IO_URING_SETUP = 425  # on all architectures
_X32 = 0x40000000
_LOAD, _IS, _IS_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


@dataclass(frozen=True, slots=True)
class _Abi:
    """The numbers of one architecture's system calls."""

    audit: int
    socket: int
    socketpair: int
    ioctl: int
    socketcall: int | None = None


_X86_64 = _Abi(0xC000003E, 41, 53, 16)
_I386 = _Abi(0x40000003, 359, 360, 54, 102)
_AARCH64 = _Abi(0xC00000B7, 198, 199, 29)
_ARM = _Abi(0x40000028, 281, 288, 54, 102)
_RISCV64 = _Abi(0xC00000F3, 198, 199, 29)
_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM), "riscv64": (_RISCV64,)}


def make_filter(machine: str | None = None) -> bytes:
    """Return the filter, as instructions for `chainsocks.namespace.calls.load_filter`.

    Raises:
        OSError: for a machine whose system calls are not known.
    """
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        known = ", ".join(_MACHINES)
        raise OSError(errno.ENOTSUP, f"the system calls of {machine} machines are not known, only those of {known}")
    program: list[bytes] = []
    for abi in _MACHINES[machine]:
        part = _judge(abi)
        program += [_load(_ARCHITECTURE), _jump(_IS, abi.audit, 0, len(part)), *part]
    return b"".join([*program, _refuse(errno.ENOSYS)])


def _judge(abi: _Abi) -> list[bytes]:
    """Return the part for the calls of one architecture; each way through it ends in a return."""
    part = [_load(_NUMBER)]
    if abi is _X86_64:
        part += [_jump(_IS_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]
    for number in (_IO_URING_SETUP, abi.socketcall):
        if number is not None:
            part += [_jump(_IS, number, 0, 1), _refuse(errno.ENOSYS)]
    families = _argument_among(0, _FAMILIES, inside=_return(_ALLOW), outside=_refuse(errno.EAFNOSUPPORT))
    for number in (abi.socket, abi.socketpair):
        part += [_jump(_IS, number, 0, len(families)), *families]
    terminal = _argument_among(1, _TERMINAL_INPUT, inside=_refuse(errno.EPERM), outside=_return(_ALLOW))
    return [*part, _jump(_IS, abi.ioctl, 0, len(terminal)), *terminal, _return(_ALLOW)]


def _argument_among(place: int, values: tuple[int, ...], *, inside: bytes, outside: bytes) -> list[bytes]:
    """Return instructions that end by whether the low half of an argument, which is what the kernel takes, is known."""
    tests = [_jump(_IS, value, len(values) - index, 0) for index, value in enumerate(values)]
    return [_load(_ARGUMENTS + 8 * place), *tests, outside, inside]


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", test, if_true, if_false, value)


def _return(verdict: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, verdict)


def _refuse(error: int) -> bytes:
    return _return(_ERROR | error)
