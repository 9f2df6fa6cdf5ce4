"""What the benchmark of TLS chains makes of its measurements; they themselves are made by a smoke run."""

from __future__ import annotations

from benchmarks.tls import Figures, relays, tabulate


def test_the_relays_stand_by_their_hops() -> None:
    assert [relay.name for relay in relays(2)] == [
        "1 hop, open",
        "1 hop, TLS",
        "1 hop, sealed",
        "stunnel and microsocks",
        "2 hops, open",
        "2 hops, TLS",
        "2 hops, sealed",
    ]


def test_a_table_of_medians() -> None:
    figures = Figures([2.0**20, 3 * 2.0**20, 9 * 2.0**20], [0.5], [0.001, 0.003], [0.0005])
    assert tabulate({"1 hop, open": figures}).splitlines() == [
        "             bulk, MiB/s  bulk, CPU s/GiB  session, ms  session, CPU ms",
        "1 hop, open            3             0.50         2.00             0.50",
    ]
