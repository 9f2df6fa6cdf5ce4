"""dante with GSSAPI: its server, and its client library in other programs.

Debian builds its packages without. ``.ci/dante DIRECTORY`` builds Debian's source with it; ``CHAINSOCKS_DANTE`` then
names the directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.kerberos import Realm
from tests.e2e.programs import SocketAddress, clean_environment, listening, missing

VARIABLE = "CHAINSOCKS_DANTE"

LEVELS = {"none": "clear", "integrity": "integrity", "confidentiality": "confidentiality"}
"""Our words for the protection levels, and dante's."""


def _find(name: str, marker: bytes) -> Path:
    """Return a file of dante's that has GSSAPI in it, or skip the test."""
    directory = os.environ.get(VARIABLE, "")
    path = Path(directory, name)
    if not directory or not path.is_file() or marker not in path.read_bytes():
        missing(f"there is no dante with GSSAPI here (.ci/dante DIRECTORY builds one; {VARIABLE} says where it is)")
    return path


@contextmanager
def gssapi_danted(directory: Path, realm: Realm, protection: str) -> Iterator[SocketAddress]:
    """Run dante's server for clients that come by GSSAPI and agree to one `protection`."""
    path = _find("sbin/sockd", b"gss_accept_sec_context")
    config = directory / "sockd.conf"

    def command(address: SocketAddress) -> list[str | Path]:
        lines = ["logoutput: stderr", f"internal: {address[0]} port = {address[1]}", "external: lo"]
        lines += ["user.privileged: root", "user.unprivileged: root"] if os.geteuid() == 0 else []
        rule = ["from: 127.0.0.0/8 to: 127.0.0.0/8", "gssapi.servicename: rcmd"]
        rule += [f"gssapi.keytab: FILE:{realm.keytab}", f"gssapi.enctype: {LEVELS[protection]}", "}"]
        lines += ["clientmethod: none", "socksmethod: gssapi", "client pass {", *rule, "socks pass {", *rule]
        config.write_text("\n".join(lines) + "\n")
        return [path, "-f", config, "-p", directory / "sockd.pid"]

    with listening(command, clean_environment(directory, **realm.environment())) as address:
        yield address


def socksified(directory: Path, realm: Realm, proxy: SocketAddress, protection: str) -> dict[str, str]:
    """Return an environment in which a program's connections go through `proxy`, by dante's library and by GSSAPI."""
    library = _find("lib/libdsocks.so", b"gss_init_sec_context")
    config = directory / "socks.conf"
    lines = [f"logoutput: {directory / 'socks.log'}", "resolveprotocol: fake", "route {"]
    lines += [f"from: 0.0.0.0/0 to: 127.0.0.0/8 via: {proxy[0]} port = {proxy[1]}", "proxyprotocol: socks_v5"]
    lines += ["method: gssapi", "gssapi.servicename: rcmd", f"gssapi.enctype: {LEVELS[protection]}", "}"]
    config.write_text("\n".join(lines) + "\n")
    settings = {"SOCKS_CONF": str(config), "SOCKS_AUTOADD_LANROUTES": "no", "LD_PRELOAD": str(library)}
    return clean_environment(directory, **realm.environment("carol"), **settings)
