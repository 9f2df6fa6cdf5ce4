"""What a probe has found out: a report on each hop, the members of groups, and what follows for the whole.

Nothing here asks anything. The walks, the questions and the tests of pipelining support fill the reports
(`chainsocks.tools.probe.run`); text and JSON show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from chainsocks.chain.pipeline_check import Finding, Support
from chainsocks.config.chains import Route
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import hops_of
from chainsocks.config.hops import Hop
from chainsocks.protocol.address import printable
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.certificates import Secured
from chainsocks.tools.probe.questions import Ability, Question
from chainsocks.tools.probe.walk import Walk, WarmRequest
from chainsocks.tools.step_times import Taken

__all__ = [
    "ChainSetting",
    "HopReport",
    "HopState",
    "Kind",
    "Loss",
    "Member",
    "ProbeReport",
    "Standing",
    "chain_setting",
]

_LOGINS = {
    State.SUB_NEGOTIATION: "username/password",
    State.GSSAPI_CONTEXT: "GSSAPI",
    State.GSSAPI_PROTECTION: "GSSAPI",
}
"""The steps of a login, and its name."""


class HopState(StrEnum):
    """How far the walk came with a hop. The values stand in the JSON."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"


class Loss(StrEnum):
    """What a hop loses although its `pipeline` setting says that it does not. The values stand in the JSON."""

    OWN = "its own messages where they come at once"
    BEHIND = "what comes behind its request"


@dataclass(frozen=True, slots=True)
class HopReport:
    """What is known of the hop at `position` (from 1) in `walk`."""

    walk: Walk
    position: int
    abilities: Mapping[Question, Ability] = field(default_factory=dict)
    """What the hop can do beyond the walk; empty where it was not asked."""
    support: Finding | None = None
    """What the hop supports of pipelining; None where that was not tested."""

    @property
    def hop(self) -> Hop:
        """The hop itself."""
        return self.walk.route.hops[self.position - 1]

    @property
    def label(self) -> str:
        """The hop's name with its position, as errors have it."""
        return f"{self.hop.name} ({self.position} of {len(self.walk.route.hops)})"

    @property
    def steps(self) -> list[Taken]:
        """The hop's steps in the walk."""
        return self.walk.steps(self.position)

    @property
    def state(self) -> HopState:
        """How far the walk came with the hop."""
        if self.position <= self.walk.passed:
            return HopState.PASSED
        return HopState.FAILED if self.position == self.walk.failed_at else HopState.NOT_REACHED

    @property
    def secured(self) -> Secured | None:
        """The hop's TLS; None if it speaks none, or the walk did not come to that."""
        return self.walk.secured.get(self.position)

    @property
    def login(self) -> str | None:
        """How we log in to the hop; None where the walk did not come to that."""
        hop, steps = self.hop, [step.place.step for step in self.steps]
        answered = self.position <= self.walk.answered
        if hop.kind.open_greeting is None:
            return ("user id" if hop.credentials else "none") if answered else None
        for step in steps:
            if isinstance(step, State) and step in _LOGINS:
                return _LOGINS[step]
        return "none" if State.REQUEST in steps or answered else None

    @property
    def setting(self) -> Pipeline:
        """The `pipeline` setting that holds for the hop: its own, or its chain's."""
        return self.hop.pipelined(self.walk.route.chain.pipeline)

    @property
    def is_last(self) -> bool:
        """Whether no hop ever follows. Where hops may be left out, only the hops of the chain's last place are sure."""
        route = self.walk.route
        if not route.chain.skip_dead:
            return self.position == len(route.hops)
        return self.hop in hops_of(route.chain.hops[-1:]) and self.hop not in hops_of(route.chain.hops[:-1])

    @property
    def fit(self) -> Pipeline:
        """The highest `pipeline` setting of its chain that the hop is known to support."""
        if self.support is None:
            return Pipeline.OFF
        if self.is_last and self.support.own is Support.SUPPORTED:
            return Pipeline.CHAIN  # nothing ever comes behind its request
        return self.support.pipeline

    @property
    def loss(self) -> Loss | None:
        """What the hop is known to lose with its present setting. A setting of its own has to hold at any position."""
        if self.support is None or self.setting is Pipeline.OFF:
            return None
        if self.support.own is Support.UNSUPPORTED:
            return Loss.OWN
        sends_behind = self.setting is Pipeline.CHAIN and (self.hop.pipeline is not None or not self.is_last)
        return Loss.BEHIND if sends_behind and self.support.behind is Support.UNSUPPORTED else None


class Standing(StrEnum):
    """The state of a member. The values stand in the JSON."""

    WORKS = "works"
    FAILED = "failed"
    UNDECIDED = "stuck"
    """It answers, but the next hop was not reached; no other member reached it either."""
    NOT_REACHED = "not reached"
    """An earlier hop failed."""
    NOT_USED = "not used"
    """No route has it at this place: it is needed at another one."""


@dataclass(frozen=True, slots=True)
class Member:
    """A hop at a place of a chain, counted from 1, where it is one of several or may be left out."""

    place: int
    hop: Hop
    group: str | None
    """The group that it is a member of; None for a hop that the chain may leave out."""
    report: HopReport | None = None
    """The report on it, in the walk that shows its state; None if it was not used."""
    standing: Standing = Standing.NOT_USED

    def position_in(self, route: Route) -> int:
        """Return the position, from 1, at which the member holds its place in a route; 0 if another hop does."""
        if not route.chain.skip_dead:
            return self.place if route.hops[self.place - 1] == self.hop else 0
        return route.hops.index(self.hop) + 1 if self.hop in route.hops else 0

    def seen_in(self, walk: Walk) -> Member:
        """Return the member with a report that says what `walk` shows of it."""
        return replace(self, report=HopReport(walk, self.position_in(walk.route)))


@dataclass(frozen=True, slots=True)
class ChainSetting:
    """The highest setting that is safe for a whole chain: for all of its hops that have no setting of their own."""

    pipeline: Pipeline
    because: tuple[str, ...]
    """The hops that are not known to support more; none where there is no more."""
    apart: tuple[str, ...]
    """The hops that have a setting of their own."""


def chain_setting(reports: Sequence[HopReport]) -> ChainSetting | None:
    """Return the lowest of what the hops of a chain support; None where all have a setting of their own.

    Hops with a login by GSSAPI do not count: they are never pipelined, whatever the setting is.
    """
    free = [one for one in reports if one.hop.pipeline is None and not isinstance(one.hop.credentials, Gssapi)]
    if not free:
        return None
    least = min((one.fit for one in free), key=list(Pipeline).index)
    because = [one for one in free if one.fit is least] if least is not Pipeline.CHAIN else []
    return ChainSetting(least, _names(because), _names(one for one in reports if one.hop.pipeline is not None))


def _names(reports: Iterable[HopReport]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.hop.name for one in reports))


class Kind(StrEnum):
    """What was probed. The values stand in the JSON."""

    CHAIN = "chain"
    HOP = "hop"
    """One hop alone, reached directly."""
    GROUP = "group"
    """The hops of a group, each alone, reached directly."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was found out about one chain, hop or group."""

    kind: Kind
    name: str
    walk: Walk
    """The walk that is shown: the first that succeeded, or the first of all if none did."""
    hops: Sequence[HopReport] = ()
    """The reports on the hops of `walk`, in their order."""
    members: Sequence[Member] = ()
    count: int = 1
    """Of how many walks the times are the medians."""
    pipelining: bool = False
    """Whether pipelining support was tested."""
    warm: WarmRequest | None = None
    """A request on a warm way; None where the chain has none, or nothing is asked for."""

    @property
    def fine(self) -> bool:
        """Whether there is a way through."""
        return self.walk.error is None

    @property
    def all_hops(self) -> list[HopReport]:
        """The reports on all hops that were walked to: those of the walk that is shown, then those of other members."""
        others = [one.report for one in self.members if one.report and not one.position_in(self.walk.route)]
        return [*self.hops, *others]

    @property
    def dead(self) -> list[Member]:
        """The members that have failed."""
        return [member for member in self.members if member.standing is Standing.FAILED]

    @property
    def setting(self) -> ChainSetting | None:
        """The safe `pipeline` setting of a chain whose hops were tested."""
        return chain_setting(self.all_hops) if self.pipelining and self.kind is Kind.CHAIN else None

    @property
    def overstated(self) -> list[str]:
        """The hops whose `pipeline` setting is higher than they support."""
        return list(dict.fromkeys(printable(one.hop.name) for one in self.all_hops if one.loss))

    @property
    def title(self) -> str:
        """What was probed, for people."""
        return f"{self.kind} {printable(self.name)}"
