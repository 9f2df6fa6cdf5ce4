"""Lines of proxychains.conf, and what proxychains-ng takes them for."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from chainsocks.errors import ConfigError
from chainsocks.tools.proxychains.parse import (
    Kind,
    LocalNet,
    Mode,
    Names,
    Proxy,
    ProxychainsFile,
    parse_proxychains,
)

PROXY = "[ProxyList]\nsocks5 192.0.2.1 1080\n"


def parse(folder: Path, text: str | bytes) -> ProxychainsFile:
    path = folder / "proxychains.conf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse_proxychains(path)


def problems(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(folder, text)
    return [str(problem) for problem in caught.value.problems]


def test_the_defaults_are_those_of_proxychains(tmp_path: Path) -> None:
    assert parse(tmp_path, PROXY) == ProxychainsFile(
        mode=Mode.DYNAMIC,
        length=1,
        names=Names.HERE,
        read_timeout=4000,
        connect_timeout=10_000,
        proxies=[Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080)],
    )


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("strict_chain", "mode", Mode.STRICT),
        ("  \tstrict_chain \r", "mode", Mode.STRICT),
        ("dynamic_chain\nstrict_chain\nrandom_chain", "mode", Mode.RANDOM),
        ("round_robin_chain", "mode", Mode.ROUND_ROBIN),
        ("strict_chain # a comment", "mode", Mode.DYNAMIC),
        ("Strict_chain", "mode", Mode.DYNAMIC),
        ("#strict_chain", "mode", Mode.DYNAMIC),
        ("chain_len = 3", "length", 3),
        ("chain_len=3", "length", 3),
        ("chain_len = 3 hops", "length", 3),
        ("chain_len = x", "length", 1),
        ("chain_len = 0", "length", 1),
        ("chain_len = -1", "length", -1),
        ("proxy_dns", "names", Names.THREAD),
        ("proxy_dns_old", "names", Names.SCRIPT),
        ("proxy_dns_daemon 127.0.0.1:1053", "names", Names.DAEMON),
        ("proxy_dns\nproxy_dns_old", "names", Names.SCRIPT),
        ("proxy_dns # a comment", "names", Names.HERE),
        ("tcp_read_time_out 15000", "read_timeout", 15_000),
        ("tcp_read_time_out\t15000 ms", "read_timeout", 15_000),
        ("tcp_read_time_out fast", "read_timeout", 4000),
        ("tcp_connect_time_out -1", "connect_timeout", -1),
        ("localnet 10.0.0.0/255.0.0.0", "local", [LocalNet(ip_network("10.0.0.0/8"))]),
        ("localnet 10.1.2.3/8", "local", [LocalNet(ip_network("10.0.0.0/8"))]),
        ("localnet 192.168.1.0:80/255.255.255.0", "local", [LocalNet(ip_network("192.168.1.0/24"), 80)]),
        ("localnet 0.0.0.0:80/0.0.0.0", "local", [LocalNet(ip_network("0.0.0.0/0"), 80)]),
        ("localnet ::1/128", "local", [LocalNet(ip_network("::1/128"))]),
        ("localnet [::]:80/0", "local", [LocalNet(ip_network("::/0"), 80)]),
        ("localnet [fe80::]/10", "local", [LocalNet(ip_network("fe80::/10"))]),
        ("localnet 10.0.0.0/255.0.255.0", "local", []),
    ],
)
def test_options(tmp_path: Path, line: str, key: str, value: object) -> None:
    assert getattr(parse(tmp_path, f"{line}\n{PROXY}"), key) == value


@pytest.mark.parametrize(
    ("line", "proxy"),
    [
        ("socks5 192.0.2.1 1080", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080)),
        ("  socks5\t\t192.0.2.1\t1080  ", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080)),
        ("socks5 192.0.2.1 1080 lamer secret", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080, "lamer", "secret")),
        ("socks5 192.0.2.1 1080 lamer", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080, "lamer")),
        ("socks5 192.0.2.1 1080 a:@#'\" ü%41", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080, "a:@#'\"", "ü%41")),
        ("socks5 192.0.2.1 1080 a b c d", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080, "a", "b")),
        ("socks5 192.0.2.1 1080x b", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080, "x", "b")),
        ("socks5 ::1 1080", Proxy(2, Kind.SOCKS5, "::1", 1080)),
        ("socks4 192.0.2.1 1080 fred", Proxy(2, Kind.SOCKS4, "192.0.2.1", 1080, "fred")),
        ("http 192.0.2.1 8080 justu hidden", Proxy(2, Kind.HTTP, "192.0.2.1", 8080, "justu", "hidden")),
        ("raw 192.0.2.1 8080", Proxy(2, Kind.RAW, "192.0.2.1", 8080)),
        ("socks5://192.0.2.1:1080", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080)),
        ("socks5://a:b:c@d@192.0.2.1:1080", Proxy(2, Kind.SOCKS5, "192.0.2.1", 1080, "a", "b:c@d")),
        ("http://a:b@192.0.2.1:8080", Proxy(2, Kind.HTTP, "192.0.2.1", 8080, "a", "b")),
    ],
)
def test_proxies(tmp_path: Path, line: str, proxy: Proxy) -> None:
    assert parse(tmp_path, f"[ProxyList]\n{line}\n").proxies == [proxy]


def test_bytes_of_a_login_that_are_no_text(tmp_path: Path) -> None:
    [proxy] = parse(tmp_path, b"[ProxyList]\nsocks5 192.0.2.1 1080 \xff \xfe\n").proxies
    assert (proxy.user, proxy.password) == ("\udcff", "\udcfe")


def test_names_of_proxies(tmp_path: Path) -> None:
    listed = "[ProxyList]\nsocks5 192.0.2.1 1080\nsocks5 two.example 1080\n"
    assert parse(tmp_path, f"strict_chain\nproxy_dns\n{listed}").proxies[1].host == "two.example"
    for options in ("strict_chain", "dynamic_chain\nproxy_dns", "strict_chain\nproxy_dns_old"):
        [problem] = problems(tmp_path, f"{options}\n{listed}")
        assert problem.endswith("only with strict_chain and proxy_dns, all proxies but the first may have names")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no proxy in the file; proxies are listed below [ProxyList]"),
        ("[proxylist]\nsocks5 192.0.2.1 1080", "there is no proxy in the file; proxies are listed below [ProxyList]"),
        ("[ProxyList]\nsocks5 192.0.2.1", "line 2: expected TYPE HOST PORT [USER PASSWORD], with the type socks4,"),
        ("[ProxyList]\nsocks6 192.0.2.1 1080 bob hunter2", "line 2: expected TYPE HOST PORT [USER PASSWORD]"),
        ("[ProxyList]\nSOCKS5 192.0.2.1 1080 bob hunter2", "line 2: expected TYPE HOST PORT [USER PASSWORD]"),
        ("[ProxyList]\nsocks4://hunter2:x@192.0.2.1:1080", "line 2: expected TYPE HOST PORT [USER PASSWORD]"),
        ("[ProxyList]\nsocks5 192.0.2.1 70000 bob hunter2", "line 2: expected a port in 1..65535"),
        ("[ProxyList]\nsocks5 hunter2 1080", "line 2: expected an IP address; only with strict_chain and proxy_dns"),
        (f"chain_len 2\n{PROXY}", "line 1: expected an equals sign, as in chain_len = 2"),
        (f"remote_dns_subnet 256\n{PROXY}", "line 1: expected remote_dns_subnet with a number between 0 and 255"),
        (f"localnet 10.0.0.0\n{PROXY}", "line 1: expected localnet ADDRESS[:PORT]/NETMASK"),
        (f"localnet 10.0.0.0/255.0.0.0 x\n{PROXY}", "line 1: expected localnet ADDRESS[:PORT]/NETMASK"),
        (f"localnet 10.0.0.0/33\n{PROXY}", "line 1: expected localnet ADDRESS[:PORT]/NETMASK"),
        (f"localnet lan/8\n{PROXY}", "line 1: expected localnet ADDRESS[:PORT]/NETMASK"),
        (f"localnet ::1/255.0.0.0\n{PROXY}", "line 1: expected localnet ADDRESS[:PORT]/NETMASK"),
        (f"proxy_dns_daemon localhost:1053\n{PROXY}", "line 1: expected proxy_dns_daemon ADDRESS:PORT"),
        (f"dnat 1.1.1.1\n{PROXY}", "line 1: expected dnat ADDRESS[:PORT] ADDRESS[:PORT]"),
        ("a\0b", "this is no proxychains.conf"),
        ("#" * 2**20 + "\n", "this is no proxychains.conf"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_problems_have_their_lines_and_no_secret(tmp_path: Path, text: str, said: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.startswith(said)
    assert "hunter2" not in problem


def test_all_problems_at_once(tmp_path: Path) -> None:
    assert [problem[:6] for problem in problems(tmp_path, "chain_len\n[ProxyList]\nx\ny\n")] == [
        "line 1",
        "line 3",
        "line 4",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        parse_proxychains(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("quiet_mode", "quiet_mode: `chainsocks serve --quiet` logs"),
        ("remote_dns_subnet 224", "remote_dns_subnet: names stay names here"),
        ("dnat 1.1.1.1:1234  1.1.1.2:443", "dnat: there is no such thing here"),
        ("random_seed 5", "random_seed: choices at random"),
        ("localnet 10.0.0.0/255.0.255.0", "localnet: this netmask has gaps"),
        ("strict_chain # a comment", "proxychains-ng ignores strict_chain in a line with something beside it"),
        ("proxy_dns on", "proxychains-ng ignores proxy_dns in a line"),
        ("tcp_read_time_out soon", "no number stands there"),
        ("hunter2", "this is no option of proxychains"),
        ("[ProxyList]\nsocks5 192.0.2.1 1080 # hunter2", "no comment can stand behind a proxy"),
        ("[ProxyList]\nsocks4 192.0.2.1 1080 fred hunter2", "SOCKS4 has a user id and no password"),
        ("[ProxyList]\nsocks5 192.0.2.1 0", "proxychains ignores a proxy with port 0"),
    ],
)
def test_remarks_of_what_counts_for_nothing_or_for_something_else(tmp_path: Path, line: str, said: str) -> None:
    more = PROXY.partition("\n")[2] if "[ProxyList]" in line else PROXY
    [remark] = parse(tmp_path, f"{line}\n{more}").remarks
    assert remark.line == line.count("\n") + 1
    assert remark.text.startswith(said)
    assert "hunter2" not in remark.text
