"""A Kerberos realm that is thrown away: a KDC on loopback, its principals, keytabs and tickets, all in one directory.

Nothing of this machine's own Kerberos is used, and none of it is changed.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.programs import SocketAddress, clean_environment, find_program, listening

NAME = "TEST.EXAMPLE"
HOST = "localhost"
"""The host of all services."""


@dataclass(frozen=True)
class Realm:
    """A running realm, in `directory`."""

    directory: Path

    @property
    def keytab(self) -> Path:
        """The keys of all services."""
        return self.directory / "services.keytab"

    def environment(self, user: str = "nobody") -> dict[str, str]:
        """What a program of this realm needs: the tickets of a user, and the keys of the services."""
        return {
            "KRB5_CONFIG": str(self.directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
            "KRB5RCACHEDIR": str(self.directory),
            "KRB5_KTNAME": str(self.keytab),
            "KRB5CCNAME": f"FILE:{self.directory / user}.tickets",
        }

    def add_service(self, service: str, host: str = HOST) -> None:
        """Make a service known, and put its keys into the keytab."""
        self._administer(f"addprinc -randkey {service}/{host}", f"ktadd -k {self.keytab} {service}/{host}")

    def add_user(self, user: str) -> None:
        """Make a user known, and get tickets for them."""
        keytab = self.directory / f"{user}.keytab"
        self._administer(f"addprinc -randkey {user}", f"ktadd -k {keytab} {user}")
        _run(find_program("kinit", "krb5-user"), "-k", "-t", str(keytab), user, environment=self.environment(user))

    def _administer(self, *commands: str) -> None:
        for command in commands:
            path = find_program("kadmin.local", "krb5-admin-server")
            _run(path, "-r", NAME, "-q", command, environment=self.environment())


@contextmanager
def common_realm(directory: Path) -> Iterator[Realm]:
    """Run a realm in which carol and eve may call services of three names."""
    with realm(directory) as made:
        for service in ("rcmd", "socks", "host"):
            made.add_service(service)
        for user in ("carol", "eve"):
            made.add_user(user)
        yield made


@contextmanager
def realm(directory: Path) -> Iterator[Realm]:
    """Run a realm with nobody in it."""
    made = Realm(directory)
    kdc, make_database = find_program("krb5kdc", "krb5-kdc"), find_program("kdb5_util", "krb5-kdc")
    for path in (directory / "kdc.conf", directory / "krb5.conf"):
        path.touch()

    def serve(address: SocketAddress) -> list[str | Path]:
        where = f"{address[0]}:{address[1]}"
        _write(
            directory / "kdc.conf", kdcdefaults=[f"kdc_tcp_listen = {where}", 'kdc_listen = ""'], realms=_realm(made)
        )
        library = [f"default_realm = {NAME}", "dns_lookup_kdc = false", "dns_lookup_realm = false", "rdns = false"]
        library += ["dns_canonicalize_hostname = false", "udp_preference_limit = 1"]
        _write(directory / "krb5.conf", libdefaults=library, realms=[f"{NAME} = {{ ", f"kdc = {where}", "}"])
        if not (directory / "principals").exists():
            _run(make_database, "create", "-s", "-r", NAME, "-P", "master", environment=made.environment())
        return [kdc, "-n", "-r", NAME, "-P", directory / "kdc.pid"]

    with listening(serve, clean_environment(directory, **made.environment())):
        yield made


def _realm(made: Realm) -> list[str]:
    return [
        f"{NAME} = {{",
        f"database_name = {made.directory / 'principals'}",
        f"key_stash_file = {made.directory / 'stash'}",
        f"acl_file = {made.directory / 'acl'}",
        "supported_enctypes = aes256-cts-hmac-sha1-96:normal",
        "}",
    ]


def _write(path: Path, **sections: list[str]) -> None:
    path.write_text("\n".join(line for name, lines in sections.items() for line in (f"[{name}]", *lines)) + "\n")


def _run(*command: str, environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, env=clean_environment(Path("/"), **environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kadmin.local: " not in done.stderr, done.stderr
