"""Attempts to reach the network past the chain, from inside. A program for `chainsocks exec`: it prints JSON.

Its arguments are JSON: a process outside, an abstract socket and a path socket that are listened to outside. Nothing of
the package is used, so that it can run as any user.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Callable

OUTSIDE = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> str:
    """Call the C library."""
    if getattr(LIBC, name)(*arguments) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]


def send(host: str, port: int, data: bytes = b"x", kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> str:
    """Send a datagram, and say what comes back."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind, protocol) as sock:
        sock.settimeout(0.2)
        sock.connect((host, port))
        for _ in range(25):  # as QUIC does: the first ones may show only that there is no way
            sock.send(data)
            with contextlib.suppress(TimeoutError):
                return f"answered: {sock.recv(2000)[-4:].hex()}"
        raise TimeoutError


def connect(host: str, *options: tuple[int, int, bytes | int], source: str = "") -> str:
    """Open a TCP connection, and say what the server says."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(20)
        for option in options:
            sock.setsockopt(*option)
        if source:
            sock.bind((source, 0))
        sock.connect((host, 80))
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return sock.recv(65536).split()[-1].decode()


def unix(path: str) -> str:
    """Connect to a unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        return "connected"


def make(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> str:
    """Make a socket."""
    socket.socket(family, kind, protocol).close()
    return "made"


def type_into_terminal() -> str:
    """Type into the terminal of whoever called."""
    fcntl.ioctl(0, 0x5412, b"x")
    return "typed"


def enter_network_of(process: int) -> str:
    """Join the network of another process."""
    descriptor = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
    return call("setns", descriptor, 0)


def from_new_namespace() -> str:
    """Make namespaces within, whose user may do everything, and connect and undo there."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        said = [call("unshare", 0x10000000 | 0x20000), call("umount2", b"/etc/hosts", 2)]
        said.append(call("unshare", 0x40000000))
        try:
            connect("192.0.2.81")
        except OSError as error:
            said.append(errno.errorcode[error.errno or 0])
        os.write(writer, " ".join(said).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    return os.read(reader, 1000).decode()


def set_loopback_up() -> str:
    """Ask the kernel, by netlink, to set an interface up, which it is: done outside by mistake, it changes nothing."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        header = struct.pack("=IHHII", 32, 16, 5, 1, 0)  # RTM_NEWLINK; NLM_F_REQUEST and NLM_F_ACK
        sock.send(header + struct.pack("=BBHiII", 0, 0, 0, 1, 1, 1))
        [code] = struct.unpack_from("=i", sock.recv(4096), 16)
        return errno.errorcode.get(-code, "done")


def make_interface() -> str:
    """Make an interface that a program serves."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22s", b"tun9", 0x1001, b""))
    return "made"


def look_into(process: int) -> str:
    """Take what another process has: its memory, a file, its network, its root."""
    pidfd = os.pidfd_open(process)
    said = [
        call("ptrace", 0x4206, process, 0, 0),
        call("syscall", 438, pidfd, 2, 0),
        call("setns", pidfd, 0x40000000),
    ]
    for path in ("mem", "root/etc", "cwd", "environ", "fd/2"):
        try:
            os.open(f"/proc/{process}/{path}", os.O_RDONLY)
            said.append(path)
        except OSError as error:
            said.append(errno.errorcode[error.errno or 0])
    return " ".join(sorted({*said}))


def as_user_of_new_namespace() -> str:
    """Do as one who may do everything in a user namespace within, but whose network is that of the program."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        said = [call("unshare", 0x10000000)]
        for attempt in (
            set_loopback_up,
            lambda: make(socket.AF_INET, socket.SOCK_RAW, 1),
            lambda: make(socket.AF_PACKET, socket.SOCK_RAW),
        ):
            try:
                said.append(attempt())
            except OSError as error:
                said.append(errno.errorcode[error.errno or 0])
        os.write(writer, " ".join(said).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    return os.read(reader, 1000).decode()


QUESTION = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\4leak\4test\0" + struct.pack(">HH", 1, 1)
OUTER = OUTSIDE.get("process", 1)

ATTEMPTS: dict[str, Callable[[], str]] = {
    "inherited": lambda: " ".join(sorted(os.listdir("/proc/self/fd"))),  # noqa: PTH208
    "tcp": lambda: connect("192.0.2.80"),
    "tcp6": lambda: connect("2001:db8::80"),
    "odd-bind": lambda: connect("192.0.2.82", source="10.9.8.7"),
    "fast-open": lambda: connect("192.0.2.83", (socket.IPPROTO_TCP, 30, 1)),
    "multipath": lambda: make(socket.AF_INET, protocol=262),
    "dns": lambda: send("8.8.8.8", 53, QUESTION),
    "dns6": lambda: send("2001:4860:4860::8888", 53, QUESTION),
    "udp": lambda: send("8.8.8.8", 4443),
    "udp6": lambda: send("2001:4860:4860::8888", 4443),
    "quic": lambda: send("192.0.2.80", 443, b"\xc0" + bytes(1199)),
    "udp-lite": lambda: send("192.0.2.80", 443, protocol=136),
    "sctp": lambda: (
        make(socket.AF_INET, protocol=132) and send("192.0.2.80", 443, kind=socket.SOCK_STREAM, protocol=132)
    ),
    "ping": lambda: send("192.0.2.80", 1, b"\x08\0\0\0\0\0\0\0", protocol=1),
    "raw": lambda: make(socket.AF_INET, socket.SOCK_RAW, 1),
    "packet": lambda: make(socket.AF_PACKET, socket.SOCK_RAW),
    "device": lambda: connect("192.0.2.80", (socket.SOL_SOCKET, 25, b"eth0\0")),
    "mark": lambda: connect("192.0.2.80", (socket.SOL_SOCKET, 36, 7)),
    "vsock": lambda: make(40),
    "bluetooth": lambda: make(31),
    "io_uring": lambda: call("syscall", 425, 1, ctypes.create_string_buffer(200)),
    "abstract": lambda: unix("\0" + OUTSIDE["abstract"]),
    "covered": lambda: unix(OUTSIDE["covered"]),
    "path": lambda: unix(OUTSIDE["path"]),
    "setns": lambda: enter_network_of(OUTER),
    "ptrace": lambda: call("ptrace", 0x4206, OUTER, 0, 0),
    "root": lambda: str(len(os.listdir(f"/proc/{OUTER}/root/"))),  # noqa: PTH208
    "descriptor": lambda: call("syscall", 438, os.pidfd_open(OUTER), 0, 0),
    "parent": lambda: look_into(os.getppid()),
    "outer": lambda: look_into(OUTER),
    "netlink": set_loopback_up,
    "interface": make_interface,
    "xdp": lambda: make(44, socket.SOCK_RAW),
    "user-within": as_user_of_new_namespace,
    "unmount": lambda: call("umount2", b"/etc/hosts", 2),
    "namespaces": from_new_namespace,
    "terminal": type_into_terminal,
    "kill": lambda: call("kill", OUTER, 0),
}
"""By name; each says what came of it, or the name of its error."""


def main() -> None:
    """Try all."""
    found = {}
    for name, attempt in ATTEMPTS.items():
        try:
            found[name] = attempt()
        except OSError as error:
            found[name] = "timed out" if isinstance(error, TimeoutError) else errno.errorcode.get(error.errno or 0, "?")
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
