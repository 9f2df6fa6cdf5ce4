"""What a probe has found, as pictures and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rich.console import Console
from rich.table import Table

from chainsocks.chain.blame import Confidence, judge
from chainsocks.config.chains import Group
from chainsocks.protocol.address import printable
from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.keeping import Fitness, may_be_pipelining
from chainsocks.tools.probe.members import Member, Seat, Standing
from chainsocks.tools.probe.picture import ASCII, SIGNS, picture
from chainsocks.tools.probe.pipelining import HINT, Common, Row, common_key, complaints, kept_table, reasons
from chainsocks.tools.probe.questions import Answer, Finding, Findings, Question
from chainsocks.tools.probe.walk import Walked
from chainsocks.tools.steps import Apart, hop_names, milliseconds, step_table

__all__ = ["Kind", "Probed", "show", "show_summary"]


class Kind(StrEnum):
    """What was walked."""

    CHAIN = "chain"
    HOP = "hop"
    """One hop by itself, straight from here."""
    GROUP = "group"
    """The hops of a group, each by itself, straight from here."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A walk, and what the hops that answered were found to do; and the members of groups beside it."""

    kind: Kind
    name: str
    walked: Walked
    findings: Mapping[int, Findings] = field(default_factory=dict)
    count: int = 1
    """Of how many walks the times are the medians."""
    members: Sequence[Member] = ()
    member_findings: Mapping[Seat, Findings] = field(default_factory=dict)
    """Of those that are not in the walk."""
    fitness: Fitness | None = None
    """What is known of pipelining; None where that was not asked."""

    @property
    def fine(self) -> bool:
        """Whether there is a way through."""
        return self.walked.failure is None

    @property
    def others(self) -> list[Member]:
        """The members that are not in the walk."""
        return [member for member in self.members if not member.stands_in(self.walked.route)]

    @property
    def dead(self) -> list[Member]:
        """The members that have failed."""
        return [member for member in self.members if member.standing is Standing.FAILED]

    @property
    def rows(self) -> list[Row]:
        """What is known of pipelining, hop by hop."""
        if self.fitness is None:
            return []
        hops, others = self.walked.route.hops, [(one, one.walked) for one in self.others if one.walked]
        rows = [
            Row(name, hop, self.fitness.hops.get(position))
            for position, (name, hop) in enumerate(zip(hop_names(hops), hops, strict=True), 1)
        ]
        return rows + [
            Row(hop_names(walked.route.hops)[one.position - 1], one.seat.hop, self.fitness.members.get(one.seat))
            for one, walked in others
        ]

    @property
    def common(self) -> Common | None:
        """What may be written on the chain of `rows`, if it is one."""
        return common_key(self.rows) if self.kind is Kind.CHAIN else None

    @property
    def overstated(self) -> list[str]:
        """The hops of which more is written than they are known to do."""
        return list(dict.fromkeys(printable(row.hop.name) for row in self.rows if row.kept and row.kept.lost))

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.kind} {printable(self.name)}"


def show(probed: Probed, console: Console) -> None:
    """Print a picture, a row for each step, hop and member, and what there is to say about failures."""
    walked = probed.walked
    console.print(f"{probed.title}: {_purpose(probed)}")
    console.print()
    signs = ASCII if console.options.ascii_only else SIGNS
    console.print(picture(walked, signs, probed.members), soft_wrap=True)
    console.print()
    if probed.kind is not Kind.GROUP:
        console.print(step_table(walked.taken, walked.route.hops, _silent(walked), list(_apart(probed))))
        if walked.route.hops:
            console.print()
            console.print(_hop_table(probed))
        for note in _notes(probed):
            console.print(f"  {note}")
        console.print()
        if probed.rows:
            console.print(kept_table(probed.rows))
            for reason in reasons(probed.rows, probed.common):
                console.print(f"  {reason}")
            console.print()
    if probed.members:
        console.print(_member_table(probed))
        console.print()
    console.print("\n".join(_verdict(probed)))


def show_summary(all_probed: Sequence[Probed], console: Console) -> None:
    """Print a row for each walk."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for probed in all_probed:
        table.add_row(probed.title, _outcome(probed), f"{_total(probed)} ms")
    console.print(table)


def _purpose(probed: Probed) -> str:
    route, destination = probed.walked.route, probed.walked.destination
    if probed.kind is Kind.HOP:
        return "by itself, straight from here, and asked for nothing"
    if probed.kind is Kind.GROUP:
        return "its members, each by itself, straight from here, and asked for nothing"
    if destination is None:
        return "as far as its last hop, which is asked for nothing (name a HOST:PORT to ask it for that)"
    if not route.hops:
        return f"no hops, straight to {destination}"
    last = "the last hop" if probed.members else printable(route.hops[-1].name)
    return f"to {destination}, which only {last} is told"


def _silent(walked: Walked) -> list[Apart]:
    """Return the hops that took no step, and why."""
    named = zip(hop_names(walked.route.hops), walked.route.hops, strict=True)
    return [
        Apart(name, hop, "not reached" if position > walked.passed else "nothing to say yet")
        for position, (name, hop) in enumerate(named, 1)
        if not walked.steps[position]
    ]


def _hop_table(probed: Probed) -> Table:
    table = Table("hop", "login", "names", "UDP", "IPv6", box=None, pad_edge=False)
    for walked, position, findings in _hops(probed):
        name = hop_names(walked.route.hops)[position - 1]
        known = findings or {}
        answers = (known[question].answer.value if question in known else "-" for question in Question)
        table.add_row(printable(name), walked.login(position) or "-", *answers)
    return table


def _hops(probed: Probed) -> Iterator[tuple[Walked, int, Findings | None]]:
    """Go through all hops, each in the walk that tells of it, with its position there and what was found of it."""
    for position in range(1, len(probed.walked.route.hops) + 1):
        yield probed.walked, position, probed.findings.get(position)
    for member in probed.others:
        if member.walked:
            yield member.walked, member.position, probed.member_findings.get(member.seat)


def _apart(probed: Probed) -> Iterator[Apart]:
    """Return the steps of those that stand beside the walk, each in its own."""
    for member in probed.others:
        if member.walked:
            walked, position = member.walked, member.position
            name = hop_names(walked.route.hops)[position - 1]
            why = "nothing to say yet" if member.standing is Standing.WORKS else "not reached"
            yield Apart(name, member.seat.hop, why, walked.steps[position])


def _member_table(probed: Probed) -> Table:
    table = Table("group", "member", "state", box=None, pad_edge=False)
    table.add_column("ms", justify="right")
    previous: Seat | None = None
    for member in probed.members:
        seat, walked = member.seat, member.walked
        same = previous is not None and (previous.place, previous.group) == (seat.place, seat.group)
        group = "" if same and seat.group else printable(seat.group or "(may be left out)")
        works = walked is not None and walked.failure is None
        total = milliseconds(walked.seconds) if walked and works else ""
        table.add_row(group, printable(seat.hop.name), member.standing.value, total)
        previous = seat
    return table


_TITLES = {Question.NAMES: "names", Question.UDP: "UDP", Question.IPV6: "IPv6"}


def _notes(probed: Probed) -> Iterator[str]:
    """Say what the answers other than yes were taken from, once for all hops that said the same."""
    names: dict[tuple[Question, Finding], list[str]] = {}
    for walked, position, findings in _hops(probed):
        for question, finding in (findings or {}).items():
            if finding.answer is not Answer.YES:
                names.setdefault((question, finding), []).append(printable(walked.route.hops[position - 1].name))
    for (question, finding), alike in names.items():
        yield f"{_TITLES[question]} {finding.answer}: {', '.join(alike)}: {printable(finding.why)}"
    hops = probed.walked.route.hops
    if hops and hops[-1].kind.open_greeting is None and probed.fine and probed.walked.destination is None:
        yield (
            f"{printable(hops[-1].name)}: {hops[-1].protocol} says nothing before it is asked for something: "
            "it took the connection, and no more is known"
        )


def _verdict(probed: Probed) -> Iterator[str]:
    failure, dead = probed.walked.failure, probed.dead
    if probed.kind is not Kind.GROUP:
        yield from complaints(probed.rows, probed.common)
    if failure:
        yield f"BROKEN: {printable(str(failure.error))}"
        yield from _advice(probed, probed.walked)
    for member in dead:
        yield from _bad_news(probed, member)
    if failure is None:
        medians = f" (medians of {probed.count} walks)" if probed.count > 1 else ""
        fine = f"works without {_named(dead)}" if dead else "works" if probed.overstated else "is fine"
        yield f"The {probed.title} {fine}: {_total(probed)} ms{medians}."


def _bad_news(probed: Probed, member: Member) -> Iterator[str]:
    """Say of a member that it has failed, and how, unless that has been said of the walk that is shown."""
    failure = member.walked.failure if member.walked else None
    shown = probed.walked.failure
    if member.walked is None or failure is None or (shown and shown.error is failure.error):
        return
    seat = member.seat
    where = f"of group {printable(seat.group)}" if seat.group else "which this chain may leave out"
    yield f"NOT WORKING: {printable(seat.hop.name)}, {where}: {printable(str(failure.error))}"
    yield from _advice(probed, member.walked)
    confidence = judge(failure.error, failure.leg).confidence
    if probed.fine and confidence is Confidence.DESTINATION_FAILED and not _asks_others(probed, seat):
        yield "  - a request is told this, and goes no other way; with `retry_refused = true` it would"


def _asks_others(probed: Probed, seat: Seat) -> bool:
    """Whether a destination's refusal is not believed before all members have told it."""
    place = probed.walked.route.chain.hops[seat.place - 1]
    return isinstance(place, Group) and place.retry_refused


def _advice(probed: Probed, walked: Walked) -> Iterator[str]:
    """Say what to try; not for a group by itself, whose members have been walked to before.

    Nor where it has been said that a hop loses what it was sent.
    """
    failure = walked.failure
    if probed.kind is Kind.GROUP or failure is None:
        return
    pipelined = may_be_pipelining(walked)
    names = {printable(hop.name) for hop in walked.route.hops[: failure.position]}
    if pipelined and not names.isdisjoint(probed.overstated):
        return
    yield from (f"  - {line}" for line in advise(walked))
    if pipelined and probed.fitness is None:
        yield f"  - {HINT}"


def _named(members: Sequence[Member]) -> str:
    return ", ".join(dict.fromkeys(printable(member.seat.hop.name) for member in members))


def _outcome(probed: Probed) -> str:
    """Say in a few words how it went."""
    if failure := probed.walked.failure:
        return f"BROKEN at {printable(str(failure.error.place))}"
    if probed.overstated:
        return f"PIPELINED TOO FAR at {', '.join(probed.overstated)}"
    return f"works WITHOUT {_named(probed.dead)}" if probed.dead else "fine"


def _total(probed: Probed) -> str:
    return milliseconds(probed.walked.seconds)
