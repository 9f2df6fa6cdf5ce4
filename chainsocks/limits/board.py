"""What the workers of a server tell one another of their clients: numbers in memory that they share.

1. The parent makes the board before it forks, and each worker that lives has a column of its own. It writes there only,
   and reads those of the others, so that nothing needs a lock.
2. A client's number stands in two rows, which its hash picks, and the smaller one counts. It is too high where other
   clients use both rows as well, which is so for one of some 250 clients if there are 1,000. It is never too low.
3. Python's hash of a text is keyed, and the same in all processes that were forked from one.
"""

from __future__ import annotations

import mmap

__all__ = ["COLUMNS", "Board", "Column"]

COLUMNS = 64
"""Workers that can have a column. Further ones count by themselves."""

ROWS = 32_768
"""Rows for clients."""

_SIZE = 4  # bytes of a number


class Board:
    """See the module. Rows that are not used take no memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, COLUMNS * ROWS * _SIZE)
        self._numbers = memoryview(self._memory).cast("I")
        self._taken = set[int]()

    def take_column(self) -> int | None:
        """Return the index of an empty column for a worker that starts; None if there is none. For the parent."""
        index = next((index for index in range(COLUMNS) if index not in self._taken), None)
        if index is not None:
            self._taken.add(index)
        return index

    def give_back(self, index: int) -> None:
        """Empty the column of a worker that has died. For the parent."""
        self._taken.discard(index)
        for row in range(ROWS):
            place = row * COLUMNS + index
            if self._numbers[place]:
                self._numbers[place] = 0

    def column(self, index: int) -> Column:
        """Return a column, for its worker."""
        return Column(self._numbers, index)


class Column:
    """The column of one worker. Clients are any texts."""

    __slots__ = ("_index", "_numbers")

    def __init__(self, numbers: memoryview, index: int) -> None:
        self._numbers = numbers
        self._index = index

    def add(self, client: str, number: int) -> None:
        """Add to the number of a client; it may be less than 0, and the sum never is."""
        for start in _rows(client):
            self._numbers[start + self._index] += number

    def of_others(self, client: str) -> int:
        """Return the sum of the numbers that the other workers have for a client."""
        return min(
            sum(self._numbers[start : start + COLUMNS]) - self._numbers[start + self._index] for start in _rows(client)
        )


def _rows(client: str) -> tuple[int, ...]:
    """Return where the rows of a client begin; one if both are the same."""
    number = hash(client)
    one, other = number % ROWS * COLUMNS, (number >> 24) % ROWS * COLUMNS
    return (one,) if one == other else (one, other)
