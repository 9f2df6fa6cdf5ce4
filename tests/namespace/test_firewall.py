"""The rules inside, as text; tests/namespace/test_enter.py has the kernel follow them."""

from __future__ import annotations

import socket

import pytest

from chainsocks.namespace import firewall
from chainsocks.namespace.firewall import Ports, datagram_rules_for, load_rules, rules_for
from tests.namespace.inside import run_inside

BOTH = {socket.AF_INET: Ports(1081, 1053), socket.AF_INET6: Ports(1082, 1054)}


def test_names_come_before_what_stays_and_that_before_the_rest() -> None:
    output = rules_for(BOTH).partition("chain input")[0]
    places = [
        output.index(text)
        for text in (
            "th dport 53 dnat ip to 127.198.18.1:1053",
            "th dport 53 dnat ip6 to [fd63:6861:696e::1]:1054",
            "ip daddr { 127.0.0.0/8, 198.18.0.1 } return",
            "ip6 daddr { ::1, fd63:6861:696e::1 } return",
            "meta l4proto tcp dnat ip to 127.198.18.1:1081",
            "meta l4proto tcp dnat ip6 to [fd63:6861:696e::1]:1082",
        )
    ]
    assert places == sorted(places)


def test_without_ipv6_there_is_no_rule_of_its() -> None:
    rules = rules_for({socket.AF_INET: Ports(1081, 1053)})
    assert "ip6 " not in rules
    assert rules.rstrip().endswith("reject with icmpx type admin-prohibited\n  }\n}")


def test_datagrams_to_loopback_stay() -> None:
    rules = datagram_rules_for({socket.AF_INET: Ports(1081, 1053, 1082)})
    stay = rules.index("ip daddr { 127.0.0.0/8, 198.18.0.1 } return")
    assert stay < rules.index("meta l4proto udp tproxy ip to 127.198.18.1:1082 meta mark set 29539 accept")
    assert "meta mark 29539 accept" in rules_for(BOTH).partition("chain input")[2]


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "LIBRARY", "libnosuchthing.so.1")
    with pytest.raises(OSError, match=r"libnosuchthing\.so\.1 is missing; install it .Debian.* libnftables1"):
        load_rules("")


def test_what_the_kernel_does_not_take_is_said() -> None:
    lines = """
from chainsocks.namespace.firewall import load_rules
try: load_rules("add rule inet nosuch nosuch accept")
except OSError as error: found = str(error)
"""
    assert "the kernel does not take the rules" in run_inside(lines)
