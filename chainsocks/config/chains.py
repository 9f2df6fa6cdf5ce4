"""Chains, groups and routes.

A `Chain` is what users declare: places in order, each held by a hop or by a `Group`, of which one hop at a time stands
there. A `Route` is a chain with all choices made: hops and nothing else. Only routes are dialled.

`Chain` and `Group` take their members one by one, as in ``Chain("socks5://a", "socks5://b")``, and check them. So they
have constructors of their own; apart from that they are frozen dataclasses like all others.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeVar

from chainsocks.config.environment import proxy_of
from chainsocks.config.extras import DNS, require
from chainsocks.config.hops import (
    Hop,
    Identity,
    Isolate,
    NamesOnly,
    NamesOnlyText,
    Pipeline,
    PipelineText,
    Resolve,
    parse_hop_url,
)
from chainsocks.config.options import (
    AddressLike,
    as_address,
    as_choice,
    as_count,
    as_flag,
    as_seconds,
    as_text,
    shown,
)
from chainsocks.config.values import parse_resolver, parse_target
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
from chainsocks.protocol.address import Address, printable
from chainsocks.protocol.masking import masked

__all__ = [
    "DIRECT",
    "MOST_WARM",
    "WARM_AGE",
    "WARM_IDLE",
    "Chain",
    "Group",
    "Pick",
    "PickText",
    "Route",
    "SameMember",
    "Udp",
    "UdpFilter",
    "UdpFilterText",
    "UdpText",
    "groups_of",
    "hops_of",
    "same_members",
    "seal_problem",
    "warm_problem",
]

MOST_WARM = 1000
"""The most ways that a chain keeps open: each is a connection through all hops."""

WARM_IDLE = 60.0
"""The default of `Chain.warm_idle`, in seconds."""

WARM_AGE = 300.0
"""The default of `Chain.warm_age`, in seconds."""


class Udp(StrEnum):
    """What a chain does with UDP ASSOCIATE."""

    NESTED = "nested"
    """Through an association at every hop, each opened through the hops before it."""
    REFUSE = "refuse"


class UdpFilter(StrEnum):
    """From where datagrams reach the client of a direct association (RFC 4787 section 5)."""

    ADDRESS_AND_PORT = "address-and-port"
    """From addresses and ports that the client has sent something to."""
    ADDRESS = "address"
    """From addresses that it has sent something to, whatever the port."""
    ANY = "any"
    """From anywhere, once it has sent something."""


class Pick(StrEnum):
    """The order in which the members of a group are tried. In each of them, members in backoff come last."""

    FAILOVER = "failover"
    """As declared."""
    ROUND_ROBIN = "round-robin"
    """Each request begins one further."""
    RANDOM = "random"
    """At random, by weight."""
    FASTEST = "fastest"
    """The shortest dial time first; another member takes over when it is clearly faster."""
    STICKY = "sticky"
    """The same client gets the same member for the same destination, as long as that member works."""


UdpText = Literal["nested", "refuse"]
UdpFilterText = Literal["address-and-port", "address", "any"]
PickText = Literal["failover", "round-robin", "random", "fastest", "sticky"]
# The members of the enums as they are written, for type checkers.


@dataclass(frozen=True, slots=True, init=False)
class Group:
    """Several hops, or groups of them, for one place in a chain. Hops may be given as URLs.

    Raises:
        ValueError: a URL that is not a hop's, no member, two members that are the same, weights that do not fit, or a
            value of another kind.
    """

    hops: tuple[Hop | Group, ...]
    name: str
    pick: Pick
    weights: tuple[float, ...]
    """One for each member, for `Pick.RANDOM`."""
    hedge: float | None
    """Seconds without success after which the next member is tried beside the first."""
    retry_refused: bool
    """Whether a refusal that tells of the destination is believed only when all members have reported it."""
    check: float | None
    """Seconds between two health checks of each member, by a server; None for no checks."""
    check_target: Address | None
    """What a member is asked to connect to in a health check; None for a greeting and a login only."""

    def __init__(
        self,
        *hops: Hop | Group | str,
        name: str = "group",
        pick: Pick | PickText = Pick.FAILOVER,
        weights: Sequence[float] = (),
        hedge: float | None = None,
        retry_refused: bool = False,
        check: float | None = None,
        check_target: AddressLike | None = None,
    ) -> None:
        if not hops:
            raise ValueError("a group needs at least one hop")
        members = _members(hops, "Group")
        if problem := next(same_members(members), None):
            raise ValueError(f"member {problem.index + 1} of the group: {problem}")
        _fill(
            self,
            hops=members,
            name=as_text(name, "the name of a group"),
            pick=as_choice(Pick, pick, "pick"),
            weights=_weights(weights, len(members)),
            hedge=None if hedge is None else as_seconds(hedge, "hedge"),
            retry_refused=as_flag(retry_refused, "retry_refused"),
            check=None if check is None or (seconds := as_seconds(check, "check")) == math.inf else seconds,
            check_target=None if check_target is None else as_address(check_target, "check_target", parse_target),
        )

    def with_each(self, change: Callable[[Hop], Hop]) -> Group:
        """Return the same group with each hop, in groups as well, changed."""
        return _with_hops(self, tuple(_change(self.hops, change)))


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
    """The DNS server for look-ups that the last hop does not do, asked through all hops. It takes the extra ``dns``."""
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
        members = _members(hops, "Chain")
        if resolver is not None:
            resolver = as_address(resolver, "resolver", parse_resolver)
            require(*DNS)
        skip_dead = as_flag(skip_dead, "skip_dead")
        length = None if length is None else as_count(length, "length")
        udp = None if udp is None else as_choice(Udp, udp, "udp")
        if length is not None and not (skip_dead and 1 <= length <= len(members)):
            raise ValueError("length needs skip_dead = true, and is at least 1 and at most the number of hops")
        unfit = next((why for hop in hops_of(members) if (why := hop.carries_no_udp)), None)
        if unfit and udp is Udp.NESTED:
            raise ValueError(f"{unfit}; use 'refuse'")
        warm = as_count(warm, "warm")
        if not 0 <= warm <= MOST_WARM:
            raise ValueError(f"warm is {warm}; write a number of ways from 0 to {MOST_WARM}")
        send_proxy = as_flag(send_proxy, "send_proxy")
        egress = egress_of(as_source(source), as_interface(interface), as_mark(mark))
        udp_filter = as_choice(UdpFilter, udp_filter, "udp_filter")
        if members and udp_filter is not UdpFilter.ADDRESS_AND_PORT:
            raise ValueError(f"udp_filter {udp_filter}: the last hop decides which datagrams come through it")
        if members and egress:
            raise ValueError(f"{egress}: the connection to the first hop is that hop's affair; move this to the hop")
        if warm and (problem := warm_problem(members, send_proxy=send_proxy)):
            raise ValueError(problem)
        seal = as_flag(seal, "seal")
        if seal and (problem := seal_problem(members, send_proxy=send_proxy, resolver=resolver)):
            raise ValueError(problem)
        _fill(
            self,
            hops=members,
            name=as_text(name, "the name of a chain"),
            dial=None if dial is None else as_seconds(dial, "dial"),
            udp=udp or (Udp.REFUSE if unfit else Udp.NESTED),
            resolver=resolver,
            names_only=as_choice(NamesOnly, names_only, "names_only"),
            hedge=None if hedge is None else as_seconds(hedge, "hedge"),
            skip_dead=skip_dead,
            length=length,
            pipeline=as_choice(Pipeline, pipeline, "pipeline"),
            warm=warm,
            warm_idle=as_seconds(warm_idle, "warm_idle"),
            warm_age=as_seconds(warm_age, "warm_age"),
            send_proxy=send_proxy,
            idle=None if idle is None else as_seconds(idle, "idle"),
            half_close=None if half_close is None else as_seconds(half_close, "half_close"),
            seal=seal,
            family=None if family is None else as_choice(Family, family, "family"),
            source=as_source(source),
            interface=as_interface(interface),
            mark=as_mark(mark),
            udp_filter=udp_filter,
        )
        _derive(self)

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
        why = next((f": {why}" for hop in hops_of(self.hops) if (why := hop.carries_no_udp)), "")
        return f"chain {self.name} carries no UDP{why}"

    def leaving_from(self, source: Address) -> Chain:
        """Return the same chain, with an address in place of `Same.SAME`."""
        chain = _with_hops(self, tuple(_change(self.hops, lambda hop: hop.leaving_from(source))))
        if self.source is Same.SAME:
            _fill(chain, source=(source,))
        _derive(chain)
        return chain

    def can_replace(self, hop: Hop) -> bool:
        """Tell whether a request can avoid `hop`: it is a member of a group, or the chain may leave it out."""
        groups = tuple(place for place in self.hops if isinstance(place, Group))
        return self.skip_dead or any(member.identity == hop.identity for member in hops_of(groups))

    def with_each(self, change: Callable[[Hop], Hop]) -> Chain:
        """Return the same chain with each hop, in groups as well, changed. What hops can carry has to stay the same."""
        chain = _with_hops(self, tuple(_change(self.hops, change)))
        _derive(chain)
        return chain

    def within(self, seconds: float) -> Chain:
        """Return the same chain with `seconds` for the whole dial."""
        chain = _with_hops(self, self.hops)
        _fill(chain, dial=seconds)
        _derive(chain)
        return chain


@dataclass(frozen=True, slots=True)
class Route:
    """One way through a chain: each of its places is held by one hop."""

    chain: Chain
    hops: tuple[Hop, ...]

    def __str__(self) -> str:
        return " -> ".join(hop.name for hop in self.hops) or "direct"


def hops_of(members: tuple[Hop | Group, ...]) -> Iterator[Hop]:
    """Yield all hops of a chain or a group, those of the groups in it too."""
    for member in members:
        if isinstance(member, Hop):
            yield member
        else:
            yield from hops_of(member.hops)


def groups_of(members: tuple[Hop | Group, ...]) -> Iterator[Group]:
    """Yield all groups of a chain or a group, those in groups too."""
    for member in members:
        if isinstance(member, Group):
            yield member
            yield from groups_of(member.hops)


@dataclass(frozen=True, slots=True)
class SameMember:
    """A member of a group that an earlier member is as well; as text, the complaint about it."""

    index: int
    member: Hop | Group
    earlier: Hop | Group

    def __str__(self) -> str:
        name, earlier = printable(masked(self.member.name)), printable(masked(self.earlier.name))
        if isinstance(self.member, Group) or self.member == self.earlier:
            return f"{name!r} is listed twice; take one out, or give `weights` to prefer it"
        return f"{name!r} is the same hop as {earlier!r}: same protocol, address and login; take one of them out"


def same_members(members: Sequence[Hop | Group]) -> Iterator[SameMember]:
    """Find the members that a group lists twice: groups that are equal, and hops of one identity."""
    first: dict[Identity, int] = {}
    for index, member in enumerate(members):
        earlier = members.index(member) if isinstance(member, Group) else first.setdefault(member.identity, index)
        if earlier < index:
            yield SameMember(index, member, members[earlier])


def warm_problem(members: tuple[Hop | Group, ...], *, send_proxy: bool) -> str | None:
    """Say why no way through the places of a chain can be opened before its session is known; None when it can be."""
    if send_proxy:
        return "warm ways are opened before their clients are known, which send_proxy tells of; take one of the two out"
    if not members:
        return "warm keeps ways through hops open, and the chain has no hops"
    for hop in hops_of(members):
        if hop.source is Same.SAME:
            return (
                f"warm ways are opened before their clients are known, and hop {printable(hop.name)} has "
                'source = "same", the address by which the client came in; take one of the two out'
            )
        if hop.isolate not in (Isolate.OFF, Isolate.SESSION):
            return (
                f"warm ways are opened before their sessions are known, and hop {printable(hop.name)} has a login for "
                f'each {hop.isolate}; give the hop isolate = "session", or take warm out'
            )
    return None


def seal_problem(members: tuple[Hop | Group, ...], *, send_proxy: bool, resolver: Address | None) -> str | None:
    """Say why the places of a chain cannot be sealed; None when they can be."""
    if not members:
        return "seal hides what hops need not see, and the chain has no hops"
    if send_proxy:
        return "send_proxy tells of the client in the clear, before TLS; take seal or send_proxy out"
    if resolver:
        return "with seal, the last hop resolves names; take resolver out"
    for hop in hops_of(members):
        name = printable(hop.name)
        if not hop.tls:
            return f"hop {name} is not spoken to in TLS, so the hops before it could read all that is sent to it"
        if hop.resolve is Resolve.LOCAL:
            return f'hop {name} has resolve = "local", which shows names to the local resolver; with seal, take it out'
    return None


def _members(hops: tuple[object, ...], name: str) -> tuple[Hop | Group, ...]:
    """Return the members of a chain or a group, read from URLs where they are given as such."""
    return tuple(_member(hop, name) for hop in hops)


def _member(hop: object, name: str) -> Hop | Group:
    match hop:
        case Hop() | Group():
            return hop
        case str():
            return parse_hop_url(hop)
        case Chain():
            raise ValueError(f"a chain is no member of a {name.lower()}; write {name}(*chain.hops)")
        case list() | tuple() | set() | frozenset() | Iterator():
            problem = f"the hops of a {name.lower()} are given one by one, not as a {type(hop).__name__}"
            raise ValueError(f'{problem}; write {name}(*hops), or {name}("socks5://127.0.0.1:9050", ...)')
    raise ValueError(f'a hop is {shown(hop)}; write a URL, such as "socks5://127.0.0.1:1080", a Hop or a Group')


def _weights(weights: object, count: int) -> tuple[float, ...]:
    if not isinstance(weights, tuple | list) or len(weights) not in (0, count):
        raise ValueError(f"weights has to be a list of one weight for each member, which are {count}")
    return tuple(_weight(weight) for weight in weights) or (1.0,) * count


def _weight(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"a weight is {shown(value)}; expected one weight for each member, all of them more than 0")
    return float(value)


ValueT = TypeVar("ValueT", Chain, Group)


def _change(members: tuple[Hop | Group, ...], change: Callable[[Hop], Hop]) -> Iterator[Hop | Group]:
    return (change(member) if isinstance(member, Hop) else member.with_each(change) for member in members)


def _with_hops(value: ValueT, hops: tuple[Hop | Group, ...]) -> ValueT:
    """Copy a value with other hops, without the checks of a constructor: isolated chains are made for each session."""
    copy: ValueT = object.__new__(type(value))
    _fill(copy, **{name: getattr(value, name) for name in value.__slots__} | {"hops": hops})
    return copy


def _derive(chain: Chain) -> None:
    """Compute what follows from the hops, once for all requests."""
    fixed = tuple(hop for hop in chain.hops if isinstance(hop, Hop))
    has_choice = chain.skip_dead or len(fixed) < len(chain.hops)
    isolates = any(hop.isolate is not Isolate.OFF for hop in hops_of(chain.hops))
    sources = (chain.source, *(hop.source for hop in hops_of(chain.hops)))
    _fill(
        chain,
        route=None if has_choice else Route(chain, fixed),
        isolates=isolates,
        egress=egress_of(chain.source, chain.interface, chain.mark),
        needs_arrival=Same.SAME in sources,
    )


def _fill(value: Chain | Group, **attributes: object) -> None:
    put = object.__setattr__
    for name, attribute in attributes.items():
        put(value, name, attribute)


DIRECT = Chain(name="direct")
"""The way without hops."""
