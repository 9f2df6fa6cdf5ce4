"""Chains, and the hops in them."""

from __future__ import annotations

import dataclasses

import pytest

from chainsocks.config.chains import DIRECT, Chain, Route
from chainsocks.config.choices import Pick, Udp, UdpFilter
from chainsocks.config.groups import Group, hops_of
from chainsocks.config.hops import Hop, parse_hop_url
from chainsocks.config.kinds import HopProtocol
from chainsocks.config.load import parse_config
from chainsocks.errors import ConfigError
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import UserId

SOCKS4, SOCKS4A, SOCKS5, HTTP = HopProtocol


def test_a_chain_is_made_of_urls_and_hops_in_order() -> None:
    paris = parse_hop_url("socks5://paris.example", "paris")
    chain = Chain(paris, "socks4a://fred@10.0.0.2:1081", name="onion", dial=90)
    assert chain.hops == (paris, Hop("10.0.0.2:1081", SOCKS4A, Address("10.0.0.2", 1081), UserId(b"fred")))
    assert (chain.name, chain.dial, str(chain)) == ("onion", 90, "paris -> 10.0.0.2:1081")


def test_the_defaults_of_a_chain() -> None:
    chain = Chain("socks5://paris.example")
    assert (chain.name, chain.dial) == ("default", None)


def test_a_chain_of_no_hops_is_the_direct_way() -> None:
    assert (DIRECT.hops, DIRECT.name, str(DIRECT)) == ((), "direct", "direct")


def test_a_chain_is_a_value() -> None:
    chain = Chain("socks5://paris.example")
    assert chain == Chain(parse_hop_url("socks5://paris.example"))
    assert hash(chain) == hash(Chain("socks5://paris.example"))
    assert chain != Chain("socks5://paris.example", dial=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chain.hops = ()  # type: ignore[misc]


def test_a_chain_has_no_resolver_of_its_own_accord() -> None:
    assert Chain("socks5://paris.example").resolver is None


def test_a_chain_refuses_what_is_no_hop() -> None:
    with pytest.raises(ValueError, match="did you mean 'socks5'"):
        Chain("socks5://paris.example", "sock5://osaka.example")


@pytest.mark.parametrize(
    ("urls", "udp"),
    [
        ((), Udp.NESTED),
        (("socks5://paris.example", "socks5://osaka.example"), Udp.NESTED),
        (("socks5://paris.example", "socks4a://osaka.example"), Udp.REFUSE),
        (("socks4://10.0.0.1", "socks5://osaka.example"), Udp.REFUSE),
    ],
)
def test_udp_is_carried_where_all_hops_can(urls: tuple[str, ...], udp: Udp) -> None:
    assert Chain(*urls).udp is udp
    assert Chain(*urls, udp=Udp.REFUSE).udp is Udp.REFUSE


def test_socks4_carries_no_udp() -> None:
    with pytest.raises(ValueError, match=r"hop osaka.example:1080 speaks socks4a, and only socks5 carries UDP"):
        Chain("socks5://paris.example", "socks4a://osaka.example", udp=Udp.NESTED)


def test_the_only_route_of_a_chain_is_the_chain() -> None:
    chain = Chain("socks5://paris.example", "socks5://osaka.example")
    assert chain.route == Route(
        chain, (parse_hop_url("socks5://paris.example"), parse_hop_url("socks5://osaka.example"))
    )
    assert str(chain.route) == str(chain)


@pytest.mark.parametrize(
    "chain",
    [Chain(Group("socks5://paris.example")), Chain("socks5://paris.example", skip_dead=True)],
    ids=["a group", "skip_dead"],
)
def test_where_there_is_a_choice_there_is_no_only_route(chain: Chain) -> None:
    assert chain.route is None


def test_with_other_hops_everything_else_is_as_it_was() -> None:
    group = Group("socks5://a", "socks5://b", name="exits", pick=Pick.RANDOM, weights=(1, 2), hedge=3, check=4)
    chain = Chain("socks5://c", group, name="x", dial=5, hedge=6, skip_dead=True, length=2, pipeline="chain")
    assert chain.with_each(lambda hop: hop) == chain
    changed = chain.with_each(lambda hop: dataclasses.replace(hop, timeout=7))
    assert [hop.timeout for hop in hops_of(changed.hops)] == [7, 7, 7]
    assert changed.with_each(lambda hop: dataclasses.replace(hop, timeout=None)) == chain


@pytest.mark.parametrize(("skip_dead", "length"), [(False, 1), (True, 0), (True, 3)])
def test_a_length_that_cannot_be(skip_dead: bool, length: int) -> None:  # noqa: FBT001
    with pytest.raises(ValueError, match="length needs skip_dead"):
        Chain("socks5://a", "socks5://b", skip_dead=skip_dead, length=length)


@pytest.mark.parametrize("warm", [-1, 1001])
def test_a_number_of_warm_ways_that_cannot_be(warm: int) -> None:
    with pytest.raises(ValueError, match=f"warm is {warm}; write a number of ways from 0 to 1000"):
        Chain("socks5://a", warm=warm)


def test_a_sealed_chain() -> None:
    chain = Chain("socks5+tls://a", Group("https://b", "socks4a+tls://c"), seal=True)
    assert chain.seal
    assert chain.udp is Udp.REFUSE
    assert chain.with_each(lambda hop: hop).seal
    assert chain != Chain("socks5+tls://a", Group("https://b", "socks4a+tls://c"))


RESOLVING = '{ to = "10.0.0.0/8", resolve = true, chain = "direct" }'


@pytest.mark.parametrize(
    ("sealed", "rules", "is_problem"),
    [
        ("default", RESOLVING, True),
        ("default", f'{{ to = "a.example", chain = "default" }}, {RESOLVING}', True),
        ("other", RESOLVING, False),
        ("other", f'{RESOLVING}, {{ chain = "other" }}', True),
        ("other", f'{{ to = "a.example", chain = "other" }}, {RESOLVING}', False),
        ("other", '{ to = "10.0.0.0/8", resolve = true, chain = "other" }', True),
    ],
)
def test_rules_that_show_names_of_a_sealed_chain(sealed: str, rules: str, is_problem: bool) -> None:  # noqa: FBT001
    """They are decided before the rules behind them, and before the default chain."""
    chains = {name: f'{{ hops = ["a"], seal = {str(name == sealed).lower()} }}' for name in ("default", "other")}
    text = f'rules = [{rules}]\n[hops]\na = "socks5+tls://a"\n[chains]\n'
    text += "".join(f"{name} = {table}\n" for name, table in chains.items())
    if is_problem:
        complaint = rf"rules\[.\]\.resolve: it shows names to the local resolver, and chain {sealed} has seal"
        with pytest.raises(ConfigError, match=complaint):
            parse_config(text)
    else:
        assert parse_config(text).chains[sealed].seal


def test_where_the_problem_is() -> None:
    text = '[hops]\na = "socks5://a"\n[chains]\nx = { hops = ["a"], seal = true }\n'
    with pytest.raises(ConfigError, match=r"chains\.x\.seal: hop a is not spoken to in TLS"):
        parse_config(text)


def test_the_last_hop_decides_which_datagrams_come_in() -> None:
    assert Chain(udp_filter="any").udp_filter is UdpFilter.ANY
    with pytest.raises(ValueError, match="udp_filter any: the last hop decides"):
        Chain("socks5://a", udp_filter="any")
    text = '[hops]\na = "socks5://a"\n[chains]\nx = { hops = ["a"], udp_filter = "any" }'
    with pytest.raises(ConfigError, match="udp_filter cannot be used in a chain with hops"):
        parse_config(text)
