"""What a probe has found, as JSON for programs.

The shape is kept: seconds as numbers (null for a limit that is off), null for what is not known or was not asked for::

    {"fine": false,
     "probes": [
       {"kind": "chain", "name": "default", "destination": "example.org:443", "fine": false, "count": 1,
        "seconds": 0.012,
        "hops": [
          {"position": 1, "name": "paris", "protocol": "socks5", "address": "10.0.0.1:1080", "state": "passed",
           "steps": [{"step": "TCP connect", "seconds": 0.004}, ...], "login": "username/password",
           "names": {"answer": "yes", "why": "..."}, "udp": {...}, "ipv6": {...},
           "pipeline": {"own": "keeps", "behind": "loses", "why": "...", "fit": "hop", "written": "chain",
                        "lost": "what comes behind its request"}},
          {..., "state": "failed", ...},
          {..., "state": "not reached", "steps": [], "login": null, "names": null, "udp": null, "ipv6": null,
           "pipeline": null}],
        "pipeline": {"fit": "hop", "because": ["paris", ...], "apart": []},
        "direct": [],
        "members": [
          {"place": 3, "group": "exits", "position": 3, "name": "lima", ..., "state": "works", "failure": null}, ...],
        "failure": {"hop": "osaka", "position": 2, "address": "10.0.0.2:1080", "step": "request", "problem": "...",
                    "reply_code": 5, "seconds": 0.001, "limit": 10, "advice": ["...", ...]}}]}

``kind`` is "chain" or, for a hop by itself, "hop", or "group". The seconds are those of one walk, or the medians of
``count``. ``direct`` holds the steps of a way without hops. ``answer`` is "yes", "no", "understood" or "unknown", see
`chainsocks.tools.probe.questions`.

With ``--pipeline``, ``own`` and ``behind`` are "keeps", "loses" or "unknown", see `chainsocks.chain.keeping`; ``fit``
is what may be written of it, and ``lost`` is null unless more is ``written``. For a whole chain ``because`` names
those that are not known to be fit for more, and ``apart`` those that have a setting of their own.

``members`` holds all hops of all groups (and of a chain that may leave out hops, those with ``group`` null), each as a
hop of the walk that tells of it: with its ``place`` in the chain, the ``position`` in that walk, the walk's ``seconds``
and its ``failure``. Their ``state`` is "works", "failed", "stuck", "not reached" or "not used", see
`chainsocks.tools.probe.members`; one that is not used has no walk, and nothing but its place, group and name. What the
walk in ``hops`` tells of a member is the same there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.keeping import Fitness, Kept
from chainsocks.tools.probe.members import Member
from chainsocks.tools.probe.pipelining import Common
from chainsocks.tools.probe.questions import Findings, Question
from chainsocks.tools.probe.report import Probed
from chainsocks.tools.probe.walk import Walked
from chainsocks.tools.steps import Taken

__all__ = ["as_json"]


def as_json(all_probed: Sequence[Probed], *, fine: bool) -> str:
    """Return all of it in one document, see the module."""
    document = {"fine": fine, "probes": [_document(probed) for probed in all_probed]}
    return json.dumps(document, indent=2)


def _document(probed: Probed) -> dict[str, object]:
    walked, fitness = probed.walked, probed.fitness or Fitness()
    hops = range(1, len(walked.route.hops) + 1)
    return {
        "kind": probed.kind.value,
        "name": probed.name,
        "destination": str(walked.destination) if walked.destination else None,
        "fine": probed.fine and not probed.overstated,
        "count": probed.count,
        "seconds": walked.seconds,
        "hops": [
            _hop_document(walked, position, probed.findings.get(position), fitness.hops.get(position))
            for position in hops
        ],
        "pipeline": _common_document(probed.common),
        "direct": [] if hops else _step_documents(walked.taken),
        "members": [_member_document(probed, member) for member in probed.members],
        "failure": _failure_document(walked),
    }


def _hop_document(walked: Walked, position: int, findings: Findings | None, kept: Kept | None) -> dict[str, object]:
    hop = walked.route.hops[position - 1]
    failed = walked.failure is not None and walked.failure.position == position
    answers = {
        question.value: {"answer": finding.answer.value, "why": finding.why} if finding else None
        for question in Question
        for finding in [(findings or {}).get(question)]
    }
    return {
        "position": position,
        "name": hop.name,
        "protocol": hop.protocol.value,
        "address": str(hop.address),
        "state": "passed" if position <= walked.passed else "failed" if failed else "not reached",
        "steps": _step_documents(walked.steps[position]),
        "login": walked.login(position),
        **answers,
        "pipeline": _kept_document(kept),
    }


def _member_document(probed: Probed, member: Member) -> dict[str, object]:
    seat, walked = member.seat, member.walked
    document: dict[str, object] = {"place": seat.place, "group": seat.group, "name": seat.hop.name}
    if walked:
        shown = member.stands_in(probed.walked.route)
        findings = probed.findings.get(member.position) if shown else probed.member_findings.get(seat)
        fitness = probed.fitness or Fitness()
        kept = fitness.hops.get(member.position) if shown else fitness.members.get(seat)
        document |= _hop_document(walked, member.position, findings, kept)
        document |= {"seconds": walked.seconds, "failure": _failure_document(walked)}
    return document | {"state": member.standing.value}


def _kept_document(kept: Kept | None) -> dict[str, object] | None:
    if kept is None:
        return None
    finding = kept.finding
    return {
        "own": finding.own.value,
        "behind": finding.behind.value,
        "why": finding.reason,
        "fit": finding.pipeline.value,
        "written": kept.written.value,
        "lost": kept.lost,
    }


def _common_document(common: Common | None) -> dict[str, object] | None:
    if common is None:
        return None
    return {"fit": common.pipeline.value, "because": list(common.because), "apart": list(common.apart)}


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
