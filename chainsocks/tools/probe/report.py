"""What a probe has found, as tables for people and as JSON for programs.

The JSON, whose shape is kept: seconds as numbers (null for a limit that is off), null for what is not known or was not
asked for::

    {"fine": false,
     "probes": [
       {"kind": "chain", "name": "default", "destination": "example.org:443", "fine": false, "count": 1,
        "seconds": 0.012,
        "hops": [
          {"position": 1, "name": "paris", "protocol": "socks5", "address": "10.0.0.1:1080", "state": "passed",
           "steps": [{"step": "TCP connect", "seconds": 0.004}, ...], "login": "username/password",
           "names": {"answer": "yes", "why": "..."}, "udp": {...}, "ipv6": {...}},
          {..., "state": "failed", ...},
          {..., "state": "not reached", "steps": [], "login": null, "names": null, "udp": null, "ipv6": null}],
        "direct": [],
        "failure": {"hop": "osaka", "position": 2, "address": "10.0.0.2:1080", "step": "request", "problem": "...",
                    "reply_code": 5, "seconds": 0.001, "limit": 10, "advice": ["...", ...]}}]}

``kind`` is "chain" or, for a hop by itself, "hop". The seconds are those of one walk, or the medians of ``count``.
``direct`` holds the steps of a way without hops. ``answer`` is "yes", "no", "understood" or "unknown", see
`chainsocks.tools.probe.questions`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rich.console import Console
from rich.table import Table

from chainsocks.chain.dial import CONNECT, RESOLVE
from chainsocks.config.hops import Hop, HopProtocol
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.picture import ASCII, SIGNS, picture
from chainsocks.tools.probe.questions import Answer, Finding, Findings, Question
from chainsocks.tools.probe.walk import Walked
from chainsocks.tools.steps import Taken, hop_names, milliseconds, step_table

__all__ = ["Kind", "Probed", "as_json", "show", "show_summary"]


class Kind(StrEnum):
    """What was walked."""

    CHAIN = "chain"
    HOP = "hop"
    """One hop by itself, straight from here."""


@dataclass(frozen=True, slots=True)
class Probed:
    """A walk, and what the hops that answered were found to do."""

    kind: Kind
    name: str
    walked: Walked
    findings: Mapping[int, Findings] = field(default_factory=dict)
    count: int = 1
    """Of how many walks the times are the medians."""

    @property
    def fine(self) -> bool:
        """Whether it came through."""
        return self.walked.failure is None

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.kind} {printable(self.name)}"


def show(probed: Probed, console: Console) -> None:
    """Print a picture, a row for each step and for each hop, and what there is to say about a failure."""
    walked = probed.walked
    console.print(f"{probed.title}: {_purpose(probed)}")
    console.print()
    console.print(picture(walked, ASCII if console.options.ascii_only else SIGNS), soft_wrap=True)
    console.print()
    console.print(step_table(walked.taken, walked.route.hops, _silent(walked)))
    if walked.route.hops:
        console.print()
        console.print(_hop_table(probed))
    for note in _notes(probed):
        console.print(f"  {note}")
    console.print()
    console.print("\n".join(_verdict(probed)))


def show_summary(all_probed: Sequence[Probed], console: Console) -> None:
    """Print a row for each walk."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for probed in all_probed:
        table.add_row(probed.title, "fine" if probed.fine else _where(probed), f"{_total(probed)} ms")
    console.print(table)


def as_json(all_probed: Sequence[Probed], *, fine: bool) -> str:
    """Return all of it in one document, see the module."""
    document = {"fine": fine, "probes": [_document(probed) for probed in all_probed]}
    return json.dumps(document, indent=2)


def _purpose(probed: Probed) -> str:
    route, destination = probed.walked.route, probed.walked.destination
    if probed.kind is Kind.HOP:
        return "by itself, straight from here, and asked for nothing"
    if destination is None:
        return "as far as its last hop, which is asked for nothing (name a HOST:PORT to ask it for that)"
    if not route.hops:
        return f"no hops, straight to {destination}"
    return f"to {destination}, which only {printable(route.hops[-1].name)} is told"


def _silent(walked: Walked) -> list[tuple[str, Hop, str]]:
    """Return the hops that took no step, and why."""
    named = zip(hop_names(walked.route.hops), walked.route.hops, strict=True)
    return [
        (name, hop, "not reached" if position > walked.passed else "nothing to say yet")
        for position, (name, hop) in enumerate(named, 1)
        if not walked.steps[position]
    ]


def _hop_table(probed: Probed) -> Table:
    table = Table("hop", "login", "names", "UDP", "IPv6", box=None, pad_edge=False)
    walked = probed.walked
    for position, name in enumerate(hop_names(walked.route.hops), 1):
        findings = probed.findings.get(position, {})
        answers = (findings[question].answer.value if question in findings else "-" for question in Question)
        table.add_row(printable(name), _login(walked, position) or "-", *answers)
    return table


_OTHER_STEPS = (RESOLVE, CONNECT, State.METHOD_NEGOTIATION, State.REQUEST)
"""What a login is not."""


def _login(walked: Walked, position: int) -> str | None:
    """Say how we are known to a hop; None where it has not come to that."""
    hop, steps = walked.route.hops[position - 1], [step.place.step for step in walked.steps[position]]
    if hop.protocol is not HopProtocol.SOCKS5:
        return ("user id" if hop.credentials else "none") if position <= walked.answered else None
    between = [step for step in steps if step not in _OTHER_STEPS]
    if between:
        return between[0].partition(" ")[0]  # "username/password sub-negotiation"
    return "none" if State.REQUEST in steps or position <= walked.answered else None


_TITLES = {Question.NAMES: "names", Question.UDP: "UDP", Question.IPV6: "IPv6"}


def _notes(probed: Probed) -> Iterator[str]:
    """Say what the answers other than yes were taken from, once for all hops that said the same."""
    hops = probed.walked.route.hops
    names: dict[tuple[Question, Finding], list[str]] = {}
    for position, findings in probed.findings.items():
        for question, finding in findings.items():
            if finding.answer is not Answer.YES:
                names.setdefault((question, finding), []).append(printable(hops[position - 1].name))
    for (question, finding), alike in names.items():
        yield f"{_TITLES[question]} {finding.answer}: {', '.join(alike)}: {printable(finding.why)}"
    if hops and hops[-1].protocol is not HopProtocol.SOCKS5 and probed.fine and probed.walked.destination is None:
        yield (
            f"{printable(hops[-1].name)}: {hops[-1].protocol} says nothing before it is asked for something: "
            "it took the connection, and no more is known"
        )


def _verdict(probed: Probed) -> Iterator[str]:
    failure = probed.walked.failure
    if failure is None:
        medians = f" (medians of {probed.count} walks)" if probed.count > 1 else ""
        yield f"The {probed.title} is fine: {_total(probed)} ms{medians}."
        return
    yield f"BROKEN: {printable(str(failure.error))}"
    yield from (f"  - {line}" for line in advise(probed.walked))


def _where(probed: Probed) -> str:
    failure = probed.walked.failure
    return f"BROKEN at {printable(str(failure.error.place))}" if failure else ""


def _total(probed: Probed) -> str:
    return milliseconds(probed.walked.seconds)


def _document(probed: Probed) -> dict[str, object]:
    walked = probed.walked
    return {
        "kind": probed.kind.value,
        "name": probed.name,
        "destination": str(walked.destination) if walked.destination else None,
        "fine": probed.fine,
        "count": probed.count,
        "seconds": walked.seconds,
        "hops": [_hop_document(probed, position, hop) for position, hop in enumerate(walked.route.hops, 1)],
        "direct": [] if walked.route.hops else _step_documents(walked.taken),
        "failure": _failure_document(walked),
    }


def _hop_document(probed: Probed, position: int, hop: Hop) -> dict[str, object]:
    walked, findings = probed.walked, probed.findings.get(position, {})
    failed = walked.failure is not None and walked.failure.position == position
    answers = {
        question.value: {"answer": finding.answer.value, "why": finding.why} if finding else None
        for question in Question
        for finding in [findings.get(question)]
    }
    return {
        "position": position,
        "name": hop.name,
        "protocol": hop.protocol.value,
        "address": str(hop.address),
        "state": "passed" if position <= walked.passed else "failed" if failed else "not reached",
        "steps": _step_documents(walked.steps[position]),
        "login": _login(walked, position),
        **answers,
    }


def _step_documents(taken: Sequence[Taken]) -> list[dict[str, object]]:
    return [{"step": str(step.place.step), "seconds": step.seconds} for step in taken]


def _failure_document(walked: Walked) -> dict[str, object] | None:
    failure = walked.failure
    if failure is None:
        return None
    error = failure.error
    return {
        "hop": walked.route.hops[failure.position - 1].name if failure.position else None,
        "position": failure.position,
        "address": str(error.place.address),
        "step": str(error.place.step),
        "problem": error.problem,
        "reply_code": failure.code,
        "seconds": error.elapsed,
        "limit": error.limit if math.isfinite(error.limit) else None,
        "advice": list(advise(walked)),
    }
