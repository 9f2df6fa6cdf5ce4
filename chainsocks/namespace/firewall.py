"""What becomes of the packets inside: nftables, by libnftables in this process.

1. TCP goes to the listeners, port 53 to the name server, over UDP as well, wherever it is addressed to. What is
   addressed to loopback is left alone, but for port 53.
2. UDP goes to a listener by tproxy, which keeps where it was sent to, where a chain carries it.
3. Anything else is refused as it arrives, so that programs fail at once: UDP with "port unreachable", so that QUIC
   falls back to TCP. Refused on its way out, a send would fail with EPERM, which programs take for something else.
4. ICMP echo is dropped: this kernel would answer, and ping would report a host that it has not reached.

The program `nft` would lose its capabilities under the own user id, and costs more.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from chainsocks.namespace.loopback import OWN_IPV4, OWN_IPV6

__all__ = ["DATAGRAMS_REFUSED", "Ports", "datagram_rules_for", "load_rules", "rules_for"]

LIBRARY = "libnftables.so.1"

_DATAGRAMS = "chainsocks_datagrams"
_MARK = 0x7363
"""Of datagrams that are handed to a listener. A program without capabilities cannot set it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the listeners of one family."""

    streams: int
    """For all TCP but port 53."""
    names: int
    """For port 53: UDP and TCP."""
    datagrams: int = 0
    """For all other UDP, where a chain carries it."""


_FAMILIES = {
    socket.AF_INET: ("ip", OWN_IPV4, "ip daddr { 127.0.0.0/8, 198.18.0.1 }"),
    socket.AF_INET6: ("ip6", f"[{OWN_IPV6}]", f"ip6 daddr {{ ::1, {OWN_IPV6} }}"),
}
"""For each family its word, where the listeners are, and what is local in it."""


def rules_for(ports: Mapping[socket.AddressFamily, Ports]) -> str:
    """Return the rules, as text of nft(8)."""
    here = [(*_FAMILIES[family], each) for family, each in ports.items()]
    to_names = [
        f"    meta nfproto {_proto(word)} meta l4proto {{ tcp, udp }} th dport 53 dnat {word} to {own}:{each.names}"
        for word, own, _, each in here
    ]
    stay = [f"    {local} return" for _, _, local, _ in here]
    to_listeners = [
        f"    meta nfproto {_proto(word)} meta l4proto tcp dnat {word} to {own}:{each.streams}"
        for word, own, _, each in here
    ]
    accept = [f"    {local} accept" for _, _, local, _ in here]
    return "\n".join(
        [
            "table inet chainsocks {",
            "  chain output {",
            "    type nat hook output priority -100; policy accept;",
            *to_names,
            *stay,
            *to_listeners,
            "  }",
            "  chain input {",
            "    type filter hook input priority 0; policy accept;",
            f"    meta mark {_MARK} accept",
            *accept,
            "    ct state established,related accept",
            "    icmp type echo-request drop",
            "    icmpv6 type echo-request drop",
            "    meta l4proto udp reject with icmpx type port-unreachable",
            "    reject with icmpx type admin-prohibited",
            "  }",
            "}",
        ]
    )


def datagram_rules_for(ports: Mapping[socket.AddressFamily, Ports]) -> str:
    """Return the rules that hand datagrams to their listeners, in place of refusing them."""
    here = [(*_FAMILIES[family], each) for family, each in ports.items()]
    return "\n".join(
        [
            f"table inet {_DATAGRAMS} {{",
            "  chain prerouting {",
            "    type filter hook prerouting priority -150; policy accept;",
            *(f"    {local} return" for _, _, local, _ in here),
            *(
                f"    meta nfproto {_proto(word)} meta l4proto udp tproxy {word} to {own}:{each.datagrams} "
                f"meta mark set {_MARK} accept"
                for word, own, _, each in here
            ),
            "  }",
            "}",
        ]
    )


DATAGRAMS_REFUSED = f"delete table inet {_DATAGRAMS}"
"""The rules that take those of `datagram_rules_for` back."""


def _proto(word: str) -> str:
    return "ipv4" if word == "ip" else "ipv6"


def load_rules(rules: str) -> None:
    """Have the kernel follow rules, in the network namespace of this process.

    Raises:
        OSError: libnftables is missing, or the kernel does not take them.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise OSError(
            f"{LIBRARY} is missing; install it (Debian and Ubuntu: apt-get install libnftables1; Fedora: "
            "dnf install nftables; Alpine: apk add nftables)"
        ) from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    library.nft_ctx_buffer_error.argtypes = library.nft_ctx_get_error_buffer.argtypes = (ctypes.c_void_p,)
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    context = library.nft_ctx_new(0)
    library.nft_ctx_buffer_error(context)
    if library.nft_run_cmd_from_buffer(context, rules.encode()):
        said = library.nft_ctx_get_error_buffer(context).decode(errors="replace").split("\n")[0]
        raise OSError(f"the kernel does not take the rules that redirect TCP (nf_tables, nft_nat, nft_reject): {said}")
