"""The board of the workers: what one writes, the others read, and nothing of a dead one stays."""

from __future__ import annotations

import os

import pytest

from chainsocks.limits import board as module
from chainsocks.limits.board import COLUMNS, Board, Column

A, B = "192.0.2.1", "user carol"


def columns_of(board: Board, count: int) -> list[Column]:
    indices = [board.take_column() for _ in range(count)]
    return [board.column(index) for index in indices if index is not None]


def test_workers_see_the_numbers_of_the_others() -> None:
    one, other, third = columns_of(Board(), 3)
    one.add(A, 2)
    other.add(A, 3)
    other.add(B, 1)
    assert [each.of_others(A) for each in (one, other, third)] == [3, 2, 5]
    assert [each.of_others(B) for each in (one, other, third)] == [1, 0, 1]
    one.add(A, -2)
    assert [each.of_others(A) for each in (one, other, third)] == [3, 0, 3]


def test_the_column_of_a_dead_worker_is_empty_for_the_next() -> None:
    board = Board()
    first, second = board.take_column(), board.take_column()
    assert (first, second) == (0, 1)
    board.column(1).add(A, 7)
    board.give_back(1)
    assert board.column(0).of_others(A) == 0
    assert board.take_column() == 1


def test_there_are_only_so_many_columns() -> None:
    board = Board()
    assert len(columns_of(board, COLUMNS + 1)) == COLUMNS
    assert board.take_column() is None


def test_clients_with_a_row_in_common_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 512)
    one, other = columns_of(Board(), 2)
    for number in range(64):
        one.add(f"client {number}", 1)
    counts = [other.of_others(f"client {number}") for number in range(64)]
    assert min(counts) == 1
    assert sum(count > 1 for count in counts) < 16
    assert sum(other.of_others(f"stranger {number}") > 0 for number in range(64)) < 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_writes_for_the_others() -> None:
    board = Board()
    one, other = columns_of(board, 2)
    pid = os.fork()
    if pid == 0:
        other.add(A, 5)
        os._exit(0)
    os.waitpid(pid, 0)
    assert one.of_others(A) == 5
