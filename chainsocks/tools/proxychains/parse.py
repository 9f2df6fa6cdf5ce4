"""Read a proxychains.conf as proxychains-ng 4.16 does, and remark where the older proxychains 3 reads it differently.

Both read the file line by line: options first, then ``[ProxyList]``, then nothing but proxies. Of options that exclude
each other the last one counts. A line that is no option is ignored by both, without a word; here it gets a remark. A
mistake that makes proxychains-ng stop is a problem. Neither remarks nor problems repeat what stands in a line: it may
hold a login.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from types import MappingProxyType

from chainsocks.errors import ConfigError, Problem

__all__ = ["Kind", "LocalNet", "Mode", "Names", "Proxy", "ProxychainsFile", "Remark", "parse_proxychains"]

MOST_PROXIES = 512
"""Proxies that proxychains-ng takes; it ignores the others."""

LARGEST = 2**20
"""Bytes of a file; one that is larger is something else."""

BLANKS = " \t\v\f\r"


class Mode(StrEnum):
    """How the list of proxies is used, as the option is written."""

    STRICT = "strict_chain"
    DYNAMIC = "dynamic_chain"
    RANDOM = "random_chain"
    ROUND_ROBIN = "round_robin_chain"


class Names(StrEnum):
    """Who resolves names, as the option is written."""

    HERE = ""
    """This machine: there is no such option."""
    THREAD = "proxy_dns"
    SCRIPT = "proxy_dns_old"
    DAEMON = "proxy_dns_daemon"


class Kind(StrEnum):
    """What a proxy speaks."""

    SOCKS4 = "socks4"
    """With SOCKS4a for names."""
    SOCKS5 = "socks5"
    HTTP = "http"
    RAW = "raw"
    """Nothing: it is sent the traffic as it is."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A line of the list. Bytes of a login that are not UTF-8 are surrogates."""

    line: int
    kind: Kind
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LocalNet:
    """Destinations that are connected to without a proxy."""

    network: IPv4Network | IPv6Network
    port: int = 0
    """0 for all ports."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of a line."""

    line: int
    text: str


@dataclass(slots=True)
class ProxychainsFile:
    """What a file says; the defaults are those of proxychains-ng."""

    mode: Mode = Mode.DYNAMIC
    length: int = 1
    """``chain_len``: how many proxies a random or a round robin chain has."""
    names: Names = Names.HERE
    read_timeout: int = 4000
    """Milliseconds."""
    connect_timeout: int = 10_000
    """Milliseconds."""
    local: list[LocalNet] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def parse_proxychains(path: Path) -> ProxychainsFile:
    """Read a file.

    Raises:
        ConfigError: it cannot be read, or proxychains-ng would not accept it either; every problem has its line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError([Problem("", error.strerror or "cannot be read")], str(path)) from None
    if b"\0" in content or len(content) > LARGEST:
        raise ConfigError([Problem("", "this is no proxychains.conf")], str(path))
    reader = _Reader()
    for number, line in enumerate(content.decode("utf-8", "surrogateescape").split("\n"), 1):
        reader.read(number, line.strip(BLANKS))
    if not reader.file.proxies and not reader.problems:
        reader.problems.append(Problem("", "there is no proxy in the file; proxies are listed below [ProxyList]"))
    if reader.problems:
        raise ConfigError(reader.problems, str(path))
    return reader.file


class _Reader:
    def __init__(self) -> None:
        self.file = ProxychainsFile()
        self.problems: list[Problem] = []
        self._in_list = False

    def read(self, number: int, line: str) -> None:
        if not line or line.startswith("#"):
            return
        try:
            if self._in_list:
                self._read_proxy(number, line)
            else:
                self._read_option(number, line)
        except ValueError as error:
            self.problems.append(Problem(f"line {number}", str(error)))

    def _remark(self, number: int, text: str) -> None:
        self.file.remarks.append(Remark(number, text))

    def _read_option(self, number: int, line: str) -> None:
        file = self.file
        if line == "[ProxyList]":
            self._in_list = True
        elif line in set(Mode):
            file.mode = Mode(line)
        elif line in (Names.THREAD, Names.SCRIPT):
            file.names = Names(line)
        elif line == "quiet_mode":
            self._remark(number, "quiet_mode: `chainsocks serve --quiet` logs warnings and errors only")
        elif reading := next((reading for word, reading in _READINGS.items() if line.startswith(word)), None):
            reading(self, number, line)
        else:
            self._unknown(number, line)

    def _unknown(self, number: int, line: str) -> None:
        if word := next((word for word in _WORDS if word in line), None):
            self._remark(
                number, f"proxychains-ng ignores {word} in a line with something beside it; proxychains 3 does not"
            )
        else:
            self._remark(number, "this is no option of proxychains, which ignores it without a word")

    def _read_timeout(self, number: int, line: str) -> None:
        match = re.match(rf"(\S+)[{BLANKS}]*([+-]?\d+)", line)
        if not match:
            self._remark(number, "no number stands there, so the default counts")
        elif line.startswith("tcp_read_time_out"):
            self.file.read_timeout = int(match[2])
        else:
            self.file.connect_timeout = int(match[2])

    def _read_subnet(self, number: int, line: str) -> None:
        match = re.match(rf"\S+[{BLANKS}]*(\d+)", line)
        if match and int(match[1]) > 255:
            raise ValueError("expected remote_dns_subnet with a number between 0 and 255")
        self._remark(number, "remote_dns_subnet: names stay names here, so no addresses stand for them")

    def _read_local(self, number: int, line: str) -> None:
        problem = (
            "expected localnet ADDRESS[:PORT]/NETMASK, as in localnet 127.0.0.0/255.0.0.0 or localnet [::1]:80/128"
        )
        match = re.fullmatch(rf"\S+[{BLANKS}]+([^/]+)/(\S+)", line)
        if not match:
            raise ValueError(problem)
        address, mask = match.groups()
        host, port = address, ""
        if inner := re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?", address):
            host, port = inner[1], inner[2] or ""
        elif address.count(":") == 1:
            host, port = address.split(":")
        if port and not re.fullmatch(r"\d{1,5}", port, re.ASCII):
            raise ValueError(problem)
        try:
            ip = ip_address(host)
        except ValueError:
            raise ValueError(problem) from None
        if not (mask.isascii() and mask.isdigit()) and (ip.version != 4 or not _is_ipv4(mask)):
            raise ValueError(problem)
        try:
            network = ip_network(f"{ip}/{mask}", strict=False)
        except ValueError:
            if mask.isdigit():
                raise ValueError(problem) from None
            self._remark(
                number, "localnet: this netmask has gaps; the destinations take the chain here, and not the direct way"
            )
            return
        self.file.local.append(LocalNet(network, int(port or 0) % 65536))

    def _read_length(self, number: int, line: str) -> None:
        _, equals, value = line.partition("=")
        if not equals:
            raise ValueError("expected an equals sign, as in chain_len = 2")
        match = re.match(rf"[{BLANKS}]*([+-]?\d+)", value)
        self.file.length = int(match[1]) if match and int(match[1]) else 1

    def _read_daemon(self, number: int, line: str) -> None:
        match = re.match(rf"\S+[{BLANKS}]+([^:]+):\S+", line)
        if not match or not _is_ipv4(match[1]):
            raise ValueError("expected proxy_dns_daemon ADDRESS:PORT, as in proxy_dns_daemon 127.0.0.1:1053")
        self.file.names = Names.DAEMON

    def _read_dnat(self, number: int, line: str) -> None:
        address = r"\d+\.\d+\.\d+\.\d+(?::\d+)?"
        if not re.match(rf"\S+[{BLANKS}]+{address}[{BLANKS}]+{address}", line):
            raise ValueError("expected dnat ADDRESS[:PORT] ADDRESS[:PORT], as in dnat 1.1.1.1:1234 1.1.1.2:443")
        self._remark(number, "dnat: there is no such thing here; requests for the first address go there")

    def _read_seed(self, number: int, line: str) -> None:
        self._remark(number, "random_seed: choices at random cannot be repeated here")

    def _read_proxy(self, number: int, line: str) -> None:
        if len(self.file.proxies) >= MOST_PROXIES:
            self._remark(number, f"proxychains ignores all proxies behind the first {MOST_PROXIES}")
            return
        proxy = _from_words(number, line) or _from_url(number, line)
        if proxy is None:
            raise ValueError("expected TYPE HOST PORT [USER PASSWORD], with the type socks4, socks5, http or raw")
        if not 0 <= proxy.port <= 65535:
            raise ValueError("expected a port in 1..65535")
        if not _is_ip(proxy.host) and not (
            self.file.mode is Mode.STRICT and self.file.names in (Names.THREAD, Names.DAEMON) and self.file.proxies
        ):
            raise ValueError(
                "expected an IP address; only with strict_chain and proxy_dns, all proxies but the first may have names"
            )
        if proxy.port == 0:
            self._remark(number, "proxychains ignores a proxy with port 0")
            return
        if proxy.user.startswith("#"):
            self._remark(number, "no comment can stand behind a proxy: proxychains takes these words for its login")
        if proxy.kind is Kind.SOCKS4 and proxy.password:
            self._remark(number, "SOCKS4 has a user id and no password; proxychains does not send it either")
        self.file.proxies.append(proxy)


Reading = Callable[[_Reader, int, str], None]

_READINGS: Mapping[str, Reading] = MappingProxyType(
    {
        "tcp_read_time_out": _Reader._read_timeout,  # noqa: SLF001
        "tcp_connect_time_out": _Reader._read_timeout,  # noqa: SLF001
        "remote_dns_subnet": _Reader._read_subnet,  # noqa: SLF001
        "localnet": _Reader._read_local,  # noqa: SLF001
        "chain_len": _Reader._read_length,  # noqa: SLF001
        "proxy_dns_daemon": _Reader._read_daemon,  # noqa: SLF001
        "dnat": _Reader._read_dnat,  # noqa: SLF001
        "random_seed": _Reader._read_seed,  # noqa: SLF001
    }
)
"""Options that have values. Only the beginning of a line counts, in proxychains-ng too."""

_WORDS = (*Mode, Names.SCRIPT, Names.THREAD, "quiet_mode", *_READINGS)


def _from_words(number: int, line: str) -> Proxy | None:
    """Read a proxy as scanf("%s %s %d %s %s") does: what stands right behind the digits of the port is the user."""
    match = re.match(rf"(\S+)[{BLANKS}]+(\S+)[{BLANKS}]+([+-]?\d+)[{BLANKS}]*(\S*)[{BLANKS}]*(\S*)", line, re.ASCII)
    if not match or match[1] not in set(Kind):
        return None
    return Proxy(number, Kind(match[1]), match[2], int(match[3]), match[4], match[5])


def _from_url(number: int, line: str) -> Proxy | None:
    """Read a proxy of the other form, ``socks5://user:password@192.0.2.1:1080``."""
    login = r"(?:(?P<user>[^:@]*):(?P<password>.*)@)?"
    match = re.match(rf"(?P<kind>socks5|socks4|http)://{login}(?P<host>[^:@]+):(?P<port>\d+)", line, re.ASCII)
    if not match or (match["kind"] == Kind.SOCKS4 and match["user"] is not None):
        return None
    return Proxy(
        number, Kind(match["kind"]), match["host"], int(match["port"]), match["user"] or "", match["password"] or ""
    )


def _is_ip(text: str) -> bool:
    try:
        return bool(ip_address(text)) and "%" not in text
    except ValueError:
        return False


def _is_ipv4(text: str) -> bool:
    return _is_ip(text) and ":" not in text
