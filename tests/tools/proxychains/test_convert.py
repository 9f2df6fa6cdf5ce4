"""What a proxychains.conf becomes, read again as a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainsocks.config.choices import Pick, Resolve
from chainsocks.config.groups import Group
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.config.written import write_parts
from chainsocks.protocol.messages import UserId, UsernamePassword
from chainsocks.routing.pick import Picks, choose
from chainsocks.tools.proxychains.convert import convert
from chainsocks.tools.proxychains.parse import Kind, Mode, Names, Proxy, ProxychainsFile, parse_proxychains


class AllWell:
    """Hops of which nothing is known."""

    def in_backoff(self, hop: object) -> bool:
        return False

    def dial_time(self, hop: object) -> None:
        return None

    def wants_measuring(self, hop: object) -> bool:
        return False


def proxies(count: int, kind: Kind = Kind.SOCKS5) -> list[Proxy]:
    return [Proxy(number, kind, f"192.0.2.{number}", 1080) for number in range(1, count + 1)]


def written(file: ProxychainsFile) -> tuple[str, bool]:
    converted = convert(file, "proxychains.conf")
    return write_parts(converted.parts), converted.is_whole


def config(file: ProxychainsFile) -> Config:
    text, is_whole = written(file)
    assert is_whole
    return parse_config(text)


def imported(folder: Path, text: str) -> Config:
    (folder / "proxychains.conf").write_text(text)
    return config(parse_proxychains(folder / "proxychains.conf"))


def test_a_strict_chain() -> None:
    chain = config(ProxychainsFile(Mode.STRICT, proxies=proxies(3))).chains["default"]
    assert [str(hop.name) for hop in chain.hops] == ["hop1", "hop2", "hop3"]
    assert not chain.skip_dead


def test_a_dynamic_chain() -> None:
    assert config(ProxychainsFile(Mode.DYNAMIC, proxies=proxies(3))).chains["default"].skip_dead


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_random_chain(length: int) -> None:
    chain = config(ProxychainsFile(Mode.RANDOM, length, proxies=proxies(3))).chains["default"]
    assert len(chain.hops) == length
    [pool] = {id(group): group for group in chain.hops}.values()
    assert isinstance(pool, Group)
    assert (pool.pick, len(pool.hops)) == (Pick.RANDOM, 3)


def test_a_proxy_that_is_listed_twice_is_chosen_twice_as_often() -> None:
    [pool] = config(ProxychainsFile(Mode.RANDOM, proxies=[*proxies(2), *proxies(1)])).chains["default"].hops
    assert isinstance(pool, Group)
    assert pool.weights == (2.0, 1.0)


@pytest.mark.parametrize(
    ("count", "length", "chains"),
    [
        # as proxychains4 4.16 made them
        (3, 1, [0, 1, 2, 0]),
        (3, 2, [0, 1, 2, 0, 0, 1, 2, 0]),
        (4, 2, [0, 1, 2, 3, 0, 1, 2, 3]),
        (5, 2, [0, 1, 2, 3, 4, 0, 0, 1, 2, 3]),
        (5, 3, [0, 1, 2, 3, 4, 0, 0, 1, 2, 3, 4, 0]),
        (4, 3, [0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 1, 2, 3, 0, 1]),
        (3, 3, [0, 1, 2, 0, 1, 2]),
    ],
)
def test_a_round_robin_chain_takes_turns_as_proxychains_does(count: int, length: int, chains: list[int]) -> None:
    chain = config(ProxychainsFile(Mode.ROUND_ROBIN, length, proxies=proxies(count))).chains["default"]
    picks, used = Picks(), []
    for _ in range(len(chains) // length):
        route = choose(chain, picks.orders(chain, b"", AllWell()), (), AllWell())
        assert route is not None
        used += [int(hop.name.removeprefix("hop")) - 1 for hop in route.hops]
    assert used == chains


@given(st.integers(1, 30).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count))))
def test_every_round_robin_chain_can_be_said(size: tuple[int, int]) -> None:
    count, length = size
    chain = config(ProxychainsFile(Mode.ROUND_ROBIN, length, proxies=proxies(count))).chains["default"]
    assert len(chain.hops) == length


@pytest.mark.parametrize("mode", [Mode.RANDOM, Mode.ROUND_ROBIN])
@pytest.mark.parametrize("length", [3, -1])
def test_a_chain_that_is_longer_than_the_list_refuses_everything(mode: Mode, length: int) -> None:
    text, is_whole = written(ProxychainsFile(mode, length, proxies=proxies(2)))
    assert not is_whole
    assert f"chain_len is {length}, and the list has 2 different proxies" in text
    read = parse_config(text)
    assert (read.chains, [rule.way for rule in read.rules]) == ({}, ["deny = true"])


def test_logins() -> None:
    listed = [
        Proxy(1, Kind.SOCKS5, "192.0.2.1", 1080, "alice", 's"ecr\\et'),
        Proxy(2, Kind.SOCKS5, "192.0.2.2", 1080, "bob", ""),
        Proxy(3, Kind.SOCKS4, "192.0.2.3", 1080, "fred", "unused"),
        Proxy(4, Kind.SOCKS5, "192.0.2.4", 1080, "\udcff:", "\udcfe@%"),
        Proxy(5, Kind.SOCKS4, "192.0.2.5", 1080, "\udcff"),
        Proxy(6, Kind.SOCKS5, "::1", 1081),
        Proxy(7, Kind.HTTP, "192.0.2.7", 8080, "carol", "x:y"),
        Proxy(8, Kind.HTTP, "192.0.2.8", 8080, "a:b", "c"),
    ]
    hops = config(ProxychainsFile(Mode.RANDOM, proxies=listed)).hops.values()
    assert [hop.credentials for hop in hops] == [
        UsernamePassword(b"alice", b's"ecr\\et'),
        UsernamePassword(b"bob", b""),
        UserId(b"fred"),
        UsernamePassword(b"\xff:", b"\xfe@%"),
        UserId(b"\xff"),
        None,
        UsernamePassword(b"carol", b"x:y"),
        UsernamePassword(b"a", b"b:c"),
    ]
    socks4a, socks5 = HopProtocol.SOCKS4A, HopProtocol.SOCKS5
    assert [hop.protocol for hop in hops] == [socks5, socks5, socks4a, socks5, socks4a, socks5, *[HopProtocol.HTTP] * 2]


@pytest.mark.parametrize("names", Names)
def test_who_resolves_names(names: Names) -> None:
    [hop] = config(ProxychainsFile(names=names, proxies=proxies(1))).hops.values()
    assert hop.resolve is (Resolve.LOCAL if names is Names.HERE else Resolve.REMOTE)


def test_limits() -> None:
    timeouts = config(ProxychainsFile(read_timeout=1500, connect_timeout=-1, proxies=proxies(1))).timeouts
    assert (timeouts.hop, timeouts.connect, timeouts.dial, timeouts.idle) == (1.5, *[float("inf")] * 3)
    text, _ = written(ProxychainsFile(read_timeout=0, proxies=proxies(1)))
    assert "tcp_read_time_out is 0" in " ".join(text.split())
    assert parse_config(text).timeouts.hop == 10


def test_local_networks(tmp_path: Path) -> None:
    text = "proxy_dns\nlocalnet 10.0.0.0/8\nlocalnet ::1/128\nlocalnet 0.0.0.0:80/0\nlocalnet 10.0.0.0/8\n"
    listed = "[ProxyList]\nsocks5 192.0.2.1 1080\n"
    rules = imported(tmp_path, text + listed).rules
    assert [str(rule) for rule in rules] == [
        'to = ["10.0.0.0/8", "::1/128"], chain = "direct"',
        'to = ["0.0.0.0/0"], ports = [80], chain = "direct"',
    ]
    [rule] = imported(tmp_path, f"localnet 10.0.0.0/8\n{listed}").rules
    assert rule.resolve


def test_a_list_without_one_of_its_proxies_is_not_used(tmp_path: Path) -> None:
    """A chain that lost a hop would show who the client is to where the hop was to hide it."""
    text = "strict_chain\nlocalnet 10.0.0.0/8\n[ProxyList]\nsocks5 192.0.2.1 1080\nraw 192.0.2.2 8080 bob x\n"
    (tmp_path / "proxychains.conf").write_text(text)
    out, is_whole = written(parse_proxychains(tmp_path / "proxychains.conf"))
    assert not is_whole
    assert "# Line 5: raw 192.0.2.2 8080 bob x\n# There are no raw hops" in out
    read = parse_config(out)
    assert [rule.way for rule in read.rules] == ['chain = "direct"', "deny = true"]
    assert list(read.hops) == ["hop1"]


def test_a_list_of_nothing_that_can_be_a_hop_does_not_go_direct() -> None:
    text, is_whole = written(ProxychainsFile(proxies=proxies(1, Kind.RAW)))
    assert not is_whole
    assert [rule.way for rule in parse_config(text).rules] == ["deny = true"]


def test_the_port_is_one_at_which_no_proxy_listens() -> None:
    listed = [Proxy(1, Kind.SOCKS5, "127.0.0.1", 1080), Proxy(2, Kind.SOCKS5, "::1", 1081)]
    [listener] = config(ProxychainsFile(Mode.STRICT, proxies=listed)).server.listen
    assert str(listener) == "127.0.0.1:1082"


def test_remarks_stand_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "proxychains.conf").write_text("quiet_mode\n[ProxyList]\nsocks5 192.0.2.1 1080\n")
    text, is_whole = written(parse_proxychains(tmp_path / "proxychains.conf"))
    assert is_whole
    assert text.startswith("# Made by `chainsocks import` from proxychains.conf.")
    assert "# Line 1: quiet_mode: `chainsocks serve --quiet` logs warnings and errors only.\n" in text
