"""What `check` says of pipelining."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chainsocks.config.chains import Chain, hops_of
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config
from chainsocks.tools.check import show_config, warnings
from chainsocks.tools.pipelining import remark_on_chain, remark_on_hop, warn_of_pipelining

HOPS = """
[hops]
paris = "socks5://10.0.0.1"
osaka = { url = "socks5://10.0.0.2", pipeline = "hop" }
lima  = "socks5://10.0.0.3"
kyoto = { url = "socks5://10.0.0.4", pipeline = "off" }
[groups]
exits = ["osaka", "lima", "kyoto"]
[chains]
"""
WARNING = "pipelined: {}; only for hops that are known to keep what is sent ahead of their answers: "


def chain_of(written: str) -> Chain:
    return parse_config(f"{HOPS}default = {written}").chains["default"]


@pytest.mark.parametrize(
    ("written", "hops", "remarks"),
    [
        ('["paris", "lima"]', ["", ""], []),
        ('["paris", "osaka"]', ["", "pipelined: hop"], ["round trips: 7 instead of 9"]),
        (
            '{ hops = ["paris", "lima"], pipeline = "chain" }',
            ["pipelined: chain", "pipelined: chain"],
            ["asked at once: 1-2", "round trips: 5 instead of 9"],
        ),
        (
            '{ hops = ["paris", "osaka", "kyoto", "lima", "paris"], pipeline = "chain" }',
            ["pipelined: chain", "pipelined: hop", "", "pipelined: chain", "pipelined: chain"],
            ["asked at once: 1-2, 4-5", "round trips: 19 instead of 36"],
        ),
        # Which of them go along is decided with each request.
        (
            '{ hops = ["paris", "exits"], pipeline = "chain" }',
            ["pipelined: chain", "pipelined: hop", "pipelined: chain", ""],
            ["who is asked at once depends on who is chosen"],
        ),
        (
            '{ hops = ["paris", "kyoto"], pipeline = "chain", skip_dead = true }',
            ["pipelined: chain", ""],
            ["who is asked at once depends on who is chosen"],
        ),
        ('{ hops = ["kyoto", "paris"], skip_dead = true }', ["", ""], []),
    ],
)
def test_remarks(written: str, hops: list[str], remarks: list[str]) -> None:
    chain = chain_of(written)
    assert ["".join(remark_on_hop(hop, chain)) for hop in hops_of(chain.hops)] == hops
    assert list(remark_on_chain(chain)) == remarks


def test_a_warning_names_the_hops_once() -> None:
    config = parse_config(
        f'{HOPS}default = ["osaka", "paris"]\nslow = {{ hops = ["lima", "osaka"], pipeline = "hop" }}'
    )
    [warning] = warn_of_pipelining(config)
    assert warning.startswith(WARNING.format("osaka, lima"))
    assert warning in warnings(config)
    assert list(warn_of_pipelining(Config())) == []


def test_it_is_in_the_table() -> None:
    config = parse_config(f'{HOPS}default = {{ hops = ["paris", "lima"], pipeline = "chain", udp = "refuse" }}')
    output = io.StringIO()
    show_config(config, Console(file=output, width=150))
    first, second, all_of_it = [
        line for line in output.getvalue().splitlines() if "pipelined" in line or "trips" in line
    ]
    assert (first.split()[1:3], second.split()[:2]) == (["1", "paris"], ["2", "lima"])
    assert first.rstrip().endswith("  pipelined: chain")
    assert all_of_it.rstrip().endswith("  no UDP; asked at once: 1-2; round trips: 5 instead of 9")


def test_the_members_of_a_group_say_each_what_they_are_sent() -> None:
    config = parse_config(f'{HOPS}default = {{ hops = ["paris", "exits"], pipeline = "chain" }}')
    output = io.StringIO()
    show_config(config, Console(file=output, width=150))
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    assert [line.split()[0] for line in lines if line.endswith("pipelined: hop")] == ["osaka"]
    assert [line.split()[-4:] for line in lines if line.endswith("  pipelined: chain")] == [
        ["10.0.0.1:1080", "10", "pipelined:", "chain"],
        ["10.0.0.3:1080", "10", "pipelined:", "chain"],
    ]
    assert any(line.endswith("  who is asked at once depends on who is chosen") for line in lines)
    [warning] = warn_of_pipelining(config)
    assert warning.startswith(WARNING.format("paris, osaka, lima"))
