from __future__ import annotations

import pytest
import trio

from benchmarks.reloads import Order, Report, main, run


@pytest.mark.measure
@pytest.mark.parametrize("workers", [1, 2])
def test_a_small_one(workers: int) -> None:
    report = trio.run(run, Order(workers, reloads=3, wrong=1, kills=1, rate=20, long=2))
    assert report.is_fine, str(report)
    assert (report.reloads, report.refused_files, report.kills) == (5, 1, workers - 1)
    assert report.finished_in_grace == 50


def fine() -> Report:
    return Report(1, files=(10, 10), memory=(30, 31), status=0, listens_afterwards=False)


@pytest.mark.parametrize(
    ("change", "is_fine"),
    [
        ({}, True),
        ({"files": (10, 11)}, False),
        ({"memory": (30, 36)}, False),
        ({"lost": 5}, True),
        ({"lost_of_others": 1}, False),
        ({"status": 1}, False),
        ({"listens_afterwards": True}, False),
    ],
)
def test_what_is_as_it_has_to_be(change: dict[str, object], *, is_fine: bool) -> None:
    report = fine()
    for name, value in change.items():
        setattr(report, name, value)
    assert report.is_fine is is_fine
    assert ("fine" in str(report)) == is_fine


def test_problems_of_clients_are_listed() -> None:
    report = fine()
    report.problems["connect: refused"] += 2
    assert not report.is_fine
    assert "{'connect: refused': 2}" in str(report)


def test_the_status_tells_whether_all_is_fine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    orders: list[Order] = []

    async def note(order: Order) -> Report:
        await trio.lowlevel.checkpoint()
        orders.append(order)
        report = fine()
        report.listens_afterwards = order.workers == 3
        return report

    monkeypatch.setattr("benchmarks.reloads.run", note)
    assert main(["--reloads", "7"]) == 0
    assert main(["--workers", "3"]) == 1
    assert orders == [Order(1, reloads=7), Order(2, reloads=7), Order(3)]
    assert capsys.readouterr().out.count("SIGTERM") == 3
