"""The keys of `chainsocks top`: from bytes of a terminal to names, and from names to changes of the view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto

from chainsocks.tools.top.view import Ask, Order, View

__all__ = ["HELP", "Action", "press", "read_keys"]

HELP = "q:quit s:sort r:turn /:filter p:pause ↑↓ k:kill"

_ESCAPES = {
    "[A": "up",
    "OA": "up",
    "[B": "down",
    "OB": "down",
    "[5~": "page-up",
    "[6~": "page-down",
    "[H": "home",
    "OH": "home",
    "[1~": "home",
    "[F": "end",
    "OF": "end",
    "[4~": "end",
    "": "escape",
}
_CONTROLS = {"\r": "enter", "\n": "enter", "\x7f": "erase", "\x08": "erase", "\x03": "q", "\x15": "clear"}
_KEY = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O[A-Za-z]|)|(.)", re.DOTALL)

_MOVES = {"up": -1, "down": 1, "page-up": -10, "page-down": 10, "home": -1_000_000, "end": 1_000_000}


class Action(Enum):
    """What a key asks for, beside a change of the view."""

    NOTHING = auto()
    QUIT = auto()
    KILL = auto()
    """To end the chosen session; the user has said yes."""


def read_keys(data: bytes) -> Iterator[str]:
    """Yield the names of the keys that a terminal has sent; unknown escape sequences are left out."""
    for match in _KEY.finditer(data.decode("utf-8", "ignore")):
        escape, character = match.groups()
        if character is None:
            if name := _ESCAPES.get(escape):
                yield name
        else:
            yield _CONTROLS.get(character, character)


def press(view: View, key: str) -> Action:
    """Do what a key means for the view; return what else it means."""
    view.message = ""
    if view.ask is Ask.FILTER:
        _edit(view, key)
        return Action.NOTHING
    if view.ask is Ask.KILL:
        view.ask = Ask.NOTHING
        return Action.KILL if key in ("y", "Y") else Action.NOTHING
    if key in _MOVES:
        view.move(_MOVES[key], view.sessions())
        return Action.NOTHING
    match key:
        case "q" | "Q":
            return Action.QUIT
        case "s":
            orders = [*Order]
            view.order = orders[(orders.index(view.order) + 1) % len(orders)]
        case "r":
            view.is_reversed = not view.is_reversed
        case "p" | " ":
            view.is_paused = not view.is_paused
        case "/":
            view.ask = Ask.FILTER
        case "escape":
            view.filter = view.chosen = ""
        case "k" if any(each.id == view.chosen for each in view.sessions()):
            view.ask = Ask.KILL
        case "k":
            view.message = "choose a session first, with the arrows"
    return Action.NOTHING


def _edit(view: View, key: str) -> None:
    """Change the filter."""
    match key:
        case "enter":
            view.ask = Ask.NOTHING
        case "escape":
            view.ask, view.filter = Ask.NOTHING, ""
        case "erase":
            view.filter = view.filter[:-1]
        case "clear":
            view.filter = ""
        case _ if len(key) == 1 and key.isprintable():
            view.filter += key
