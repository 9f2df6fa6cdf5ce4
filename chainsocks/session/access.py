"""Where the direct connections and datagrams of a session may go.

1. None may go to a listener of this server (`chainsocks.session.own_listeners`).
2. A client that came in by a listener beyond loopback, or whose connection was redirected, gets no direct way to
   loopback, link-local and unspecified addresses, nor to the machine's own. Hosts of private networks (RFC 1918,
   RFC 4193) are allowed. A listener for load balancers counts as one beyond loopback, wherever it is and whatever
   client its header names: "loopback" is then that of the load balancer's machine.
3. A rule lifts that for a host, or for a network within those ranges, that its ``to`` names. With
   ``[server] private = true`` it does not hold.

The judgement is about the address that is really connected to, after every lookup, and about an IPv4 address inside an
IPv6 one as well. squid and tor have such defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple

from chainsocks.config.listeners import Listener
from chainsocks.config.rules import PRIVATE_NETWORKS, Rule
from chainsocks.protocol.address import Address
from chainsocks.protocol.messages import Request
from chainsocks.routing.rules import Caller
from chainsocks.session.own_listeners import OwnListeners, addresses_in, is_own
from chainsocks.session.service import Service

__all__ = ["Access", "datagram_access", "is_private"]


def is_private(host: str) -> bool:
    """Return whether an IP address is a private place of this machine; an address of the machine itself is one."""
    return any(
        any(ip in network for network in PRIVATE_NETWORKS) or is_own(str(ip))
        for ip in addresses_in(ip_address(host.partition("%")[0]))
    )


class Access(NamedTuple):
    """Where one session may connect to."""

    own: OwnListeners
    private: bool = True
    """Whether it may connect to private places."""
    rule: Rule | None = None
    """The rule that decided on the request."""

    @classmethod
    def of(cls, service: Service, listener: Listener, rule: Rule | None) -> Access:
        """Return the access of a client that came in by `listener`."""
        return cls(service.own_listeners, service.config.server.private or listener.is_home, rule)

    def problem(self, destination: Address, address: Address, is_hop: bool = False) -> str | None:  # noqa: FBT001, FBT002
        """Say why there is no connection to `address`, an address of `destination`; None when there may be one."""
        if self.own.covers(address):
            return "this server listens there: the connection would lead back to it"
        return None if is_hop else self.private_problem(destination, address)

    def private_problem(self, destination: Address, address: Address) -> str | None:
        """Say why nothing is sent to `address` for its being private; None when it may be."""
        if self.private or not is_private(address.host):
            return None
        if self.rule and self.rule.names_host(destination, address):
            return None
        return (
            f"{address.host} is a private place of this machine; a rule that allows it has "
            f'to = [{json.dumps(destination.host)}] and chain = "direct"'
        )


def datagram_access(
    service: Service, listener: Listener, request: Request, caller: Caller
) -> Callable[[Address, Address], bool] | None:
    """Return what judges where datagrams go directly, by the rule of each; None if all of them may go anywhere."""
    own, anywhere = service.own_listeners, service.config.server.private or listener.is_home
    if anywhere:
        return (lambda _, address: not own.take_datagrams_at(address)) if own.has_datagrams else None
    router = service.policy_of(listener).router

    def allowed(destination: Address, address: Address) -> bool:
        if own.take_datagrams_at(address):
            return False
        rule = router.decide_datagram(request, caller, destination).rule if router.has_rules else None
        return Access.of(service, listener, rule).private_problem(destination, address) is None

    return allowed
