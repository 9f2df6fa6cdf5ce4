"""What is said of pipelining: the table, what one key of a chain may be, and what has to be written otherwise."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from chainsocks.chain.pipeline_check import Finding, Support
from chainsocks.config.hops import Hop, Pipeline
from chainsocks.protocol.gssapi import Gssapi
from chainsocks.tools.probe.keeping import Kept
from chainsocks.tools.probe.pipelining import Common, Row, common_key, complaints, kept_table, reasons
from tests.hops import make_hop

KEEPS, LOSES, UNKNOWN = Support
OFF, HOP, CHAIN = Pipeline
ALL, SOME, NONE = Finding(KEEPS, KEEPS), Finding(KEEPS, LOSES, "silence"), Finding(LOSES, UNKNOWN, "more silence")
PARIS, OSAKA, LIMA = map(make_hop, (1, 2, 3))


def row(hop: Hop, finding: Finding | None, chains: Pipeline = OFF, *, is_last: bool = False) -> Row:
    kept = Kept(hop, finding, hop.pipelined(chains), is_last) if finding else None
    return Row(f"{hop.name} (1 of 1)", hop, kept)


OWN_OFF = replace(OSAKA, pipeline=OFF)
GSSAPI = make_hop(2, login=Gssapi())

KEYS: dict[str, tuple[list[Row], Common | None]] = {
    "all keep all": ([row(PARIS, ALL), row(LIMA, ALL)], Common(CHAIN, (), ())),
    "one keeps some": ([row(PARIS, ALL), row(OSAKA, SOME), row(LIMA, ALL)], Common(HOP, ("osaka",), ())),
    "one keeps nothing": ([row(PARIS, NONE), row(OSAKA, SOME), row(LIMA, ALL)], Common(OFF, ("paris",), ())),
    "one was not reached": ([row(PARIS, ALL), row(OSAKA, None)], Common(OFF, ("osaka",), ())),
    "nothing comes behind the last": ([row(PARIS, ALL), row(OSAKA, SOME, is_last=True)], Common(CHAIN, (), ())),
    "the last loses its own": ([row(PARIS, ALL), row(OSAKA, NONE, is_last=True)], Common(OFF, ("osaka",), ())),
    "one has its own": ([row(PARIS, ALL), row(OWN_OFF, NONE)], Common(CHAIN, (), ("osaka",))),
    "all have their own": ([row(OWN_OFF, NONE)], None),
    "a login by GSSAPI": ([row(PARIS, ALL), row(GSSAPI, Finding(UNKNOWN, UNKNOWN))], Common(CHAIN, (), ())),
    "twice": ([row(OSAKA, SOME), row(PARIS, ALL), row(OSAKA, SOME)], Common(HOP, ("osaka",), ())),
    "nobody": ([], None),
}


@pytest.mark.parametrize(("rows", "common"), KEYS.values(), ids=KEYS)
def test_the_key_of_a_chain(rows: list[Row], common: Common | None) -> None:
    assert common_key(rows) == common


def test_the_table() -> None:
    output = io.StringIO()
    Console(file=output, width=200).print(kept_table([row(PARIS, ALL), row(OSAKA, NONE), row(LIMA, None)]))
    assert [line.rstrip() for line in output.getvalue().splitlines()] == [
        "hop             its messages at once  what comes behind  may be written",
        'paris (1 of 1)  keeps                 keeps              pipeline = "chain"',
        'osaka (1 of 1)  loses                 unknown            pipeline = "off"',
        "lima (1 of 1)   -                     -                  -",
    ]


def test_the_reasons() -> None:
    rows = [row(PARIS, ALL), row(OSAKA, SOME), row(replace(LIMA, name="l\nim", pipeline=OFF), NONE)]
    assert list(reasons(rows, common_key(rows))) == [
        "osaka: silence",
        r"l\nim: more silence",
        'for the whole chain: pipeline = "hop"; osaka: not known to be fit for more (a setting of its own has: l\\nim)',
    ]
    assert list(reasons([row(PARIS, ALL)], Common(CHAIN, (), ()))) == ['for the whole chain: pipeline = "chain"']
    assert list(reasons([row(PARIS, ALL)], None)) == []


def test_what_is_said_of_a_hop_that_is_pipelined_too_far() -> None:
    rows = [row(PARIS, ALL, CHAIN), row(OSAKA, SOME, CHAIN), row(replace(LIMA, pipeline=HOP), NONE, CHAIN)]
    assert list(complaints(rows, common_key(rows))) == [
        'PIPELINED TOO FAR: osaka has pipeline = "chain" by its chain, and loses what comes behind its request',
        '  - write pipeline = "hop" for hop osaka in [hops], or pipeline = "hop" for the whole chain',
        'PIPELINED TOO FAR: lima has pipeline = "hop", and loses its own messages where they come at once',
        '  - write pipeline = "off" for hop lima in [hops]',
    ]


def test_nothing_is_said_where_nothing_is_lost() -> None:
    rows = [row(PARIS, ALL, CHAIN), row(OSAKA, SOME, HOP), row(LIMA, None, CHAIN)]
    assert list(complaints(rows, common_key(rows))) == []
