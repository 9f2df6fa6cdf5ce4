"""What a probe has found, as pictures and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from chainsocks.chain.blame import Confidence, judge
from chainsocks.config.chains import Group
from chainsocks.config.hops import Pipeline
from chainsocks.protocol.address import printable
from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.findings import HopReport, HopState, Kind, Member, ProbeReport
from chainsocks.tools.probe.picture import ASCII, SIGNS, picture
from chainsocks.tools.probe.pipeline_support import may_be_pipelining
from chainsocks.tools.probe.questions import Ability, Answer, Question
from chainsocks.tools.probe.walk import Walk
from chainsocks.tools.step_times import add_steps, add_total, milliseconds, step_table

__all__ = ["show", "show_summary"]

_HINT = "this is pipelined: `chainsocks probe --pipeline` finds out which hops lose what is sent ahead of their answers"
_TITLES = {Question.NAMES: "names", Question.UDP: "UDP", Question.IPV6: "IPv6"}


def show(report: ProbeReport, console: Console) -> None:
    """Print a picture, a row for each step, hop and member, and what there is to say about failures."""
    console.print(f"{report.title}: {_purpose(report)}")
    console.print()
    signs = ASCII if console.options.ascii_only else SIGNS
    console.print(picture(report.walk, signs, report.members), soft_wrap=True)
    console.print()
    if report.kind is not Kind.GROUP:
        console.print(_step_table(report))
        if report.hops:
            console.print()
            console.print(_hop_table(report))
        for note in _notes(report):
            console.print(f"  {note}")
        console.print()
        if report.pipelining and report.hops:
            console.print(_support_table(report))
            for reason in _reasons(report):
                console.print(f"  {reason}")
            console.print()
    if report.members:
        console.print(_member_table(report))
        console.print()
    console.print("\n".join(_verdict(report)))


def show_summary(reports: Sequence[ProbeReport], console: Console) -> None:
    """Print a row for each report."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for report in reports:
        table.add_row(report.title, _outcome(report), f"{milliseconds(report.walk.seconds)} ms")
    console.print(table)


def _purpose(report: ProbeReport) -> str:
    hops, destination = report.walk.route.hops, report.walk.destination
    if report.kind is Kind.HOP:
        return "by itself, straight from here, and asked for nothing"
    if report.kind is Kind.GROUP:
        return "its members, each by itself, straight from here, and asked for nothing"
    if destination is None:
        return "as far as its last hop, which is asked for nothing (name a HOST:PORT to ask it for that)"
    if not hops:
        return f"no hops, straight to {destination}"
    last = "the last hop" if report.members else printable(hops[-1].name)
    return f"to {destination}, which only {last} is told"


def _step_table(report: ProbeReport) -> Table:
    """Show the steps of the walk, then those of other members."""
    table, own = step_table(), len(report.hops)
    for hop in report.all_hops[:own]:
        _add_hop(table, hop)
    if not own and report.walk.taken:
        taken = report.walk.taken
        add_steps(table, "destination", "", taken[0].place.address, taken)
    add_total(table, "all hops" if own else "all of it", report.walk.seconds)
    for hop in report.all_hops[own:]:
        _add_hop(table, hop)
    return table


def _add_hop(table: Table, report: HopReport) -> None:
    otherwise = "nothing to say yet" if report.state is HopState.PASSED else "not reached"
    add_steps(table, report.label, report.hop.protocol.value, report.hop.address, report.steps, otherwise)


def _hop_table(report: ProbeReport) -> Table:
    table = Table("hop", "login", "names", "UDP", "IPv6", box=None, pad_edge=False)
    for hop in report.all_hops:
        abilities = (hop.abilities.get(question) for question in Question)
        answers = (ability.answer.value if ability else "-" for ability in abilities)
        table.add_row(printable(hop.label), hop.login or "-", *answers)
    return table


def _notes(report: ProbeReport) -> Iterator[str]:
    """Say what the answers other than yes were taken from, once for all hops that said the same."""
    names: dict[tuple[Question, Ability], list[str]] = {}
    for hop in report.all_hops:
        for question, ability in hop.abilities.items():
            if ability.answer is not Answer.YES:
                names.setdefault((question, ability), []).append(printable(hop.hop.name))
    for (question, ability), alike in names.items():
        yield f"{_TITLES[question]} {ability.answer}: {', '.join(alike)}: {printable(ability.why)}"
    last = report.hops[-1].hop if report.hops else None
    if last and last.kind.open_greeting is None and report.fine and report.walk.destination is None:
        yield (
            f"{printable(last.name)}: {last.protocol} says nothing before it is asked for something: "
            "it took the connection, and no more is known"
        )


def _support_table(report: ProbeReport) -> Table:
    """Show what each hop supports of pipelining."""
    table = Table("hop", "its messages at once", "what comes behind", "may be written", box=None, pad_edge=False)
    for hop in report.all_hops:
        support = hop.support
        cells = (support.own.value, support.behind.value, _key(support.pipeline)) if support else ("-", "-", "-")
        table.add_row(printable(hop.label), *cells)
    return table


def _reasons(report: ProbeReport) -> Iterator[str]:
    """Say why something is not supported, or not known; and which setting is safe for all of the chain."""
    for hop in report.all_hops:
        if hop.support and hop.support.reason:
            yield f"{printable(hop.hop.name)}: {printable(hop.support.reason)}"
    if setting := report.setting:
        held = (
            f"; {', '.join(map(printable, setting.because))}: not known to be fit for more" if setting.because else ""
        )
        apart = f" (a setting of its own has: {', '.join(map(printable, setting.apart))})" if setting.apart else ""
        yield f"for the whole chain: {_key(setting.pipeline)}{held}{apart}"


def _complaints(report: ProbeReport) -> Iterator[str]:
    """Say which hops have a higher setting than they support, and what to write."""
    for hop in report.all_hops:
        if not (hop.support and hop.loss):
            continue
        name, by_itself = printable(hop.hop.name), hop.hop.pipeline is not None
        whose = "" if by_itself else " by its chain"
        yield f"PIPELINED TOO FAR: {name} has {_key(hop.setting)}{whose}, and loses {hop.loss}"
        others = f", or {_key(report.setting.pipeline)} for the whole chain" if report.setting and not by_itself else ""
        yield f"  - write {_key(hop.support.pipeline)} for hop {name} in [hops]{others}"


def _key(pipeline: Pipeline) -> str:
    return f'pipeline = "{pipeline}"'


def _member_table(report: ProbeReport) -> Table:
    table = Table("group", "member", "state", box=None, pad_edge=False)
    table.add_column("ms", justify="right")
    previous: Member | None = None
    for member in report.members:
        same = previous is not None and (previous.place, previous.group) == (member.place, member.group)
        group = "" if same and member.group else printable(member.group or "(may be left out)")
        walk = member.report.walk if member.report else None
        total = milliseconds(walk.seconds) if walk and walk.error is None else ""
        table.add_row(group, printable(member.hop.name), member.standing.value, total)
        previous = member
    return table


def _verdict(report: ProbeReport) -> Iterator[str]:
    walk, dead = report.walk, report.dead
    if report.kind is not Kind.GROUP:
        yield from _complaints(report)
    if walk.error:
        yield f"BROKEN: {printable(str(walk.error))}"
        yield from _advice(report, walk)
    for member in dead:
        yield from _bad_news(report, member)
    if walk.error is None:
        medians = f" (medians of {report.count} walks)" if report.count > 1 else ""
        fine = f"works without {_named(dead)}" if dead else "works" if report.overstated else "is fine"
        yield f"The {report.title} {fine}: {milliseconds(walk.seconds)} ms{medians}."


def _bad_news(report: ProbeReport, member: Member) -> Iterator[str]:
    """Say of a member that it has failed, and how, unless that has been said of the walk that is shown."""
    walk = member.report.walk if member.report else None
    if walk is None or walk.error is None or walk.error is report.walk.error:
        return
    where = f"of group {printable(member.group)}" if member.group else "which this chain may leave out"
    yield f"NOT WORKING: {printable(member.hop.name)}, {where}: {printable(str(walk.error))}"
    yield from _advice(report, walk)
    confidence = judge(walk.error, walk.leg).confidence
    if report.fine and confidence is Confidence.DESTINATION_FAILED and not _asks_others(report, member):
        yield "  - a request is told this, and goes no other way; with `retry_refused = true` it would"


def _asks_others(report: ProbeReport, member: Member) -> bool:
    """Tell whether a refusal by the destination makes a request try the other members."""
    place = report.walk.route.chain.hops[member.place - 1]
    return isinstance(place, Group) and place.retry_refused


def _advice(report: ProbeReport, walk: Walk) -> Iterator[str]:
    """Say what to try; not for a group, whose members were probed before, nor where a hop lost what it was sent."""
    if report.kind is Kind.GROUP:
        return
    pipelined = may_be_pipelining(walk)
    names = {printable(hop.name) for hop in walk.route.hops[: walk.failed_at]}
    if pipelined and not names.isdisjoint(report.overstated):
        return
    yield from (f"  - {line}" for line in advise(walk))
    if pipelined and not report.pipelining:
        yield f"  - {_HINT}"


def _named(members: Sequence[Member]) -> str:
    return ", ".join(dict.fromkeys(printable(member.hop.name) for member in members))


def _outcome(report: ProbeReport) -> str:
    """Say in a few words how it went."""
    if report.walk.error:
        return f"BROKEN at {printable(str(report.walk.error.place))}"
    if report.overstated:
        return f"PIPELINED TOO FAR at {', '.join(report.overstated)}"
    return f"works WITHOUT {_named(report.dead)}" if report.dead else "fine"
