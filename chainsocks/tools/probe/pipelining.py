"""What a probe says of pipelining: what each hop keeps, what may be written, and what is written in vain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from chainsocks.config.hops import Hop, Pipeline
from chainsocks.protocol.address import printable
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.tools.probe.keeping import Kept

__all__ = ["HINT", "Common", "Row", "common_key", "complaints", "kept_table", "reasons"]

HINT = "this is pipelined: `chainsocks probe --pipeline` finds out which hops lose what is sent ahead of their answers"


@dataclass(frozen=True, slots=True)
class Row:
    """A hop, as it is called here, and what was found out about it; None where it was not reached."""

    name: str
    hop: Hop
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Common:
    """What may be written on a chain, for all of its hops that have no setting of their own."""

    pipeline: Pipeline
    because: tuple[str, ...]
    """The hops that are not known to be fit for more; none where there is no more."""
    apart: tuple[str, ...]
    """The hops that have their own."""


def common_key(rows: Sequence[Row]) -> Common | None:
    """Return the least of what the hops are known to be fit for; None where all have a setting of their own.

    A login by GSSAPI is never sent ahead, whatever stands there.
    """
    free = [row for row in rows if row.hop.pipeline is None and not isinstance(row.hop.credentials, Gssapi)]
    if not free:
        return None
    fit = [row.kept.fit if row.kept else Pipeline.OFF for row in free]
    least = min(fit, key=list(Pipeline).index)
    held = () if least is Pipeline.CHAIN else _names(row for row, one in zip(free, fit, strict=True) if one is least)
    return Common(least, held, _names(row for row in rows if row.hop.pipeline is not None))


def kept_table(rows: Sequence[Row]) -> Table:
    """Return a line for each hop."""
    table = Table("hop", "its messages at once", "what comes behind", "may be written", box=None, pad_edge=False)
    for row in rows:
        finding = row.kept.finding if row.kept else None
        answers = (finding.own.value, finding.behind.value, _key(finding.pipeline)) if finding else ("-", "-", "-")
        table.add_row(printable(row.name), *answers)
    return table


def reasons(rows: Sequence[Row], common: Common | None) -> Iterator[str]:
    """Say why something is not kept, or not known; and what is right for all of the chain."""
    for row in rows:
        if row.kept and row.kept.finding.reason:
            yield f"{printable(row.hop.name)}: {printable(row.kept.finding.reason)}"
    if common:
        held = f"; {', '.join(map(printable, common.because))}: not known to be fit for more" if common.because else ""
        apart = f" (a setting of its own has: {', '.join(map(printable, common.apart))})" if common.apart else ""
        yield f"for the whole chain: {_key(common.pipeline)}{held}{apart}"


def complaints(rows: Sequence[Row], common: Common | None) -> Iterator[str]:
    """Say of whom more is written than it can do, and what to write."""
    for row in rows:
        if not (row.kept and row.kept.lost):
            continue
        name, kept, by_itself = printable(row.hop.name), row.kept, row.hop.pipeline is not None
        whose = "" if by_itself else " by its chain"
        yield f"PIPELINED TOO FAR: {name} has {_key(kept.written)}{whose}, and loses {kept.lost}"
        others = f", or {_key(common.pipeline)} for the whole chain" if common and not by_itself else ""
        yield f"  - write {_key(kept.finding.pipeline)} for hop {name} in [hops]{others}"


def _names(rows: Iterator[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.hop.name for row in rows))


def _key(pipeline: Pipeline) -> str:
    return f'pipeline = "{pipeline}"'
