"""What a misspelt name may have been meant to be."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from chainsocks.config.values import describe, mask

__all__ = ["suggest"]


def suggest(name: str, known: Collection[str]) -> str:
    """Return ``; did you mean 'x'?`` where a known name is close, otherwise the list of what is known."""
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    if close:
        return f"; did you mean {describe(close[0])}?"
    return f"; known are {', '.join(mask(name) for name in sorted(set(known)))}" if known else ""
