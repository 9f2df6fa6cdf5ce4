from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.peers import OURS, PEERS, Peer, open_ours, open_peer
from chainsocks.protocol.address import Address
from tests.e2e import targets
from tests.e2e.programs import PATIENCE, SocketAddress, clean_environment, find_program, missing
from tests.e2e.targets import PAGE, serving

NOT_IN_CI = {"v2ray", "go-socks5", "siosocks", "pproxy", "asyncio-socks-server"}
"""Peers that CI does not install just to start them."""


@pytest.fixture(scope="module")
def page() -> Iterator[SocketAddress]:
    with serving(targets.page) as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers")


def fetch(home: Path, proxy: Address, page: SocketAddress) -> bytes:
    """Get the page through a proxy, as a user would."""
    curl = find_program("curl", "curl")
    command = [curl, "-q", "-sS", "--noproxy", "", "--socks5-hostname", str(proxy), "http://{}:{}/".format(*page)]
    return subprocess.run(
        command, env=clean_environment(home), stdout=subprocess.PIPE, timeout=PATIENCE, check=True
    ).stdout


@pytest.mark.measure
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_request_goes_through(peer: Peer, folder: Path, page: SocketAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    if peer.missing:
        if peer.name in NOT_IN_CI:
            monkeypatch.delenv("CI", raising=False)
        missing(peer.missing)
    for _ in range(2):  # the second time with what the first one has left in the folder
        with open_peer(peer, folder) as running:
            assert fetch(folder, running.address, page) == PAGE
        assert not [pid for pid in running.pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.measure
def test_ours_goes_through_hops_of_ours(folder: Path, page: SocketAddress, tmp_path: Path) -> None:
    with ExitStack() as stack:
        hop = stack.enter_context(open_ours(tmp_path))
        lines = [
            "[hops]",
            f'hop = "socks5://{hop.address}"',
            "[chains]",
            'default = ["hop"]',
            "[timeouts]",
            "grace = 0.5",
        ]
        front = stack.enter_context(open_ours(folder, *lines, workers=2))
        assert fetch(folder, front.address, page) == PAGE
        assert hop.address != front.address
        children = Path(f"/proc/{front.pids[0]}/task/{front.pids[0]}/children").read_text().split()
        assert len(children) == 2
    log = (tmp_path / OURS / "chainsocks.log").read_text()
    assert f"destination={page[0]}:{page[1]} " in log, "it logs what it logs by default"


def nothing(_: Path) -> list[object]:
    raise AssertionError("it was not to be run")


@pytest.mark.parametrize(
    ("peer", "lacks"),
    [
        (Peer("a", "apt install a", nothing, ["no-such-program"]), "no-such-program"),  # type: ignore[arg-type]
        (Peer("b", "pip install b", nothing, module="no_such_module"), "no_such_module"),  # type: ignore[arg-type]
        (Peer("c", "apt install c", nothing, files=[Path("/no/such/file")]), "/no/such/file"),  # type: ignore[arg-type]
        (Peer("d", "apt install d", nothing, ["nope", "sh", "nah"]), "nope and no nah"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value.name if isinstance(value, Peer) else "",
)
def test_what_is_missing_is_named_with_what_to_install(peer: Peer, lacks: str) -> None:
    assert peer.missing == f"there is no {lacks} here ({peer.source})"


def test_ours_is_never_missing_and_comes_first() -> None:
    assert PEERS[0].name == OURS
    assert PEERS[0].missing == ""
    assert len({peer.name for peer in PEERS}) == len(PEERS)
