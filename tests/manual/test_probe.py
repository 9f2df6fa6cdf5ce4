"""The page about probe: what it shows is what the program prints, with hops on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainsocks.protocol.address import Address
from tests.background import running_background
from tests.commands import run_main
from tests.e2e.programs import free_address
from tests.e2e.servers import microsocks
from tests.manual.pages import MANUAL, blocks, shows

PAGE = MANUAL / "probe.md"
CONFIG, PIPELINED = (block.text for block in blocks(PAGE, "toml"))
PICTURE = re.compile(r"[━─┏┳┓┃┡╇┩│├┼┤└┴┘]+")


def example(command: str) -> str:
    [found] = [block.text for block in blocks(PAGE, "console") if block.text.startswith(f"$ {command}\n")]
    return found.partition("\n")[2]


def without_numbers(text: str) -> str:
    """Leave out the lines of tables, and the times."""
    return re.sub(r"\d+\.\d\d?", "N", PICTURE.sub(" ", text))


@pytest.fixture
def hops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Address]]:
    """Paris and lima, and an address for osaka where nothing listens, by their ports on the page."""
    monkeypatch.chdir(tmp_path)
    with running_background() as background:
        yield {"1081": background.proxy(), "1082": Address(*free_address()), "1083": background.proxy()}


def write(config: str, hops: dict[str, Address]) -> None:
    for port, address in hops.items():
        config = config.replace(f"127.0.0.1:{port}", str(address))
    Path("chainsocks.toml").write_text(config)


def assert_shown(command: str, said: str, hops: dict[str, Address]) -> None:
    for port, address in hops.items():
        said = said.replace(str(address), f"127.0.0.1:{port}")
    assert shows(without_numbers(example(command)), without_numbers(said)), said


@pytest.mark.parametrize(
    ("command", "status"), [("chainsocks probe example.org:443", 1), ("chainsocks probe --chain either", 0)]
)
def test_a_hop_that_is_not_there(
    command: str, status: int, capsys: pytest.CaptureFixture[str], hops: dict[str, Address]
) -> None:
    write(CONFIG, hops)
    got, said, _ = run_main(capsys, *command.split()[1:])
    assert got == status
    assert_shown(command, said, hops)


def test_a_hop_without_pipelining_support(capsys: pytest.CaptureFixture[str], hops: dict[str, Address]) -> None:
    with microsocks() as osaka:
        hops["1082"] = Address(*osaka)
        write(PIPELINED, hops)
        status, said, _ = run_main(capsys, "probe", "--pipeline")
    assert status == 1
    assert_shown("chainsocks probe --pipeline", said, hops)
