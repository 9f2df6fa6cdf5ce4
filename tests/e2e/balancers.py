"""Foreign load balancers: HAProxy and nginx, which speak the PROXY protocol on either side."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.programs import SocketAddress, find_program, listening, missing

__all__ = ["haproxy", "nginx"]

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@contextmanager
def haproxy(*lines: str, accept: str = "") -> Iterator[SocketAddress]:
    """Run HAProxy with one section, which listens, with `accept` behind its ``bind``, and has further `lines`."""
    path = find_program("haproxy", "haproxy")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "haproxy.cfg"

        def command(address: SocketAddress) -> Sequence[str | Path]:
            timeouts = [f"timeout {each} 60s" for each in ("connect", "client", "server")]
            bind = f"bind {address[0]}:{address[1]} {accept}"
            config.write_text("\n".join(["defaults", *timeouts, "listen it", bind, *lines, ""]))
            return [path, "-db", "-f", config]

        with listening(command) as address:
            yield address


@contextmanager
def nginx(*lines: str, kind: str, accept: str = "") -> Iterator[SocketAddress]:
    """Run nginx with one server, in a block ``stream`` or ``http``, which has further `lines`."""
    path = find_program("nginx", "nginx")
    if kind == "stream" and not STREAM_MODULE.exists():
        missing("there is no stream module of nginx here (Debian: apt install libnginx-mod-stream)")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = directory / "nginx.conf"

        def command(address: SocketAddress) -> Sequence[str | Path]:
            load = [f"load_module {STREAM_MODULE};"] if kind == "stream" else []
            places = [f"{each}_temp_path {directory};" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
            server = f"server {{ listen {address[0]}:{address[1]} {accept}; {' '.join(lines)} }}"
            block = [f"{kind} {{", *(places if kind == "http" else []), "access_log off;", server, "}"]
            main = ["daemon off;", "master_process off;", f"pid {directory}/pid;", "error_log stderr;", "events {}"]
            config.write_text("\n".join([*load, *main, *block]))
            return [path, "-p", directory, "-e", "stderr", "-c", config]

        with listening(command) as address:
            yield address
