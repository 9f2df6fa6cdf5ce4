"""Chains and routes.

A `Chain` is what users declare: places in order, each held by a hop or by a `chainsocks.config.groups.Group`. A `Route`
is a chain with all choices made: hops and nothing else. Only routes are dialled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chainsocks.config.chain_problems import seal_problem, warm_problem
from chainsocks.config.choices import (
    Isolate,
    NamesOnly,
    NamesOnlyText,
    Pipeline,
    PipelineText,
    Udp,
    UdpFilter,
    UdpFilterText,
    UdpText,
)
from chainsocks.config.environment import proxy_of
from chainsocks.config.extras import DNS, require
from chainsocks.config.groups import Group, as_members, change_hops, fill, hops_of, with_hops
from chainsocks.config.hops import Hop
from chainsocks.config.options import (
    AddressLike,
    as_address,
    as_choice,
    as_count,
    as_flag,
    as_seconds,
    as_text,
)
from chainsocks.config.values import parse_resolver
from chainsocks.egress import (
    Egress,
    Family,
    FamilyText,
    Same,
    Source,
    SourceLike,
    as_interface,
    as_mark,
    as_source,
    egress_of,
)
from chainsocks.protocol.address import Address

__all__ = ["DIRECT", "MOST_WARM", "WARM_AGE", "WARM_IDLE", "Chain", "Route"]

MOST_WARM = 1000
"""The most ways that a chain keeps open: each is a connection through all hops."""

WARM_IDLE = 60.0
"""The default of `Chain.warm_idle`, in seconds."""

WARM_AGE = 300.0
"""The default of `Chain.warm_age`, in seconds."""


@dataclass(frozen=True, slots=True, init=False)
class Chain:
    """Places in order, each a hop or a group; the first is connected to. A chain without places is the direct way.

    Hops may be given as URLs, as in ``Chain("socks5://127.0.0.1:9050", "socks4a://fred@10.0.0.2:1080")``.

    Raises:
        ValueError: a URL that is not a hop's, UDP through hops that cannot carry it, a resolver without dnspython, a
            length that cannot be, warm ways for hops that depend on the session, a seal that does not hold, or a value
            of another kind.
    """

    hops: tuple[Hop | Group, ...]
    name: str
    dial: float | None
    """Seconds for the whole dial; None for ``[timeouts] dial``, ``math.inf`` for no limit."""
    udp: Udp
    """`Udp.NESTED` by default if all hops carry UDP (`Hop.carries_no_udp`)."""
    resolver: Address | None
    """The DNS server for lookups that the last hop does not do, asked through all hops. It takes the extra ``dns``."""
    names_only: NamesOnly
    """The listener has such a setting as well; the stricter one holds."""
    hedge: float | None
    """Seconds without success after which another route is tried beside the first."""
    skip_dead: bool
    """Whether hops in backoff, and hops that have failed for the same request, are left out; one at least stays.
    Otherwise a chain never gets shorter."""
    length: int | None
    """With `skip_dead`, how many hops a route has: the first ones that work."""
    pipeline: Pipeline
    """For each hop that has no setting of its own."""
    warm: int
    """How many ways a server keeps open up to the readiness of the last hop (`chainsocks.chain.warm`)."""
    warm_idle: float
    """Seconds after the last request until no way is kept open any more."""
    warm_age: float
    """Seconds for which a way is kept open, at most."""
    send_proxy: bool
    """Whether a PROXY protocol header comes first on each connection, to the first hop or a direct destination. It
    tells of the client whose request it is."""
    idle: float | None
    """Seconds without data after which a server ends a relay; None for ``[timeouts] idle``, ``math.inf`` for never."""
    half_close: float | None
    """The same after one side has finished; None for ``[timeouts] half_close``."""
    seal: bool
    """Whether each hop sees its neighbours only: all hops are spoken to in TLS, the last one resolves the names, and no
    TLS session is resumed, by which a hop could tell that two connections belong together."""
    family: Family | None
    """Which addresses of names are connected to that this machine looks up; None for all in the usual order. A first
    hop may have its own setting."""
    source: Source
    """Without hops, the address of this machine that connections and datagrams come from; also the following two."""
    interface: str | None
    """The interface that these use; None for the system's choice."""
    mark: int | None
    """The firewall mark of these; None for none."""
    udp_filter: UdpFilter
    """Without hops, from where datagrams reach the client; through hops, the last one decides."""
    egress: Egress | None = field(compare=False, repr=False)
    """Its source, its interface and its mark; None where it has none of them. Derived."""
    needs_arrival: bool = field(compare=False, repr=False)
    """Whether its source, or that of a hop, is the address by which the client came in. Derived."""
    route: Route | None = field(compare=False, repr=False)
    """The only route through this chain; None where there is a choice. Derived."""
    isolates: bool = field(compare=False, repr=False)
    """Whether any hop gets a login that depends on the session. Derived."""

    def __init__(
        self,
        *hops: Hop | Group | str,
        name: str = "default",
        dial: float | None = None,
        udp: Udp | UdpText | None = None,
        resolver: AddressLike | None = None,
        names_only: NamesOnly | NamesOnlyText = NamesOnly.OFF,
        hedge: float | None = None,
        skip_dead: bool = False,
        length: int | None = None,
        pipeline: Pipeline | PipelineText = Pipeline.OFF,
        warm: int = 0,
        warm_idle: float = WARM_IDLE,
        warm_age: float = WARM_AGE,
        send_proxy: bool = False,
        idle: float | None = None,
        half_close: float | None = None,
        seal: bool = False,
        family: Family | FamilyText | None = None,
        source: SourceLike = (),
        interface: str | None = None,
        mark: int | None = None,
        udp_filter: UdpFilter | UdpFilterText = UdpFilter.ADDRESS_AND_PORT,
    ) -> None:
        members = as_members(hops, "Chain")
        udp = None if udp is None else as_choice(Udp, udp, "udp")
        fill(
            self,
            hops=members,
            name=as_text(name, "the name of a chain"),
            dial=None if dial is None else as_seconds(dial, "dial"),
            udp=udp or (Udp.REFUSE if _carry_no_udp(members) else Udp.NESTED),
            resolver=None if resolver is None else as_address(resolver, "resolver", parse_resolver),
            names_only=as_choice(NamesOnly, names_only, "names_only"),
            hedge=None if hedge is None else as_seconds(hedge, "hedge"),
            skip_dead=as_flag(skip_dead, "skip_dead"),
            length=None if length is None else as_count(length, "length"),
            pipeline=as_choice(Pipeline, pipeline, "pipeline"),
            warm=as_count(warm, "warm"),
            warm_idle=as_seconds(warm_idle, "warm_idle"),
            warm_age=as_seconds(warm_age, "warm_age"),
            send_proxy=as_flag(send_proxy, "send_proxy"),
            idle=None if idle is None else as_seconds(idle, "idle"),
            half_close=None if half_close is None else as_seconds(half_close, "half_close"),
            seal=as_flag(seal, "seal"),
            family=None if family is None else as_choice(Family, family, "family"),
            source=as_source(source),
            interface=as_interface(interface),
            mark=as_mark(mark),
            udp_filter=as_choice(UdpFilter, udp_filter, "udp_filter"),
        )
        _derive(self)
        self._check()

    def _check(self) -> None:
        if self.resolver:
            require(*DNS)
        if self.length is not None and not (self.skip_dead and 1 <= self.length <= len(self.hops)):
            raise ValueError("length needs skip_dead = true, and is at least 1 and at most the number of hops")
        if self.udp is Udp.NESTED and (unfit := _carry_no_udp(self.hops)):
            raise ValueError(f"{unfit}; use 'refuse'")
        if not 0 <= self.warm <= MOST_WARM:
            raise ValueError(f"warm is {self.warm}; write a number of ways from 0 to {MOST_WARM}")
        if self.hops and self.udp_filter is not UdpFilter.ADDRESS_AND_PORT:
            raise ValueError(f"udp_filter {self.udp_filter}: the last hop decides which datagrams come through it")
        if self.hops and self.egress:
            advice = "the connection to the first hop is that hop's affair; move this to the hop"
            raise ValueError(f"{self.egress}: {advice}")
        if self.warm and (problem := warm_problem(self.hops, send_proxy=self.send_proxy)):
            raise ValueError(problem)
        if self.seal and (problem := seal_problem(self.hops, send_proxy=self.send_proxy, resolver=self.resolver)):
            raise ValueError(problem)

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, *, default: Chain | None = None) -> Chain:
        """Return the chain of the proxy that the environment names (`chainsocks.config.environment`).

        `environment` is that of the process, unless it is given. Where it names no proxy, `default` is returned, and
        without it there is an error: nothing is direct by mistake. ``NO_PROXY`` is not read: a chain has no rules.

        Raises:
            ValueError: there is no proxy and no default, or the variable is no URL of one.
        """
        if hop := proxy_of(os.environ if environment is None else environment):
            return cls(hop)
        if default is None:
            advice = "set ALL_PROXY to a URL such as socks5h://127.0.0.1:9050, or pass default=chainsocks.DIRECT"
            raise ValueError(f"no proxy is in the environment; {advice}")
        return default

    def __str__(self) -> str:
        return " -> ".join(hop.name for hop in self.hops) or "direct"

    @property
    def carries_no_udp(self) -> str | None:
        """The reason why UDP ASSOCIATE is refused, with the hop that it is due to; None where it is served."""
        if self.udp is not Udp.REFUSE:
            return None
        why = _carry_no_udp(self.hops)
        return f"chain {self.name} carries no UDP" + (f": {why}" if why else "")

    def leaving_from(self, source: Address) -> Chain:
        """Return the same chain, with an address in place of `Same.SAME`."""
        chain = with_hops(self, tuple(change_hops(self.hops, lambda hop: hop.leaving_from(source))))
        if self.source is Same.SAME:
            fill(chain, source=(source,))
        _derive(chain)
        return chain

    def can_replace(self, hop: Hop) -> bool:
        """Tell whether a request can avoid `hop`: it is a member of a group, or the chain may leave it out."""
        groups = tuple(place for place in self.hops if isinstance(place, Group))
        return self.skip_dead or any(member.identity == hop.identity for member in hops_of(groups))

    def with_each(self, change: Callable[[Hop], Hop]) -> Chain:
        """Return the same chain with each hop, in groups as well, changed. What hops can carry has to stay the same."""
        chain = with_hops(self, tuple(change_hops(self.hops, change)))
        _derive(chain)
        return chain

    def within(self, seconds: float) -> Chain:
        """Return the same chain with `seconds` for the whole dial."""
        chain = with_hops(self, self.hops)
        fill(chain, dial=seconds)
        _derive(chain)
        return chain


@dataclass(frozen=True, slots=True)
class Route:
    """One way through a chain: each of its places is held by one hop."""

    chain: Chain
    hops: tuple[Hop, ...]

    def __str__(self) -> str:
        return " -> ".join(hop.name for hop in self.hops) or "direct"


def _carry_no_udp(members: tuple[Hop | Group, ...]) -> str | None:
    """Return the reason why there is no UDP through some hops; None when there may be."""
    return next((why for hop in hops_of(members) if (why := hop.carries_no_udp)), None)


def _derive(chain: Chain) -> None:
    """Compute what follows from the hops, once for all requests."""
    fixed = tuple(hop for hop in chain.hops if isinstance(hop, Hop))
    has_choice = chain.skip_dead or len(fixed) < len(chain.hops)
    isolates = any(hop.isolate is not Isolate.OFF for hop in hops_of(chain.hops))
    sources = (chain.source, *(hop.source for hop in hops_of(chain.hops)))
    fill(
        chain,
        route=None if has_choice else Route(chain, fixed),
        isolates=isolates,
        egress=egress_of(chain.source, chain.interface, chain.mark),
        needs_arrival=Same.SAME in sources,
    )


DIRECT = Chain(name="direct")
"""The way without hops."""
