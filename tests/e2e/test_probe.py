"""`chainsocks probe` on real servers: it says of them what is known of them, and finds the one that is gone."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run_program
from tests.e2e import servers
from tests.e2e.programs import SocketAddress
from tests.e2e.servers import Chainsocks, chainsocks

LOGIN = "alice:wonderland"


def probe(home: Path, *urls: str, destination: SocketAddress | None = None) -> tuple[int, Any]:
    """Walk a chain; return the exit status, and the JSON of its one probe."""
    words = [word for url in urls for word in ("--hop", url)]
    where = [] if destination is None else ["{}:{}".format(*destination)]
    status, out, err = run_program(home, "probe", "--json", *words, *where)
    assert err == ""
    assert LOGIN.partition(":")[2] not in out
    document = json.loads(out)
    assert document["fine"] == (status == 0)
    return status, document["probes"][-1]


def answers(probed: Any, position: int = 1) -> tuple[str, str, str, str]:
    hop = probed["hops"][position - 1]
    return hop["login"], hop["names"]["answer"], hop["udp"]["answer"], hop["ipv6"]["answer"]


KNOWN = {
    "microsocks": ("none", "yes", "no", "understood"),
    # Where it has no IPv6 address of its own, dante refuses all IPv6 by rule; and that can mean either.
    "danted": ("none", "yes", "yes", "unknown"),
    # It hangs up on whatever it cannot do, and never says why.
    "ssh": ("none", "unknown", "no", "unknown"),
}


@pytest.mark.parametrize(("name", "known"), KNOWN.items(), ids=KNOWN)
def test_a_foreign_server(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    direct: Chainsocks,
    page: SocketAddress,
    name: str,
    known: tuple[str, ...],
) -> None:
    status, probed = probe(tmp_path, direct.url, request.getfixturevalue(name), destination=page)
    assert status == 0
    assert answers(probed, 2) == known
    assert all(step["seconds"] > 0 for hop in probed["hops"] for step in hop["steps"])


def test_our_own(tmp_path: Path, own_hops: list[Chainsocks], page: SocketAddress) -> None:
    status, probed = probe(tmp_path, *(hop.url for hop in own_hops), destination=page)
    assert status == 0
    for position in (1, 2, 3):
        assert answers(probed, position) == ("none", "yes", "yes", "understood")


def test_a_login_at_microsocks(tmp_path: Path, direct: Chainsocks) -> None:
    with servers.microsocks(LOGIN) as (host, port):
        status, probed = probe(tmp_path, direct.url, f"socks5://alice:wrong@{host}:{port}")
        assert (status, probed["failure"]["position"]) == (1, 2)
        assert probed["failure"]["step"] == "username/password sub-negotiation"
        status, probed = probe(tmp_path, direct.url, f"socks5://{LOGIN}@{host}:{port}")
        assert (status, answers(probed, 2)[0]) == (0, "username/password")


def test_a_hop_that_is_killed(tmp_path: Path, own_hops: list[Chainsocks], page: SocketAddress) -> None:
    with chainsocks() as victim:
        chain = own_hops[0].url, victim.url, own_hops[1].url
        assert probe(tmp_path, *chain, destination=page)[0] == 0
        victim.process.send_signal(signal.SIGKILL)
        victim.ended()
        status, probed = probe(tmp_path, *chain, destination=page)
    assert status == 1
    assert [hop["state"] for hop in probed["hops"]] == ["failed", "not reached", "not reached"]
    failure = probed["failure"]
    assert "connection refused (05)" in failure["problem"]
    assert failure["advice"][0].startswith(f"first suspect: {victim.listeners[0]}, which may not be running")


@pytest.fixture
def mute() -> Iterator[str]:
    """A port that takes connections and says nothing, as ``nc -l`` does."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield "127.0.0.1:{1}".format(*sock.getsockname())


def test_a_mute_port_behind_another_hop(tmp_path: Path, direct: Chainsocks, mute: str) -> None:
    config = tmp_path / "chainsocks.toml"
    config.write_text(
        f'[timeouts]\nhop = 0.2\n[hops]\nparis = "{direct.url}"\nmute = "socks5://{mute}"\n'
        '[chains]\ndefault = ["paris", "mute"]\n'
    )
    status, out, err = run_program(tmp_path, "probe")
    assert (status, err) == (1, "")
    assert f"BROKEN: hop mute (2 of 2) at {mute}, method negotiation: no complete answer (" in out
    assert " of 0.2 s)" in out
    assert "here ──> paris ──> [✗ mute]\n" in out


def write_chain(home: Path, hops: dict[str, str], pipeline: str) -> None:
    """Write a configuration in which each step has a second."""
    urls = "".join(f'{name} = "{url}"\n' for name, url in hops.items())
    (home / "chainsocks.toml").write_text(
        f"[timeouts]\nhop = 1\n[hops]\n{urls}[chains]\ndefault = {{ hops = {json.dumps(list(hops))}, "
        f'pipeline = "{pipeline}" }}\n'
    )


def test_what_real_hops_keep(tmp_path: Path, own_hops: list[Chainsocks], danted: str, microsocks: str) -> None:
    """Dante refuses to go to itself, and is asked for the hop before."""
    write_chain(tmp_path, {"ours": own_hops[0].url, "micro": microsocks, "dante": danted}, "off")
    status, out, err = run_program(tmp_path, "probe", "--pipeline", "--json")
    assert (status, err) == (0, "")
    [probed] = json.loads(out)["probes"]
    kept = [hop["pipeline"] for hop in probed["hops"]]
    assert [(one["own"], one["behind"], one["fit"]) for one in kept] == [
        ("keeps", "keeps", "chain"),
        ("loses", "unknown", "off"),
        ("keeps", "keeps", "chain"),
    ]
    assert probed["pipeline"] == {"fit": "off", "because": ["micro"], "apart": []}


def test_a_chain_whose_pipeline_setting_is_too_high(
    tmp_path: Path, own_hops: list[Chainsocks], microsocks: str
) -> None:
    """It is broken, and works with the setting that the probe recommends."""
    hops = {"first": own_hops[0].url, "micro": microsocks, "last": own_hops[1].url}
    write_chain(tmp_path, hops, "chain")
    status, out, err = run_program(tmp_path, "probe", "--pipeline")
    assert (status, err) == (1, "")
    assert 'PIPELINING NOT SUPPORTED: micro has pipeline = "chain" from its chain, but loses messages' in out
    assert '  - set pipeline = "off" for hop micro in [hops], or pipeline = "off" for the whole chain' in out
    assert "BROKEN: hop micro (2 of 3)" in out
    config = tmp_path / "chainsocks.toml"
    config.write_text(config.read_text().replace(f'"{microsocks}"', f'{{ url = "{microsocks}", pipeline = "off" }}'))
    status, out, err = run_program(tmp_path, "probe")
    assert (status, err) == (0, ""), out
