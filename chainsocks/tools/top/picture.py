"""The picture that `chainsocks top` draws: exactly as many lines as the terminal has, each as wide as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from chainsocks.control.messages import Hop, HopState, Place, ServerState, Session
from chainsocks.errors import Step
from chainsocks.observe.phase import Phase
from chainsocks.protocol.address import printable
from chainsocks.protocol.handshake import State
from chainsocks.tools.running import (
    brief_bytes,
    brief_duration,
    show_bytes,
    show_destination,
    show_duration,
    show_latency,
    show_state,
)
from chainsocks.tools.top.keys import HELP
from chainsocks.tools.top.view import Ask, Order, Snapshot, View

__all__ = ["draw"]

WIDE = 110
"""Columns from which on there is room for everything."""

SOON = 3.0
"""Seconds before a deadline from which on it is shown in red."""

_BRIEF: Mapping[str, str] = {
    Step.RESOLVE: "lookup",
    Step.CONNECT: "connect",
    Step.TLS: "TLS",
    Step.LISTEN: "listen",
    Step.AFTER_REPLY: "first bytes",
    Step.RESPONSE: "response",
    State.METHOD_NEGOTIATION: "greeting",
    State.SUB_NEGOTIATION: "login",
    State.GSSAPI_CONTEXT: "GSSAPI",
    State.GSSAPI_PROTECTION: "GSSAPI",
    State.SECOND_REPLY: "peer",
}
"""Words for steps where there is little room; the others are brief as they are."""

_COLOURS = {
    HopState.FAILING: "red",
    HopState.WELL: "green",
    HopState.BACKOFF: "red",
    HopState.RESTED: "yellow",
    HopState.UNKNOWN: "dim",
}
_PHASES = {Phase.RELAY: "", Phase.DIAL: "yellow", Phase.REQUEST: "cyan", Phase.ROUTE: "cyan", Phase.REPLY: "cyan"}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the sessions. `share` is its part of the room that is left; 0 for a fixed width."""

    heading: str
    width: int
    share: int = 0
    order: Order | None = None
    """The order that it shows."""
    right: bool = False


def draw(view: View, width: int, height: int) -> list[Text]:
    """Return the lines of the screen."""
    snapshot = view.snapshot
    if snapshot is None:
        lines = [Text(view.message or "waiting for the server ...")]
        return _fill(lines, width, height)
    lines = [*_head(view, snapshot, width)]
    if snapshot.hops:
        room = max(1, min(len(snapshot.hops), (height - len(lines) - 4) // 3))
        lines += _hops(snapshot.hops, width, room)
    sessions = view.sessions()
    columns = _columns(width)
    lines.append(_heading(view, columns))
    seen = view.scroll(sessions, max(1, height - len(lines) - 1))
    lines += [_session(view, each, columns, briefly=width < WIDE) for each in seen]
    lines = _fill(lines, width, height - 1)
    lines.append(_fit(_foot(view, len(sessions), len(snapshot.sessions), len(seen)), width))
    return lines[:height]


def _fill(lines: list[Text], width: int, height: int) -> list[Text]:
    """Make lines fit a screen exactly."""
    return [_fit(line, width) for line in lines[:height]] + [Text(" " * width)] * (height - len(lines))


def _fit(line: Text, width: int) -> Text:
    line.truncate(width, pad=True)
    return line


def _head(view: View, snapshot: Snapshot, width: int) -> Iterator[Text]:
    status, total = snapshot.status, view.total
    state = "paused" if view.is_paused else status.state
    colour = "yellow" if view.is_paused or status.state is ServerState.DRAINING else "green"
    first = Text.assemble(("chainsocks ", "bold"), (state, colour), f" for {show_duration(status.uptime)}")
    if len(status.workers) > 1:
        first.append(f", {len(status.workers)} workers")
    listen = ", ".join(map(printable, status.listen))
    first.append(f"  {listen}", "dim")
    yield first
    second = Text.assemble(
        ("sessions ", "dim"),
        (f"{status.sessions}", "bold"),
        (f" of {status.max_sessions}", "dim"),
        ("  up ", "dim"),
        (f"{show_bytes(total.up)}/s", "bold"),
        ("  down ", "dim"),
        (f"{show_bytes(total.down)}/s", "bold"),
    )
    if width >= WIDE:
        second.append(f"  ended {status.ended}, failed {status.failed}", "dim")
        second.append(f"  in all {show_bytes(status.up)} up, {show_bytes(status.down)} down", "dim")
    yield second
    yield Text("; ".join(map(printable, status.trouble)), "red")


def _hops(hops: Sequence[Hop], width: int, room: int) -> Iterator[Text]:
    """Yield a heading and a line for each hop; those that are not well come first where not all have room."""
    if len(hops) > room:
        hops = sorted(hops, key=lambda hop: hop.state in (HopState.WELL, HopState.UNKNOWN))
    name = min(max(cell_len(printable(hop.name)) for hop in hops), width // 4)
    name = max(name, 4)
    yield Text(_hop_cells("HOP", "SESSIONS", "LATENCY", name) + "STATE", "bold")
    for hop in hops[:room]:
        latency = "" if hop.latency is None else show_latency(hop.latency)
        state = show_state(hop) + (f": {printable(hop.why)}" if hop.why else "")
        yield Text.assemble(
            _hop_cells(printable(hop.name), str(hop.sessions), latency, name),
            (state, _COLOURS[hop.state]),
        )
    if len(hops) > room:
        yield Text(f"and {len(hops) - room} more hops", "dim")


def _hop_cells(name: str, sessions: str, latency: str, width: int) -> str:
    return f"{_cell(name, width)}  {_cell(sessions, 8, right=True)}  {_cell(latency, 7, right=True)}  "


def _columns(width: int) -> list[_Column]:
    is_wide = width >= WIDE
    fixed = [
        _Column("ID", 6),
        _Column("CLIENT", 15, 1, Order.CLIENT),
        *([_Column("USER", 6, 1)] if is_wide else []),
        _Column("DESTINATION", 14, 4, Order.DESTINATION),
        *([_Column("CHAIN", 8, 2)] if is_wide else []),
        _Column("NOW", 15, 4),
        _Column("LEFT", 4, order=Order.LEFT, right=True),
        _Column("AGE", 4, order=Order.AGE, right=True),
        *([_Column("UP", 5, order=Order.BYTES, right=True)] if is_wide else []),
        *([_Column("DOWN", 5, order=Order.BYTES, right=True)] if is_wide else []),
        _Column("UP/s", 6, order=Order.RATE, right=True),
        _Column("DOWN/s", 6, order=Order.RATE, right=True),
    ]
    spare = width - sum(column.width for column in fixed) - len(fixed) + 1
    shares = sum(column.share for column in fixed)
    return [
        replace(column, width=column.width + max(0, spare) * column.share // shares) if column.share else column
        for column in fixed
    ]


def _heading(view: View, columns: Sequence[_Column]) -> Text:
    line = Text(style="reverse")
    for number, column in enumerate(columns):
        line.append(" " if number else "")
        style = "bold underline" if column.order is view.order else ""
        padding = " " * (column.width - len(column.heading))
        line.append_text(Text.assemble(padding if column.right else "", (column.heading, style)))
        line.append("" if column.right else padding)
    return line


def _session(view: View, session: Session, columns: Sequence[_Column], *, briefly: bool) -> Text:
    place, rate = session.place, view.rate(session)
    is_relayed = place.phase is Phase.RELAY
    cells = {
        "ID": session.id,
        "CLIENT": session.client,
        "USER": session.user or "",
        "DESTINATION": show_destination(session),
        "CHAIN": session.chain or "",
        "NOW": _now(place, briefly=briefly),
        "LEFT": "" if place.left is None or is_relayed else brief_duration(place.left),
        "AGE": brief_duration(session.age),
        "UP": brief_bytes(session.up),
        "DOWN": brief_bytes(session.down),
        "UP/s": brief_bytes(rate.up) if rate.up else "",
        "DOWN/s": brief_bytes(rate.down) if rate.down else "",
    }
    is_late = not is_relayed and place.left is not None and place.left < SOON
    styles = {"NOW": _PHASES[place.phase], "LEFT": "bold red" if is_late else "", "UP/s": "green", "DOWN/s": "green"}
    line = Text(style="reverse" if session.id == view.chosen else "")
    for number, column in enumerate(columns):
        line.append(" " if number else "")
        cell = _cell(printable(cells[column.heading]), column.width, right=column.right)
        line.append(cell, styles.get(column.heading, ""))
    return line


def _now(place: Place, *, briefly: bool) -> str:
    step = _BRIEF.get(place.step or "", place.step) if briefly else place.step
    return f"{place.hop}: {step}" if place.hop else step or place.phase


def _foot(view: View, meant: int, total: int, seen: int) -> Text:
    match view.ask:
        case Ask.FILTER:
            return Text.assemble(("filter: ", "bold"), printable(view.filter), ("_", "blink"))
        case Ask.KILL:
            return Text(f"end session {view.chosen}? y: yes, any other key: no", "bold red")
    if view.message:
        return Text(view.message, "bold yellow")
    where = f"{view.first + 1}-{view.first + seen} of {meant}" if seen < meant else f"{meant}"
    if view.filter:
        where += f" (of {total}) with “{printable(view.filter)}”"
    where += f" by {view.order}" + (", reversed" if view.is_reversed else "")
    return Text.assemble((f"{where}  ", ""), (HELP, "dim"))


def _cell(text: str, width: int, *, right: bool = False) -> str:
    """Return a text that is exactly `width` columns wide; one that was cut ends in an ellipsis."""
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - size) + text if right else text + " " * (width - size)
