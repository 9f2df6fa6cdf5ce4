"""What a probe has found, as JSON for programs.

The shape is kept: seconds as numbers (null for a limit that is off), null for what is not known or was not asked for::

    {"fine": false,
     "probes": [
       {"kind": "chain", "name": "default", "destination": "example.org:443", "fine": false, "count": 1,
        "seconds": 0.012,
        "warm": {"seconds": 0.004, "problem": null},
        "hops": [
          {"position": 1, "name": "paris", "protocol": "socks5", "address": "10.0.0.1:1080", "state": "passed",
           "steps": [{"step": "TCP connect", "seconds": 0.004}, ...], "login": "username/password",
           "tls": {"version": "TLSv1.3", "names": ["paris.example"], "days": 89, "pin": null},
           "names": {"answer": "yes", "why": "..."}, "udp": {...}, "ipv6": {...},
           "pipeline": {"own": "keeps", "behind": "loses", "why": "...", "fit": "hop", "written": "chain",
                        "lost": "what comes behind its request"}},
          {..., "state": "failed", ...},
          {..., "state": "not reached", "steps": [], "login": null, "tls": null, "names": null, "udp": null,
           "ipv6": null, "pipeline": null}],
        "pipeline": {"fit": "hop", "because": ["paris", ...], "apart": []},
        "direct": [],
        "members": [
          {"place": 3, "group": "exits", "position": 3, "name": "lima", ..., "state": "works", "failure": null}, ...],
        "failure": {"hop": "osaka", "position": 2, "address": "10.0.0.2:1080", "step": "request", "problem": "...",
                    "reply_code": 5, "seconds": 0.001, "limit": 10, "advice": ["...", ...]}}]}

``kind`` is "chain", "hop" (one hop alone) or "group". The seconds are those of one walk, or the medians of ``count``
walks. ``warm`` is null unless the chain has warm ways and there is a destination; its seconds are those of a request on
one, or null with the ``problem``. ``direct`` holds the steps of a way without hops. ``answer`` is "yes", "no",
"understood" or "unknown", see `chainsocks.tools.probe.questions`. ``tls`` says until the end of how many ``days`` the
hop's certificate is valid, and its ``pin`` if one is configured.

With ``--pipeline``, ``own`` and ``behind`` are "keeps", "loses" or "unknown", see `chainsocks.chain.pipeline_check`.
``fit`` is the highest setting that the hop supports, ``written`` its present one, and ``lost`` is null unless that is
too high. For a whole chain ``because`` names the hops that are not known to support more than ``fit``, and ``apart``
those with a setting of their own.

``members`` holds the hops of all groups (and of a chain that may skip hops, those with ``group`` null). Each has the
keys of a hop, in the walk that shows its state, and beside them its ``place`` in the chain and the ``seconds`` and the
``failure`` of that walk. Its ``state`` is "works", "failed", "stuck", "not reached" or "not used", see
`chainsocks.tools.probe.findings`. A member that is not used has no walk, and only its place, group, name and state. If
a member is in the walk of ``hops``, its answers are the same there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from chainsocks.tools.probe.advice import advise
from chainsocks.tools.probe.certificates import Secured
from chainsocks.tools.probe.findings import ChainSetting, HopReport, Member, ProbeReport
from chainsocks.tools.probe.questions import Question
from chainsocks.tools.probe.walk import Walk
from chainsocks.tools.step_times import Taken

__all__ = ["as_json"]


def as_json(reports: Sequence[ProbeReport], *, fine: bool) -> str:
    """Return all reports in one document, see the module."""
    return json.dumps({"fine": fine, "probes": [_document(report) for report in reports]}, indent=2)


def _document(report: ProbeReport) -> dict[str, object]:
    walk = report.walk
    return {
        "kind": report.kind.value,
        "name": report.name,
        "destination": str(walk.destination) if walk.destination else None,
        "fine": report.fine and not report.overstated,
        "count": report.count,
        "seconds": walk.seconds,
        "warm": {"seconds": report.warm.seconds, "problem": report.warm.problem or None} if report.warm else None,
        "hops": [_hop_document(hop) for hop in report.hops],
        "pipeline": _setting_document(report.setting),
        "direct": [] if report.hops else _step_documents(walk.taken),
        "members": [_member_document(member) for member in report.members],
        "failure": _failure_document(walk),
    }


def _hop_document(report: HopReport) -> dict[str, object]:
    answers = {
        question.value: {"answer": ability.answer.value, "why": ability.why} if ability else None
        for question in Question
        for ability in [report.abilities.get(question)]
    }
    return {
        "position": report.position,
        "name": report.hop.name,
        "protocol": report.hop.protocol.value,
        "address": str(report.hop.address),
        "state": report.state.value,
        "steps": _step_documents(report.steps),
        "login": report.login,
        "tls": _tls_document(report.secured),
        **answers,
        "pipeline": _support_document(report),
    }


def _tls_document(seen: Secured | None) -> dict[str, object] | None:
    if seen is None:
        return None
    return {"version": seen.version, "names": list(seen.names), "days": seen.days, "pin": seen.pin}


def _member_document(member: Member) -> dict[str, object]:
    document: dict[str, object] = {"place": member.place, "group": member.group, "name": member.hop.name}
    if report := member.report:
        document |= _hop_document(report)
        document |= {"seconds": report.walk.seconds, "failure": _failure_document(report.walk)}
    return document | {"state": member.standing.value}


def _support_document(report: HopReport) -> dict[str, object] | None:
    support, loss = report.support, report.loss
    if support is None:
        return None
    return {
        "own": support.own.value,
        "behind": support.behind.value,
        "why": support.reason,
        "fit": support.pipeline.value,
        "written": report.setting.value,
        "lost": loss.value if loss else None,
    }


def _setting_document(setting: ChainSetting | None) -> dict[str, object] | None:
    if setting is None:
        return None
    return {"fit": setting.pipeline.value, "because": list(setting.because), "apart": list(setting.apart)}


def _step_documents(taken: Sequence[Taken]) -> list[dict[str, object]]:
    return [{"step": str(step.place.step), "seconds": step.seconds} for step in taken]


def _failure_document(walk: Walk) -> dict[str, object] | None:
    error = walk.error
    if error is None:
        return None
    return {
        "hop": walk.leg.hop.name if walk.leg else None,
        "position": walk.failed_at,
        "address": str(error.place.address),
        "step": str(error.place.step),
        "problem": error.problem,
        "reply_code": walk.refusal,
        "seconds": error.elapsed,
        "limit": error.limit if math.isfinite(error.limit) else None,
        "advice": list(advise(walk)),
    }
