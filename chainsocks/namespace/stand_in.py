"""Stand in for a command that this process has started: the caller sees its stops, its end and its exit status.

1. A signal that is sent to this process is sent on to the command. What the terminal sends, it sends to both; only its
   hang-up may reach the leader of the session alone.
2. When the command stops, this process stops by the same signal, and the caller's shell has its prompt again.
3. When the command has ended, `end_as` ends by the same signal, or with the same exit status.
4. When this process is killed, the kernel kills the command.

sudo(8) does the same for commands that have no terminal of their own.
"""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from typing import NoReturn

from chainsocks.namespace.calls import end_with_parent

__all__ = ["end_as", "start_command", "wait_for_command"]

_FAULTS = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
_HELD = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, *_FAULTS}
"""What is waited for, and interrupts nothing here meanwhile."""


def start_command() -> int:
    """Fork, and return the command's process id; in the command, which has still to be executed, 0.

    From here on this process holds its signals, for `wait_for_command`.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the exit status
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    parent = os.getpid()
    command = os.fork()
    if command == 0:
        end_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return command


def wait_for_command(command: int) -> int:
    """Wait until the command has ended, and return its status, as waitpid(2) has it; signals are taken again then."""
    while True:
        told = signal.sigwaitinfo(_HELD)
        if told.si_signo != signal.SIGCHLD:
            if _is_for_command(told, command):
                os.kill(command, told.si_signo)
            continue
        ended, status = os.waitpid(command, os.WNOHANG | os.WUNTRACED)
        if ended and os.WIFSTOPPED(status):
            _stop_by(os.WSTOPSIG(status))
        elif ended:
            while signal.sigtimedwait(_HELD, 0):
                pass  # they were for the command
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
            return status


def end_as(status: int) -> NoReturn:
    """End as a process with this status has ended; a core is dumped by one of them only."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
        with suppress(OSError):  # of SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _is_for_command(told: signal.struct_siginfo, command: int) -> bool:
    """Tell whether the command has not got this signal anyway: from the terminal, or as it has sent it to its group.

    A process sends with a code of at most 0, the kernel with a greater one (sigaction(2)).
    """
    return told.si_signo == signal.SIGHUP or (told.si_code <= 0 and told.si_pid != command)


def _stop_by(number: int) -> None:
    """Stop by a signal, and return when this process has been continued. An orphaned process group does not stop."""
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
