"""How what a running server says is shown to people."""

from __future__ import annotations

from chainsocks.control.messages import Hop, HopState, Place, Session
from chainsocks.observe.phase import Phase
from chainsocks.protocol.address import printable

__all__ = [
    "brief_bytes",
    "brief_duration",
    "show_bytes",
    "show_destination",
    "show_duration",
    "show_latency",
    "show_place",
    "show_state",
    "show_way",
]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEPS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def show_bytes(amount: float) -> str:
    """Show an amount of bytes with a unit, in at most 8 columns."""
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


def show_duration(seconds: float) -> str:
    """Show a duration in at most two units."""
    for size, unit, part_size, part_unit in _STEPS:
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            part = int(rest // part_size)
            return f"{whole:.0f} {unit} {part} {part_unit}" if part else f"{whole:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def show_way(session: Session) -> str:
    """Say which way the request of a session goes: the chain, and its hops once they are chosen."""
    hops = ", ".join(session.hops or ())
    return f"{session.chain or ''}: {hops}" if hops else session.chain or ""


def brief_duration(seconds: float) -> str:
    """Show seconds in at most four columns."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}s"


def brief_bytes(amount: float) -> str:
    """Show an amount of bytes in at most five columns."""
    unit = ""
    for larger in "KMGT":
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f}{unit}" if unit and amount < 100 else f"{amount:.0f}{unit}"


def show_destination(session: Session) -> str:
    """Show what the client asked for; a command that is not the usual one, too."""
    if session.destination is None:
        return ""
    return session.destination if session.command == "CONNECT" else f"{session.command} {session.destination}"


def show_latency(seconds: float) -> str:
    """Show how long something took that is short."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"


def show_place(place: Place) -> str:
    """Say what a session waits for, and how long it still may."""
    left = "" if place.left is None else f", {place.left:.1f} s left"
    if place.phase is Phase.DIAL and place.step:
        return printable(f"{place.hop}: {place.step}{left}" if place.hop else f"{place.step}{left}")
    return place.phase if place.phase is Phase.RELAY else f"{place.phase}{left}"


def show_state(hop: Hop) -> str:
    """Say how a hop is, since when, and when it is tried again."""
    parts: list[str] = [hop.state]
    if hop.since is not None:
        parts.append(f"for {show_duration(hop.since)}")
    if hop.state is HopState.BACKOFF and hop.retry is not None:
        parts.append(f"tried again in {show_duration(hop.retry)}" if hop.retry > 0 else "tried by the next request")
    if hop.workers > 1 and 0 < hop.workers_avoiding < hop.workers:
        parts.append(f"in {hop.workers_avoiding} of {hop.workers} workers")
    return ", ".join(parts)
