"""System calls that Python 3.11 does not have, by ctypes: namespaces, mounts and the limits of a process."""

from __future__ import annotations

import ctypes
import os
import signal

__all__ = [
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWUSER",
    "bind_mount",
    "drop_capabilities",
    "end_with_parent",
    "hide",
    "load_filter",
    "mount_tmpfs",
    "unmount",
    "unshare",
]

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 2, 4, 8, 4096
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_SECCOMP_MODE_FILTER = 2
_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process into new namespaces (unshare(2)). It must have a single thread.

    Raises:
        OSError: the kernel does not allow it.
    """
    _check(_libc.unshare(flags))


def mount_tmpfs(target: str) -> None:
    """Mount an empty file system over a directory.

    Raises:
        OSError: it cannot be; ``filename`` says where.
    """
    _mount(b"chainsocks", target, b"tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, b"mode=755,size=1m")


def bind_mount(source: str, target: str) -> None:
    """Have `target` show what `source` is.

    Raises:
        OSError: it cannot be; ``filename`` says where.
    """
    _mount(os.fsencode(source), target, None, _MS_BIND, None)


def unmount(target: str) -> None:
    """Unmount what was mounted last over a directory; what is mounted from it elsewhere stays.

    Raises:
        OSError: it cannot be; ``filename`` says where.
    """
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), target)


def drop_capabilities() -> None:
    """Have no program that this process executes get any capability, whatever its user and its file say.

    Raises:
        OSError: the kernel does not allow it.
    """
    for number in range(_CAPABILITIES):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0):
            break  # the kernel has no further ones


def hide() -> None:
    """Keep processes of the same user from looking into this one (PR_SET_DUMPABLE)."""
    _libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel kill this process, and what it executes, when its parent has ended (PR_SET_PDEATHSIG)."""
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def load_filter(instructions: bytes) -> None:
    """Have a BPF program judge each system call from now on, here and in all that is executed (seccomp(2)).

    Raises:
        OSError: the kernel does not allow it.
    """
    program = _Program(len(instructions) // 8, instructions)
    _check(_libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), 0, 0))


def _mount(source: bytes, target: str, kind: bytes | None, flags: int, data: bytes | None) -> None:
    _check(_libc.mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data), target)


def _check(result: int, path: str | None = None) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
