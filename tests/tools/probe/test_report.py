"""What a probe shows: the whole text, and the whole JSON, of walks whose times are known."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from chainsocks.chain.trip import CONNECT
from chainsocks.config.chains import DIRECT, Chain
from chainsocks.config.choices import Pipeline
from chainsocks.config.groups import Group
from chainsocks.config.kinds import HopProtocol
from chainsocks.protocol.address import Address
from chainsocks.protocol.handshake import State
from chainsocks.tools.probe.findings import Kind, ProbeReport
from chainsocks.tools.probe.questions import Ability, Answer, Question
from chainsocks.tools.probe.report import show, show_summary
from chainsocks.tools.probe.walk import WarmRequest
from tests.hops import Fault, Trouble, make_hop
from tests.tools.probe.probing import probed_of


def shown(report: ProbeReport, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding)
    show(report, Console(file=output, width=1000, markup=False, emoji=False, highlight=False))
    output.flush()
    return "\n".join(line.rstrip() for line in raw.getvalue().decode(encoding).splitlines())


EVIL = "a\nb\x1b[31m[red]"

FINE = """\
chain default: to example.org:80; only lima learns this destination

here ──> paris ──> osaka ──> lima ──> example.org:80

┏━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ hop            ┃ protocol ┃ address       ┃ step                              ┃      ms ┃
┡━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ paris (1 of 3) │ socks5   │ 10.0.0.1:1080 │ TCP connect                       │  500.00 │
│                │          │               │ method negotiation                │    0.00 │
│                │          │               │ username/password sub-negotiation │    0.00 │
│                │          │               │ request                           │  500.00 │
│ osaka (2 of 3) │ socks4a  │ 10.0.0.2:1080 │ request                           │  500.00 │
│ lima (3 of 3)  │ socks5   │ 10.0.0.3:1080 │ method negotiation                │    0.00 │
│                │          │               │ username/password sub-negotiation │    0.00 │
│                │          │               │ request                           │    0.00 │
├────────────────┼──────────┼───────────────┼───────────────────────────────────┼─────────┤
│ all hops       │          │               │                                   │ 1500.00 │
└────────────────┴──────────┴───────────────┴───────────────────────────────────┴─────────┘

hop             login              names    UDP  IPv6
paris (1 of 3)  username/password  yes      yes  understood
osaka (2 of 3)  user id            unknown  no   no
lima (3 of 3)   username/password  yes      yes  understood
  IPv6 understood (paris, lima): it refused [::1]:9: connection refused (05)
  names unknown (osaka): it refused localhost:9: general SOCKS server failure (01); \
it refused chainsocks.invalid:9: general SOCKS server failure (01)
  UDP no (osaka): socks4a has none
  IPv6 no (osaka): socks4a has none

The chain default is fine: 1500.00 ms."""

BROKEN = """\
chain default: to example.org:80; only lima learns this destination

here --> paris --X osaka ..> lima ..> example.org:80

+-----------------------------------------------------------------------------------------+
| hop            | protocol | address       | step                              |      ms |
|----------------+----------+---------------+-----------------------------------+---------|
| paris (1 of 3) | socks5   | 10.0.0.1:1080 | TCP connect                       |  500.00 |
|                |          |               | method negotiation                |    0.00 |
|                |          |               | username/password sub-negotiation |    0.00 |
|                |          |               | request                           |  500.00 |
| osaka (2 of 3) | socks4a  | 10.0.0.2:1080 | not reached                       |         |
| lima (3 of 3)  | socks5   | 10.0.0.3:1080 | not reached                       |         |
|----------------+----------+---------------+-----------------------------------+---------|
| all hops       |          |               |                                   | 1000.00 |
+-----------------------------------------------------------------------------------------+

hop             login              names  UDP  IPv6
paris (1 of 3)  username/password  yes    yes  understood
osaka (2 of 3)  -                  -      -    -
lima (3 of 3)   -                  -      -    -
  IPv6 understood (paris): it refused [::1]:9: connection refused (05)

BROKEN: hop paris (1 of 3) at 10.0.0.1:1080, request: it could not reach osaka at 10.0.0.2:1080, \
it says: connection refused (05) (0.50 s of 1.5 s)
  - first suspect: osaka, which may not be running, or have another port; second: paris, \
which may not be allowed to connect there
  - to find out, `chainsocks probe --all` connects to osaka directly (which shows it your own address): \
if that works, paris is to blame"""


async def test_a_chain_that_is_fine(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert shown(await probed_of(nursery)) == FINE


async def test_a_chain_that_is_broken_where_only_ascii_can_be_shown(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    assert shown(await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL)), "ascii") == BROKEN


async def test_without_a_destination(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4))
    text = shown(await probed_of(nursery, chain=chain, destination=None))
    assert text.startswith(
        "chain default: up to the last hop, which is sent no request (name a HOST:PORT to connect to)\n"
    )
    assert "│ osaka (2 of 2) │ socks4   │ 10.0.0.2:1080 │ connected                         │" in text
    assert "  osaka: socks4 has no message before the request, so only the connection was tested" in text


async def test_an_http_hop_is_asked_without_a_destination(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), make_hop(2, HopProtocol.HTTP))
    text = shown(await probed_of(nursery, chain=chain, destination=None))
    assert "up to the last hop, which is asked for localhost:9 only (name a HOST:PORT to connect to)\n" in text
    assert "│                │          │               │ request" in text
    assert "The chain default is fine" in text
    assert "no message before" not in text


async def test_with_a_header_of_its_own(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), send_proxy=True)
    text = shown(await probed_of(nursery, {"paris": Trouble(CONNECT, Fault.GARBAGE)}, chain=chain, destination=None))
    first, *_ = text.splitlines()
    assert first.endswith("; with a PROXY protocol header that tells of no client")
    assert "  - the chain has send_proxy: does this hop expect a PROXY protocol header, and from this machine?" in text


async def test_a_socks4_hop_that_was_asked_is_known(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4))
    text = shown(await probed_of(nursery, chain=chain, destination=Address("10.0.0.80", 80)))
    assert "The chain default is fine" in text
    assert "no message before" not in text


@pytest.mark.parametrize("fault", [None, Fault.REFUSAL, Fault.MUTE])
async def test_names_forge_no_lines_and_no_colours(
    fault: Fault | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    evil = Chain(make_hop(1), replace(make_hop(2), name=EVIL), name="c\rd")
    trouble = {EVIL: Trouble(State.REQUEST, fault)} if fault else None
    text = shown(await probed_of(nursery, trouble, chain=evil))
    assert "\x1b" not in text
    assert "\nb" not in text
    assert r"──> a\nb\x1b[31m[red]" in text
    assert r"chain c\rd" in text


GROUPS = """\
chain default: to example.org:80; only the last hop learns this destination

here ──> paris ──> ([✗ osaka] | lima) ──> example.org:80

┏━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
┃ hop            ┃ protocol ┃ address       ┃ step                              ┃      ms ┃
┡━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
│ paris (1 of 2) │ socks5   │ 10.0.0.1:1080 │ TCP connect                       │  500.00 │
│                │          │               │ method negotiation                │    0.00 │
│                │          │               │ username/password sub-negotiation │    0.00 │
│                │          │               │ request                           │  500.00 │
│ lima (2 of 2)  │ socks5   │ 10.0.0.3:1080 │ method negotiation                │    0.00 │
│                │          │               │ username/password sub-negotiation │    0.00 │
│                │          │               │ request                           │    0.00 │
├────────────────┼──────────┼───────────────┼───────────────────────────────────┼─────────┤
│ all hops       │          │               │                                   │ 1000.00 │
├────────────────┼──────────┼───────────────┼───────────────────────────────────┼─────────┤
│ osaka (2 of 2) │ socks5   │ 10.0.0.2:1080 │ method negotiation                │ 1500.00 │
└────────────────┴──────────┴───────────────┴───────────────────────────────────┴─────────┘

hop             login              names  UDP  IPv6
paris (1 of 2)  username/password  yes    yes  understood
lima (2 of 2)   username/password  yes    yes  understood
osaka (2 of 2)  -                  -      -    -
  IPv6 understood (paris, lima): it refused [::1]:9: connection refused (05)

group  member  state        ms
exits  osaka   failed
       lima    works   1000.00

NOT WORKING: osaka of group exits: hop osaka (2 of 2) at 10.0.0.2:1080, method negotiation: no complete answer \
on the way to example.org:80 (1.50 s of 1.5 s)
  - the connection was accepted, but no answer came: is 1080 the port of a SOCKS5 proxy?
  - web servers, TLS servers and proxies that speak only SOCKS4 may be silent like this
  - all of this was seen through paris, which may have connected to something else: `chainsocks probe --all` \
connects to osaka directly (which shows it your own address)
  - if it is only slow: give hop osaka a `timeout` in [hops]
The chain default works without osaka: 1000.00 ms."""

PARIS, OSAKA, LIMA = make_hop(1), make_hop(2), make_hop(3)
EXITS = Chain(PARIS, Group(OSAKA, LIMA, name="exits"))


async def test_a_chain_that_works_without_a_member(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert shown(await probed_of(nursery, Trouble(State.METHOD_NEGOTIATION, Fault.MUTE), EXITS)) == GROUPS


async def test_all_members_work(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    text = shown(await probed_of(nursery, chain=EXITS))
    assert "NOT WORKING" not in text
    assert text.endswith("The chain default is fine: 1000.00 ms.")
    assert "lima (2 of 2)   username/password  yes    yes  understood" in text, "a member that is not in the walk"


async def test_no_member_works(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    refusal = Trouble(CONNECT, Fault.REFUSAL)
    text = shown(await probed_of(nursery, {"osaka": refusal, "lima": refusal}, EXITS))
    broken = text[text.index("BROKEN") :]
    assert [line.split(":")[0] for line in broken.splitlines() if not line.startswith("  - ")] == [
        "BROKEN",
        "NOT WORKING",
    ]
    assert "could not reach osaka" in broken.split("NOT WORKING")[0]
    assert "could not reach lima" in broken.split("NOT WORKING")[1]


@pytest.mark.parametrize("retry_refused", [False, True])
async def test_a_member_that_tells_what_the_destination_did(
    autojump_clock: MockClock, nursery: trio.Nursery, *, retry_refused: bool
) -> None:
    chain = Chain(Group(PARIS, OSAKA, retry_refused=retry_refused))
    text = shown(await probed_of(nursery, Trouble(State.REQUEST, Fault.REFUSAL), chain))
    assert "The chain default works without osaka" in text
    assert ("with `retry_refused = true` they would" in text) is not retry_refused


async def test_a_chain_that_may_leave_out_hops(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    chain = Chain(PARIS, OSAKA, LIMA, skip_dead=True)
    text = shown(await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL), chain))
    assert "here ──> paris ··> [✗ osaka] ──> lima ──> example.org:80" in text
    assert "NOT WORKING: osaka, which this chain may skip: hop paris (1 of 3)" in text
    assert "(may be skipped)  osaka   failed" in text


LOSES = Trouble(State.METHOD_NEGOTIATION, Fault.LOSS)
HINT = "  - pipelining may be the cause: `chainsocks probe --pipeline` tests which hops support it"

KEPT = """\
hop             pipeline = "hop"  pipeline = "chain"  safe setting
paris (1 of 3)  supported         supported           pipeline = "chain"
osaka (2 of 3)  not supported     not supported       pipeline = "off"
lima (3 of 3)   supported         supported           pipeline = "chain"
  osaka: hop osaka (2 of 2) at 10.0.0.2:1080, username/password sub-negotiation: no complete answer \
on the way to 10.0.0.3:1080 (1.50 s of 1.5 s)
  safe for the whole chain: pipeline = "off"; not known to support more: osaka

PIPELINING NOT SUPPORTED: osaka has pipeline = "chain" from its chain, but loses messages that are sent before it has \
replied
  - set pipeline = "off" for hop osaka in [hops], or pipeline = "off" for the whole chain
BROKEN: hop osaka (2 of 3) at 10.0.0.2:1080, username/password sub-negotiation: no complete answer \
on the way to 10.0.0.3:1080 (1.50 s of 1.5 s)"""


async def test_a_chain_whose_setting_is_too_high(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """No other hop is suspected then; and without the option, a hint names it."""
    chain = Chain(PARIS, OSAKA, LIMA, pipeline="chain")
    text = shown(await probed_of(nursery, LOSES, chain, pipelining=True))
    assert text.partition("refused (05)\n\n")[2] == KEPT
    text = shown(await probed_of(nursery, LOSES, chain))
    assert "safe setting" not in text
    assert text.splitlines()[-1] == HINT


async def test_the_fault_of_another_hop_is_not_blamed_on_pipelining(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(PARIS, OSAKA, LIMA, pipeline="chain")
    text = shown(await probed_of(nursery, Trouble(State.METHOD_NEGOTIATION, Fault.MUTE), chain, pipelining=True))
    assert "PIPELINING NOT SUPPORTED" not in text
    assert "  - the connection was accepted, but no answer came" in text
    assert HINT not in text


async def test_a_chain_that_works_without_a_member_whose_setting_is_too_high(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(Group(PARIS, OSAKA), LIMA, pipeline="chain")
    probed = await probed_of(nursery, LOSES, chain, pipelining=True)
    lines = shown(probed).splitlines()
    begun = next(number for number, line in enumerate(lines) if line.startswith("PIPELINING NOT SUPPORTED: osaka"))
    assert [line.split(":")[0] for line in lines[begun:]] == [
        "PIPELINING NOT SUPPORTED",
        '  - set pipeline = "off" for hop osaka in [hops], or pipeline = "off" for the whole chain',
        "NOT WORKING",
        "The chain default works without osaka",
    ]
    output = io.StringIO()
    show_summary([probed], Console(file=output, width=1000))
    assert output.getvalue().startswith("chain default  PIPELINING NOT SUPPORTED at osaka ")


async def test_hops_with_settings_of_their_own(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Some lose what comes behind their request."""
    evil = replace(LIMA, name="l\nim", pipeline=Pipeline.HOP)
    troubles = {"osaka": Trouble(State.REQUEST, Fault.LOSS), "l\nim": LOSES}
    report = await probed_of(nursery, troubles, Chain(PARIS, OSAKA, evil, pipeline="chain"), None, pipelining=True)
    lines = shown(report).splitlines()
    [whole] = [line for line in lines if line.startswith("  safe for the whole chain")]
    assert whole == (
        '  safe for the whole chain: pipeline = "hop"; not known to support more: osaka; '
        r"with a setting of its own: l\nim"
    )
    begun = next(number for number, line in enumerate(lines) if line.startswith("PIPELINING"))
    assert lines[begun:-1] == [
        'PIPELINING NOT SUPPORTED: osaka has pipeline = "chain" from its chain, '
        "but loses what is sent behind its request",
        '  - set pipeline = "hop" for hop osaka in [hops], or pipeline = "hop" for the whole chain',
        r'PIPELINING NOT SUPPORTED: l\nim has pipeline = "hop", but loses messages that are sent before it has replied',
        r'  - set pipeline = "off" for hop l\nim in [hops]',
    ]


async def test_a_chain_whose_last_hop_only_has_too_high_a_setting(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chain = Chain(PARIS, replace(OSAKA, pipeline=Pipeline.CHAIN))
    text = shown(await probed_of(nursery, Trouble(State.REQUEST, Fault.LOSS), chain, pipelining=True))
    assert 'SUPPORTED: osaka has pipeline = "chain", but loses what is sent behind its request' in text
    assert text.endswith("The chain default works: 1000.00 ms.")


async def test_nor_does_what_was_found(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    probed = await probed_of(nursery, chain=Chain(make_hop(1)))
    ability = Ability(Answer.UNKNOWN, "it could not be asked: hop a\nb")
    text = shown(replace(probed, hops=[replace(probed.hops[0], abilities={Question.UDP: ability})]))
    assert r"  UDP unknown (paris): it could not be asked: hop a\nb" in text


async def test_without_hops(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    text = shown(await probed_of(nursery, chain=DIRECT, destination=Address("10.0.0.80", 80)))
    assert text.startswith("chain direct: no hops, directly to 10.0.0.80:80\n\nhere ──> 10.0.0.80:80\n")
    assert "│ destination │          │ 10.0.0.80:80 │ TCP connect │ 0.00 │" in text
    assert "names" not in text


async def test_colours_are_for_terminals(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    probed = await probed_of(nursery, Trouble(State.REQUEST, Fault.GARBAGE))
    assert "\x1b" not in shown(probed)
    output = io.StringIO()
    show(probed, Console(file=output, width=1000, force_terminal=True, color_system="standard"))
    assert " \x1b[1;31m[✗ osaka]\x1b[0m" in output.getvalue()


async def test_the_summary_of_a_chain_that_works_without_some(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    output = io.StringIO()
    show_summary([await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL), EXITS)], Console(file=output, width=1000))
    assert output.getvalue().split() == ["chain", "default", "works", "WITHOUT", "osaka", "1000.00", "ms"]


async def test_the_summary(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    fine = await probed_of(nursery)
    broken = replace(await probed_of(nursery, Trouble(CONNECT, Fault.REFUSAL)), kind=Kind.HOP, name="a\nb")
    output = io.StringIO()
    show_summary([fine, broken], Console(file=output, width=1000))
    assert [line.rstrip() for line in output.getvalue().splitlines()] == [
        "chain default  fine                                                    1500.00 ms",
        r"hop a\nb       BROKEN at hop paris (1 of 3) at 10.0.0.1:1080, request  1000.00 ms",
    ]


WARM = Chain(make_hop(1), make_hop(2, HopProtocol.SOCKS4A), make_hop(3), warm=2)


async def test_a_request_on_a_warm_way_has_a_row(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    lines = shown(await probed_of(nursery, chain=WARM)).splitlines()
    last = next(index for index, line in enumerate(lines) if line.startswith("│ all hops"))
    assert lines[last + 2].split() == ["│", "warm", "│", "│", "│", "request", "│", "0.00", "│"]
    assert lines[last + 3].startswith("└")
    assert lines[-1] == "The chain default is fine: 1500.00 ms."


async def test_a_warm_way_that_fails_is_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    probed = await probed_of(nursery, chain=WARM)
    text = shown(replace(probed, warm=WarmRequest(None, "hop a\nb")))
    assert re.search(r"│ warm +│ +│ +│ request +│ +- │", text)
    assert text.endswith("NOT WARM: hop a\\nb\nThe chain default is fine: 1500.00 ms.")


@pytest.mark.parametrize(
    ("trouble", "destination"), [(None, None), (Trouble(CONNECT, Fault.REFUSAL), Address("example.org", 80))]
)
async def test_no_warm_row_without_a_request(
    trouble: Trouble | None, destination: Address | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    probed = await probed_of(nursery, trouble, WARM, destination)
    assert probed.warm is None
    assert "warm" not in shown(probed)
