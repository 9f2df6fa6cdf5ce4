"""Files inside: how names are looked up, and the sockets of services that would reach the network for the program.

1. ``resolv.conf``, ``nsswitch.conf`` and ``hosts`` are ours: names are asked for by DNS, which is answered here. What
   nsswitch.conf says of users and groups stays.
2. Sockets in the file system are no part of a network namespace. Those of services that connect, resolve or run
   programs for others are covered: a folder by an empty one, a socket by the null device.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from chainsocks.namespace.calls import bind_mount, mount_tmpfs, unmount

__all__ = ["cover", "lookup_files", "replace_files", "services", "uncovered_displays"]

_FOR_A_MOMENT = "/tmp"  # noqa: S108
"""A folder that every machine has, to be covered while the files are made."""

_INCLUDED_BY_SSH = ("/etc/ssh/ssh_config.d/*.conf",)

_SYSTEM = (
    "/run/avahi-daemon",
    "/run/containerd",
    "/run/crio",
    "/run/cups",
    "/run/dbus",
    "/run/docker.sock",
    "/run/libvirt",
    "/run/nscd",
    "/run/podman",
    "/run/snapd.socket",
    "/run/snapd-snap.socket",
    "/run/systemd",
    "/run/unscd",
    "/var/lib/incus/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
)
_OF_USER = ("bus", "dbus-1", "docker.sock", "gnupg", "libvirt", "podman", "systemd")
"""In $XDG_RUNTIME_DIR."""


def services(environment: Mapping[str, str]) -> list[str]:
    """Return the paths, of those known to lead outside, that are here: real ones, each once."""
    home, runtime = environment.get("HOME"), environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    found = [*_SYSTEM, *(f"{runtime}/{name}" for name in _OF_USER)]
    if home:
        found += map(str, sorted(Path(home, ".gnupg").glob("S.*")))
    named = [environment.get(name, "") for name in ("DBUS_SESSION_BUS_ADDRESS", "DOCKER_HOST", "CONTAINER_HOST")]
    for text in named:
        found += re.findall(r"unix:(?:path=|//)([^,;]+)", text)
    return [*dict.fromkeys(os.path.realpath(path) for path in found if _is_there(path))]


def _is_there(path: str) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISSOCK(mode)


def uncovered_displays(environment: Mapping[str, str]) -> list[str]:
    """Return sentences about what is not covered, because programs with windows need it."""
    found = []
    display, wayland = environment.get("DISPLAY", ""), environment.get("WAYLAND_DISPLAY")
    if display.startswith(":") and Path(f"/tmp/.X11-unix/X{display[1:].partition('.')[0]}").exists():  # noqa: S108
        found.append("the X server of DISPLAY can be reached: through it, other windows can be read and typed into")
    if wayland:
        found.append("the Wayland compositor of WAYLAND_DISPLAY can be reached")
    return found


def cover(paths: Iterable[str], shared: Iterable[str]) -> None:
    """Cover services, but for the paths that are `shared`, which may be in a folder that is covered.

    Raises:
        OSError: one cannot be covered, or shared; ``filename`` says which.
    """
    opened = {os.path.realpath(path): os.open(path, os.O_PATH | os.O_CLOEXEC) for path in shared}
    try:
        for path in paths:
            if any(path == each or path.startswith(f"{each}/") for each in opened):
                continue
            if not Path(path).is_dir():
                bind_mount(os.devnull, path)
                continue
            mount_tmpfs(path)
            for each, descriptor in opened.items():
                if each.startswith(f"{path}/"):
                    _show_again(descriptor, Path(each))
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _show_again(descriptor: int, path: Path) -> None:
    """Show a file or a folder in the empty folder that covers it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        path.mkdir()
    else:
        path.touch()
    bind_mount(f"/proc/self/fd/{descriptor}", str(path))


def lookup_files() -> list[str]:
    """Return the files by which names are looked up, where they are: links may lead into a folder that is covered."""
    return [os.path.realpath(f"/etc/{name}") for name in _LOOKUPS if Path("/etc", name).exists()]


def replace_files(host_name: str) -> None:
    """Replace the files by which names are looked up. Without one, programs ask 127.0.0.1, which is answered too.

    ssh takes files that its configuration includes from root and from its user only, and root is "nobody" inside. So
    copies that belong to the user replace them.

    Raises:
        OSError: one cannot be replaced; ``filename`` says which.
    """
    texts = {
        target: _LOOKUPS[Path(path).name](Path(target), host_name)
        for path in map("/etc/{}".format, _LOOKUPS)
        if Path(target := os.path.realpath(path)).exists()
    }
    texts |= _copies(_INCLUDED_BY_SSH if os.getuid() else ())
    mount_tmpfs(_FOR_A_MOMENT)
    try:
        for number, (target, text) in enumerate(texts.items()):
            source = Path(_FOR_A_MOMENT, str(number))
            source.write_text(text, errors="surrogateescape")
            source.chmod(0o644)
            bind_mount(str(source), target)
    finally:
        unmount(_FOR_A_MOMENT)


def _copies(patterns: Iterable[str]) -> dict[str, str]:
    """Return the texts of files, by their real paths."""
    found = {}
    for pattern in patterns:
        for path in glob.glob(pattern):  # noqa: PTH207  (patterns from the root)
            with suppress(OSError):
                found[os.path.realpath(path)] = Path(path).read_text(errors="surrogateescape")
    return found


def _resolv_conf(_: Path, __: str) -> str:
    return "# by chainsocks exec: answered inside, and names go down the chain\nnameserver 198.18.0.1\n"


def _hosts(_: Path, host_name: str) -> str:
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {host_name}\n"


def _nsswitch(path: Path, _: str) -> str:
    """Return nsswitch.conf with hosts and networks by files and DNS only."""
    lines = path.read_text(errors="surrogateescape").splitlines()
    kept = [line for line in lines if not re.match(r"\s*(hosts|networks)\s*:", line)]
    return "\n".join([*kept, "hosts: files dns", "networks: files", ""])


_LOOKUPS: Mapping[str, Callable[[Path, str], str]] = {
    "resolv.conf": _resolv_conf,
    "hosts": _hosts,
    "nsswitch.conf": _nsswitch,
}
"""The text of each file in /etc, from the file that it replaces and the name of the machine."""
