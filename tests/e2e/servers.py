"""The proxies under test: our own, as users start it, and the foreign ones that it has to get along with."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chainsocks.config.passwords import hash_password
from tests.e2e.programs import Program, SocketAddress, find_program, listening
from tests.e2e.spawner import OWN

CIPHER = "aes128-gcm@openssh.com"
"""The cheapest one to encrypt with: these tests are about the SOCKS server in ssh."""

running: list[Chainsocks] = []
"""Our servers, while they run."""


class Chainsocks(Program):
    """``chainsocks serve -c FILE``, and its log, which is verbose if `options` say so."""

    def __init__(self, config: Path, extra: Mapping[str, str], *options: str) -> None:
        environment = (
            os.environ
            | extra
            | {
                "CHAINSOCKS_TRACEBACK": "1",
                "RES_OPTIONS": "attempts:1 timeout:1",  # a machine without a name server knows soon that it has none
            }
        )
        super().__init__([OWN, "serve", *options, "-c", config], environment)

    @property
    def listeners(self) -> list[str]:
        """Where it listens, as it says itself; workers say so before, each for itself."""
        return self.wait_for(r"(?<!\d: )listening on (.+)")[1].split(", ")

    @property
    def address(self) -> SocketAddress:
        """Where its first listener is."""
        host, _, port = self.listeners[0].rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def url(self) -> str:
        """Itself as a hop."""
        return f"socks5://{self.listeners[0]}"

    def session(self, client: SocketAddress | str) -> str:
        """Wait for the end of the session of a client, known by its address, and return what the log says of it."""
        if not isinstance(client, str):
            host, port = client[:2]
            client = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return self.wait_for(f"client={re.escape(client)} ").string

    def check(self) -> None:
        """Fail when the log tells of a bug."""
        for word in ("bug in chainsocks", "Traceback", "Warning:", "ended by a bug"):
            assert word not in self.said, self.said


@contextmanager
def chainsocks(
    *hops: str,
    listen: Sequence[str] = ("127.0.0.1:0",),
    users: Mapping[str, str] | None = None,
    workers: int = 1,
    max_sessions: int = 10_000,
    server_lines: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    chain: str = "",
    group: str | None = None,
    lane: bool = False,
    tables: Sequence[str] = (),
    **timeouts: float,
) -> Iterator[Chainsocks]:
    """Run our server: its chain is `hops`, as URLs or tables, and `chain` is what else its table says.

    Listeners are addresses or tables. `tables` are lines of further tables.

    With `group` they hold one place, as a group, and that is what its table says. With `lane` its log is not verbose,
    so that direct sessions use the lane.

    It has to stop in order, with nothing in its log to regret.

    Nobody waits for it here, so that several can start at once; whoever asks for its address does. A test may end it
    before, or kill it.
    """
    names = [f"hop{number}" for number in range(1, len(hops) + 1)]
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "chainsocks.toml"
        # A text, a list of texts and a number look the same in JSON and in TOML.
        listeners = (each if each.startswith("{") else json.dumps(each) for each in listen)
        lines = ["[server]", f"listen = [{', '.join(listeners)}]"]
        lines += [f"workers = {workers}", f"max_sessions = {max_sessions}", *server_lines, "[timeouts]"]
        lines += [f"{name} = {seconds}" for name, seconds in ({"grace": 1} | timeouts).items()]
        if hops:
            written = [hop if hop.startswith("{") else json.dumps(hop) for hop in hops]
            lines += ["[hops]", *(f"{name} = {hop}" for name, hop in zip(names, written, strict=True))]
            if group is not None:
                lines += ["[groups.exits]", f"hops = {json.dumps(names)}", group]
                names = ["exits"]
            lines += ["[chains.default]", f"hops = {json.dumps(names)}", chain]
        elif chain:
            lines += ["[chains.default]", 'hops = "direct"', chain]
        lines += tables
        for name, password in (users or {}).items():
            lines += ["[[users]]", f'name = "{name}"', f'password_hash = "{hash_password(password.encode())}"']
        config.write_text("\n".join(lines))
        server = Chainsocks(config, environment or {}, *(() if lane else ("-v",)))
        running.append(server)
        ended = False
        try:
            yield server
            ended = server.process.poll() is not None
        finally:
            running.remove(server)
            try:
                assert server.listeners  # before that, no signal is expected
            finally:
                status = server.stop()
                print(server.said)  # noqa: T201  (pytest shows it with the failure)
        if not ended:
            assert server.lines[-1].endswith("stopped")
        assert status == 0 or (ended and status == -signal.SIGKILL)
        server.check()


@contextmanager
def microsocks(login: str = "") -> Iterator[SocketAddress]:
    """Run microsocks; a `login` is written ``name:password``."""
    path = find_program("microsocks", "microsocks")
    user, _, password = login.partition(":")
    options = ["-u", user, "-P", password] if login else []
    with listening(lambda address: [path, "-i", address[0], "-p", str(address[1]), *options]) as address:
        yield address


@contextmanager
def tinyproxy(login: str = "") -> Iterator[SocketAddress]:
    """Run tinyproxy, which connects to any port; a `login` is written ``name:password``."""
    path = find_program("tinyproxy", "tinyproxy")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "tinyproxy.conf"

        def command(address: SocketAddress) -> list[str | Path]:
            lines = [f"Listen {address[0]}", f"Port {address[1]}", "Timeout 60", "MaxClients 50"]
            lines += [f"BasicAuth {login.replace(':', ' ')}"] if login else []
            config.write_text("\n".join(lines) + "\n")
            return [path, "-d", "-c", config]

        with listening(command) as address:
            yield address


@contextmanager
def stunnel(directory: Path, behind: SocketAddress, certificate: Path | None, *lines: str) -> Iterator[SocketAddress]:
    """Run stunnel in front of another server: as a TLS server, unless `lines` say otherwise."""
    path = find_program("stunnel4", "stunnel4")
    config = directory / "stunnel.conf"

    def command(address: SocketAddress) -> list[str | Path]:
        settings = ["foreground = yes", "pid =", "syslog = no", "[tls]", f"accept = {address[0]}:{address[1]}"]
        settings += [f"connect = {behind[0]}:{behind[1]}", *([f"cert = {certificate}"] if certificate else []), *lines]
        config.write_text("\n".join(settings) + "\n")
        return [path, config]

    with listening(command) as address:
        yield address


@contextmanager
def squid(login: str = "") -> Iterator[SocketAddress]:
    """Run squid, which connects to any port; a `login` is written ``name:password``."""
    path = find_program("squid", "squid")
    service = f"chainsocks{secrets.token_hex(8)}"  # the name of its shared memory, which it leaves behind
    user, _, password = login.partition(":")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # it becomes another user
        config, passwords = directory / "squid.conf", directory / "passwords"

        def command(address: SocketAddress) -> list[str | Path]:
            lines = [f"http_port {address[0]}:{address[1]}", "pid_filename none", "cache deny all", "access_log none"]
            lines += ["cache_log /dev/null", "pinger_enable off", "netdb_filename none", "cache_effective_user nobody"]
            lines += ["shutdown_lifetime 0 seconds", "max_filedescriptors 1024", f"coredump_dir {directory}"]
            if login:
                openssl = [find_program("openssl", "openssl"), "passwd", "-6", password]
                crypted = subprocess.run(openssl, capture_output=True, text=True, check=True).stdout
                passwords.write_text(f"{user}:{crypted}")
                lines += [f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {passwords}"]
                lines += ["acl known proxy_auth REQUIRED", "http_access allow known", "http_access deny all"]
            lines += ["http_access allow all"]
            config.write_text("\n".join(lines) + "\n")
            return [path, "-N", "-n", service, "-f", config]

        try:
            with listening(command) as address:
                yield address
        finally:
            for left in Path("/dev/shm").glob(f"{service}*"):
                left.unlink()


@contextmanager
def danted(directory: Path) -> Iterator[SocketAddress]:
    """Run dante, which asks nobody for a name and speaks SOCKS4 as well."""
    path = find_program("danted", "dante-server")
    config = directory / "danted.conf"

    def command(address: SocketAddress) -> list[str | Path]:
        everybody = "{ from: 127.0.0.0/8 to: 127.0.0.0/8 }"
        accounts = ["user.privileged: root", "user.unprivileged: nobody"] if os.geteuid() == 0 else []
        lines = ["logoutput: stderr", f"internal: {address[0]} port = {address[1]}", "external: lo", *accounts]
        lines += ["clientmethod: none", "socksmethod: none", f"client pass {everybody}", f"socks pass {everybody}"]
        config.write_text("\n".join(lines) + "\n")
        return [path, "-f", config, "-p", directory / "danted.pid"]

    with listening(command) as address:
        yield address


@contextmanager
def tor(directory: Path) -> Iterator[SocketAddress]:
    """Run tor as a client; that it has no network does not keep it from speaking SOCKS."""
    path = find_program("tor", "tor")
    options: list[str | Path] = ["--ignore-missing-torrc", "-f", directory / "torrc", "--DataDirectory", directory]
    options += ["--ClientOnly", "1", "--Log", "notice stderr"]
    with listening(lambda address: [path, *options, "--SocksPort", f"{address[0]}:{address[1]}"]) as address:
        yield address


@contextmanager
def ftp_server(directory: Path) -> Iterator[SocketAddress]:
    """Run pyftpdlib, on IPv6 as well; anybody may read and write `directory`."""
    options: list[str | Path] = ["-i", "::", "-w", "-d", directory]
    with listening(lambda address: [sys.executable, "-m", "pyftpdlib", "-p", str(address[1]), *options]) as address:
        yield address


@contextmanager
def sshd(directory: Path) -> Iterator[tuple[SocketAddress, Path]]:
    """Run an sshd of our own, and yield its address and a key that lets this user in; both keys are thrown away."""
    server = find_program("sshd", "openssh-server")
    host_key, user_key = (_make_key(directory / name) for name in ("host_key", "user_key"))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it, and its service would make it
    config = directory / "sshd_config"

    def serve(address: SocketAddress) -> list[str | Path]:
        lines = [f"ListenAddress {address[0]}:{address[1]}", f"HostKey {host_key}", f"Ciphers {CIPHER}"]
        lines += [f"AuthorizedKeysFile {user_key}.pub", "PidFile none", "StrictModes no", "PermitRootLogin yes"]
        lines += ["UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no"]
        config.write_text("\n".join(lines) + "\n")
        return [server, "-D", "-e", "-f", config]

    with listening(serve) as address:
        yield address, user_key


@contextmanager
def ssh(directory: Path) -> Iterator[SocketAddress]:
    """Run ``ssh -D`` to an sshd of our own."""
    client = find_program("ssh", "openssh-client")
    with sshd(directory) as ((host, port), user_key):
        options = ["BatchMode=yes", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes", f"Ciphers={CIPHER}"]
        options += ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null"]
        command: list[str | Path] = [client, "-F", "none", "-N", "-i", user_key, *(f"-o{option}" for option in options)]
        command += ["-p", str(port), f"{getpass.getuser()}@{host}"]
        with listening(lambda address: [*command, "-D", f"{address[0]}:{address[1]}"]) as address:
            yield address


def _make_key(path: Path) -> Path:
    keygen = find_program("ssh-keygen", "openssh-client")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path
