"""What a probe has found, as pictures and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from chainsocks.chain.blame import Confidence, judge
from chainsocks.chain.pipeline_check import Support
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import Group
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.findings import HopReport, HopState, Kind, Loss, Member, ProbeReport
from chainsocks.tools.probe.picture import ASCII, SIGNS, fold, picture
from chainsocks.tools.probe.pipeline_support import may_be_pipelining
from chainsocks.tools.probe.questions import Ability, Answer, Question
from chainsocks.tools.probe.walk import LOCALHOST, Walk, is_asked
from chainsocks.tools.step_times import add_steps, add_total, milliseconds, step_table
from chainsocks.tools.tables import plain_table, print_lines, print_table

__all__ = ["show", "show_summary"]

_HINT = "pipelining may be the cause: `chainsocks probe --pipeline` tests which hops support it"

NAMED = 3
"""Names of a certificate that are shown."""

_TITLES = {Question.NAMES: "names", Question.UDP: "UDP", Question.IPV6: "IPv6"}

_SUPPORT = {Support.SUPPORTED: "supported", Support.UNSUPPORTED: "not supported", Support.UNKNOWN: "unknown"}

_LOSES = {
    Loss.OWN: "loses messages that are sent before it has replied",
    Loss.BEHIND: "loses what is sent behind its request",
}


def show(report: ProbeReport, console: Console) -> None:
    """Print a picture, tables of the steps, hops and members, and each failure with advice."""
    print_lines([f"{report.title}: {_purpose(report)}", ""], console)
    signs = ASCII if console.options.ascii_only else SIGNS
    for line in fold(picture(report.walk, signs, report.members), signs, console.width):
        console.print(line, soft_wrap=True)
    console.print()
    if report.kind is not Kind.GROUP:
        print_table(_step_table(report), console)
        if report.hops:
            console.print()
            print_table(_hop_table(report), console)
            if any(hop.secured for hop in report.all_hops):
                console.print()
                print_table(_tls_table(report), console)
        print_lines((f"  {note}" for note in _notes(report)), console)
        console.print()
        if report.pipelining and report.hops:
            print_table(_support_table(report), console)
            print_lines((f"  {reason}" for reason in _reasons(report)), console)
            console.print()
    if report.members:
        print_table(_member_table(report), console)
        console.print()
    print_lines(_verdict(report), console)


def show_summary(reports: Sequence[ProbeReport], console: Console) -> None:
    """Print a row for each report."""
    table = plain_table("", "")
    table.show_header = False
    table.add_column(justify="right")
    for report in reports:
        table.add_row(report.title, _outcome(report), f"{milliseconds(report.walk.seconds)} ms")
    print_table(table, console)


def _purpose(report: ProbeReport) -> str:
    header = "; with a PROXY protocol header that tells of no client" if report.walk.route.chain.send_proxy else ""
    return _way(report) + header


def _way(report: ProbeReport) -> str:
    hops, destination = report.walk.route.hops, report.walk.destination
    sent = f"asked for {LOCALHOST} only" if hops and is_asked(hops[-1]) else "sent no request"
    if report.kind is Kind.HOP:
        return f"reached directly, and {sent}"
    if report.kind is Kind.GROUP:
        return f"its members, each reached directly, and {sent}"
    if destination is None:
        return f"up to the last hop, which is {sent} (name a HOST:PORT to connect to)"
    if not hops:
        return f"no hops, directly to {destination}"
    last = "the last hop" if report.members else printable(hops[-1].name)
    return f"to {destination}; only {last} learns this destination"


def _step_table(report: ProbeReport) -> Table:
    """Show the steps of the walk, then those of other members."""
    table, own = step_table(), len(report.hops)
    for hop in report.all_hops[:own]:
        _add_hop(table, hop)
    if not own and report.walk.taken:
        taken = report.walk.taken
        add_steps(table, "destination", "", taken[0].place.address, taken)
    add_total(table, "all hops" if own else "total", report.walk.seconds)
    if report.warm:
        add_total(table, "warm", report.warm.seconds, str(State.REQUEST))
    for hop in report.all_hops[own:]:
        _add_hop(table, hop)
    return table


def _add_hop(table: Table, report: HopReport) -> None:
    otherwise = "connected" if report.state is HopState.PASSED else "not reached"
    add_steps(table, report.label, report.hop.scheme, report.hop.address, report.steps, otherwise)


def _hop_table(report: ProbeReport) -> Table:
    table = plain_table("hop", "login", "names", "UDP", "IPv6")
    for hop in report.all_hops:
        abilities = (hop.abilities.get(question) for question in Question)
        answers = (ability.answer.value if ability else "-" for ability in abilities)
        table.add_row(printable(hop.label), hop.login or "-", *answers)
    return table


def _tls_table(report: ProbeReport) -> Table:
    table = plain_table("hop", "TLS", "certificate for")
    table.add_column("days left", justify="right")
    for hop in report.all_hops:
        if seen := hop.secured:
            names = ", ".join(map(printable, seen.names[:NAMED])) + (", ..." if len(seen.names) > NAMED else "")
            table.add_row(printable(hop.label), seen.version, names or "-", str(seen.days))
    return table


def _notes(report: ProbeReport) -> Iterator[str]:
    """Say what shows the answers other than yes, once for all hops with the same answer."""
    names: dict[tuple[Question, Ability], list[str]] = {}
    for hop in report.all_hops:
        for question, ability in hop.abilities.items():
            if ability.answer is not Answer.YES:
                names.setdefault((question, ability), []).append(printable(hop.hop.name))
    for (question, ability), alike in names.items():
        yield f"{_TITLES[question]} {ability.answer} ({', '.join(alike)}): {printable(ability.why)}"
    last = report.hops[-1].hop if report.hops else None
    unseen = last and last.kind.open_greeting is None and not is_asked(last)
    if last and unseen and report.fine and report.walk.destination is None:
        what = "has no message before the request, so only the connection was tested"
        yield f"{printable(last.name)}: {last.protocol} {what}"


def _support_table(report: ProbeReport) -> Table:
    """Show what each hop supports of pipelining."""
    table = plain_table("hop", _key(Pipeline.HOP), _key(Pipeline.CHAIN), "safe setting")
    for hop in report.all_hops:
        cells = ("-", "-", "-")
        if support := hop.support:
            behind = support.behind if support.own is Support.SUPPORTED else support.own
            cells = (_SUPPORT[support.own], _SUPPORT[behind], _key(support.pipeline))
        table.add_row(printable(hop.label), *cells)
    return table


def _reasons(report: ProbeReport) -> Iterator[str]:
    """Say why something is not supported, or not known; and which setting is safe for all of the chain."""
    for hop in report.all_hops:
        if hop.support and hop.support.reason:
            yield f"{printable(hop.hop.name)}: {printable(hop.support.reason)}"
    if setting := report.setting:
        because, apart = (", ".join(map(printable, names)) for names in (setting.because, setting.apart))
        held = f"; not known to support more: {because}" if because else ""
        others = f"; with a setting of its own: {apart}" if apart else ""
        yield f"safe for the whole chain: {_key(setting.pipeline)}{held}{others}"


def _complaints(report: ProbeReport) -> Iterator[str]:
    """Say which hops have a higher setting than they support, and what to set."""
    for hop in report.all_hops:
        if not (hop.support and hop.loss):
            continue
        name, by_itself = printable(hop.hop.name), hop.hop.pipeline is not None
        whose = "" if by_itself else " from its chain"
        yield f"PIPELINING NOT SUPPORTED: {name} has {_key(hop.setting)}{whose}, but {_LOSES[hop.loss]}"
        others = f", or {_key(report.setting.pipeline)} for the whole chain" if report.setting and not by_itself else ""
        yield f"  - set {_key(hop.support.pipeline)} for hop {name} in [hops]{others}"


def _key(pipeline: Pipeline) -> str:
    return f'pipeline = "{pipeline}"'


def _member_table(report: ProbeReport) -> Table:
    table = plain_table("group", "member", "state")
    table.add_column("ms", justify="right")
    previous: Member | None = None
    for member in report.members:
        same = previous is not None and (previous.place, previous.group) == (member.place, member.group)
        group = "" if same and member.group else printable(member.group or "(may be skipped)")
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
    if report.warm and report.warm.problem:
        yield f"NOT WARM: {printable(report.warm.problem)}"
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
    where = f" of group {printable(member.group)}" if member.group else ", which this chain may skip"
    yield f"NOT WORKING: {printable(member.hop.name)}{where}: {printable(str(walk.error))}"
    yield from _advice(report, walk)
    confidence = judge(walk.error, walk.leg).confidence
    if report.fine and confidence is Confidence.DESTINATION_FAILED and not _asks_others(report, member):
        yield "  - requests get this refusal, and try no other member; with `retry_refused = true` they would"


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
    """Say the result in a few words."""
    if report.walk.error:
        return f"BROKEN at {printable(str(report.walk.error.place))}"
    if report.overstated:
        return f"PIPELINING NOT SUPPORTED at {', '.join(report.overstated)}"
    return f"works WITHOUT {_named(report.dead)}" if report.dead else "fine"
