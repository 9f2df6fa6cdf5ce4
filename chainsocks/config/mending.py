"""Guess what a table with mistakes was meant to be, so that what is right in it is checked as well.

Nothing of this is used to serve: a file with a mistake is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chainsocks.config.complaints import Place, as_written, known_keys
from chainsocks.config.suggest import closest
from chainsocks.config.tables import Table

__all__ = ["Mended", "rename_unknown", "without"]


@dataclass(frozen=True, slots=True)
class Mended:
    """A table whose unknown keys have the names that were probably meant; those like no known key are left out."""

    raw: Mapping[str, Any]
    renamed: Mapping[Place, str]
    """The names in the file, by the places of the keys in `raw`."""
    is_whole: bool
    """Whether no key is left out."""

    def place_in_file(self, location: Place) -> Place:
        """Return the place that a key or a value of `raw` has in the file."""
        location = as_written(self.raw, location)
        return tuple(self.renamed.get(location[: index + 1], part) for index, part in enumerate(location))


def rename_unknown(model: type[Table], raw: Mapping[str, Any], unknown: Iterable[Place]) -> Mended:
    """Return `raw` with other names for the keys at the places `unknown`, which pydantic reports as such."""
    mended = dict(raw)
    renamed: dict[Place, str] = {}
    is_whole = True
    for location in unknown:
        *above, key = as_written(raw, location)
        table = _copied_down_to(mended, above)
        value = table.pop(key)
        meant = closest(key, known_keys(model, location))
        if meant is None or meant in table:
            is_whole = False
        else:
            table[meant] = value
            renamed[*above, meant] = str(key)
    return Mended(mended, renamed, is_whole)


def without(raw: Mapping[str, Any], bad: Iterable[Place]) -> dict[str, Any] | None:
    """Return `raw` without the keys of the values at the places `bad`; None where the whole of it is bad."""
    keys = {location[0] if location else None for location in bad}
    return None if None in keys else {key: value for key, value in raw.items() if key not in keys}


def _copied_down_to(table: dict[str, Any], above: Iterable[str | int]) -> Any:
    """Return what is at a place in `table`; put copies of it and of all above it in place of the originals."""
    here: Any = table
    for part in above:
        here[part] = here[part].copy()
        here = here[part]
    return here
