"""Groups, and the hops in them."""

from __future__ import annotations

import pytest

from chainsocks.config.chains import Chain
from chainsocks.config.choices import Pick, Udp
from chainsocks.config.groups import Group, hops_of


def test_the_hops_of_a_chain_are_those_of_its_groups_too() -> None:
    inner = Group("socks5://a", "socks5://b", name="inner")
    chain = Chain("socks5://c", Group(inner, "socks5://d", name="outer"))
    assert [hop.name for hop in hops_of(chain.hops)] == ["c:1080", "a:1080", "b:1080", "d:1080"]
    assert str(chain) == "c:1080 -> outer"


def test_a_group_carries_udp_if_all_its_hops_do() -> None:
    assert Chain(Group("socks5://a", "socks5://b")).udp is Udp.NESTED
    assert Chain(Group("socks5://a", "socks4a://b")).udp is Udp.REFUSE
    with pytest.raises(ValueError, match="hop b:1080 speaks socks4a"):
        Chain(Group("socks5://a", "socks4a://b"), udp=Udp.NESTED)


def test_a_pick_may_be_given_as_it_is_written() -> None:
    assert Group("socks5://a", pick=Pick("round-robin")).pick is Pick.ROUND_ROBIN


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, 0), (1, -1)])
def test_weights_that_do_not_fit(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="one weight for each member"):
        Group("socks5://a", "socks5://b", weights=weights)


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (("socks5://u:secret@gw", "socks5://gw", "socks5://u:secret@gw:1080"), "member 3 of the group: 'gw:1080' is"),
        ((Group("socks5://a"), Group("socks5://a")), "member 2 of the group: 'group' is listed twice"),
    ],
)
def test_members_that_are_the_same(members: tuple[str | Group, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        Group(*members)
    assert "secret" not in str(caught.value)


def test_a_group_has_members() -> None:
    with pytest.raises(ValueError, match="at least one hop"):
        Group()
