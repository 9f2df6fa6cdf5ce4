"""`chainsocks probe` as it is typed: what is walked, what is refused before anything is opened, and the exit status."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from chainsocks.config.chains import Chain
from chainsocks.config.groups import Group
from chainsocks.config.kinds import SCHEMES, TLS_SCHEMES
from chainsocks.config.load import parse_config
from chainsocks.config.models import Config, User
from chainsocks.config.passwords import PlainPassword
from chainsocks.errors import ConfigError
from chainsocks.tools.probe.command import Options, probe, targets
from tests.background import Background, Script, running_background
from tests.commands import CHAINSOCKS, run_main, run_program
from tests.e2e.programs import Program, clean_environment
from tests.hops import make_hop

FILE = """
[hops]
paris = "socks5://10.0.0.1"
osaka = "socks4a://10.0.0.2"

[chains]
default = ["paris", "osaka"]
short = ["osaka"]
"""
CONFIG = parse_config(FILE)
URLS = ("socks5://alice:hunter2@a:1", "socks4a://b")
TARGET = "example.org:443"


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    with running_background() as background:
        yield background


@pytest.fixture(scope="module")
def hops(background: Background) -> list[str]:
    """Three hops of ours, the second one with a login."""
    bob = User("bob", PlainPassword(b"hunter2"))
    addresses = [background.proxy(config) for config in (Config(), Config(users=(bob,)), Config())]
    return [f"socks5://{'bob:hunter2@' if index == 1 else ''}{one}" for index, one in enumerate(addresses)]


@pytest.fixture(scope="module")
def target(background: Background) -> str:
    return str(background.listen(Script()))


@pytest.fixture
def closed() -> Iterator[str]:
    """An address that refuses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield "127.0.0.1:{1}".format(*sock.getsockname())


def chained(*urls: str) -> list[str]:
    return [word for url in urls for word in ("--hop", url)]


PARIS, OSAKA, LIMA = map(make_hop, (1, 2, 3))
EXITS = Group(OSAKA, LIMA, name="exits")
GROUPED = Config(
    hops={hop.name: hop for hop in (PARIS, OSAKA, LIMA)},
    groups={"exits": EXITS},
    chains={"default": Chain(PARIS, EXITS)},
)
ONE, OTHER = Group(OSAKA, name="one"), Group(OSAKA, name="other")
CROWDED = Config(hops=GROUPED.hops, chains={"default": Chain(ONE, OTHER, Group(PARIS, LIMA))})


def walked(options: Options, config: Config = CONFIG) -> list[tuple[str, str, list[str], str]]:
    return [
        (one.kind, one.name, [hop.name for hop in one.chain.hops], str(one.destination))
        for one in targets(config, options)
    ]


WHAT = {
    "the default chain": (Options(), [("chain", "default", ["paris", "osaka"], "None")]),
    "to a destination": (Options(destination=TARGET), [("chain", "default", ["paris", "osaka"], TARGET)]),
    "another chain": (Options(chain="short"), [("chain", "short", ["osaka"], "None")]),
    "direct": (Options(chain="direct", destination=TARGET), [("chain", "direct", [], TARGET)]),
    "hops": (Options(hops=URLS), [("chain", "default", ["a:1", "b:1080"], "None")]),
    "all": (
        Options(everything=True, destination=TARGET),
        [
            ("hop", "paris", ["paris"], "None"),
            ("hop", "osaka", ["osaka"], "None"),
            ("chain", "default", ["paris", "osaka"], TARGET),
            ("chain", "short", ["osaka"], TARGET),
        ],
    ),
    "all hops of the line": (
        Options(everything=True, hops=(*URLS, URLS[0])),
        [
            ("hop", "a:1", ["a:1"], "None"),
            ("hop", "b:1080", ["b:1080"], "None"),
            ("chain", "default", ["a:1", "b:1080", "a:1"], "None"),
        ],
    ),
}


@pytest.mark.parametrize(("options", "what"), WHAT.values(), ids=WHAT.keys())
def test_what_is_walked(options: Options, what: list[tuple[str, str, list[str], str]]) -> None:
    assert walked(options) == what


def test_all_with_groups() -> None:
    assert walked(Options(everything=True, destination=TARGET), GROUPED) == [
        ("hop", "paris", ["paris"], "None"),
        ("hop", "osaka", ["osaka"], "None"),
        ("hop", "lima", ["lima"], "None"),
        ("group", "exits", ["exits"], "None"),
        ("chain", "default", ["paris", "exits"], TARGET),
    ]


def test_all_leaves_a_chain_out_that_has_nothing_to_walk() -> None:
    config = replace(CONFIG, chains={"none": Chain(name="none"), "short": CONFIG.chains["short"]})
    assert [name for kind, name, *_ in walked(Options(everything=True), config) if kind == "chain"] == ["short"]
    found = walked(Options(everything=True, destination=TARGET), config)
    assert [name for kind, name, *_ in found if kind == "chain"] == ["none", "short"]


def test_without_a_file_and_hops_the_way_is_direct() -> None:
    assert walked(Options(destination="[::1]:80"), Config()) == [("chain", "direct", [], "[::1]:80")]


NO_DEFAULT = replace(CONFIG, chains={"short": CONFIG.chains["short"]})

WRONG = {
    "nothing": (Config(), Options(), ["there are no hops to reach; name a HOST:PORT"]),
    "direct to nowhere": (CONFIG, Options(chain="direct"), ["there are no hops to reach"]),
    "no such chain": (CONFIG, Options(chain="shrt"), ["--chain: no chain is called 'shrt'; did you mean 'short'?"]),
    "no chain with such a name": (CONFIG, Options(chain="a\nb"), [r"--chain: no chain is called 'a\nb'; known are"]),
    "no default": (NO_DEFAULT, Options(), ['no chain is called "default"; choose one with --chain; known are short']),
    "a bad destination": (CONFIG, Options(destination="foo"), ["HOST:PORT: 'foo': a port is missing"]),
    "no port": (CONFIG, Options(destination="foo:0"), ["HOST:PORT: port 0"]),
    "an empty one": (CONFIG, Options(destination=""), ["HOST:PORT: "]),
    "all and a chain": (
        CONFIG,
        Options(chain="short", everything=True),
        ["--chain: cannot be combined with --all (--all already walks every chain)"],
    ),
    "all of nothing": (Config(), Options(everything=True), ["--all: there are no hops"]),
    "a chain with more places than hops": (CROWDED, Options(), ["chain default: it has more places than its groups"]),
    "one of all": (CROWDED, Options(everything=True), ["chain default: it has more places than its groups have hops"]),
    "all at once": (
        CONFIG,
        Options("short", ("socks6://alice:hunter2@a",), "foo"),
        ["HOST:PORT: 'foo'", "--hop: cannot be combined with --chain", "--hop: unknown scheme 'socks6'"],
    ),
}


@pytest.mark.parametrize(("config", "options", "complaints"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage(config: Config, options: Options, complaints: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        targets(config, options)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(complaints)
    for line, complaint in zip(lines, complaints, strict=True):
        assert line.startswith(complaint)
    assert "hunter2" not in str(caught.value)


@pytest.fixture(autouse=True)
def _quiet_hops(caplog: pytest.LogCaptureFixture) -> None:
    """The hops run in this process, and what they log is not the probe's."""
    caplog.set_level(logging.CRITICAL, "chainsocks.session")


class TestExitStatus:
    def test_fine(self, capsys: pytest.CaptureFixture[str], hops: list[str], target: str) -> None:
        status, out, err = run_main(capsys, "probe", *chained(*hops), target)
        assert (status, err) == (0, "")
        assert out.splitlines()[-1].startswith("The chain default is fine: ")
        assert "hunter2" not in out

    def test_broken(self, capsys: pytest.CaptureFixture[str], hops: list[str], closed: str) -> None:
        status, out, err = run_main(capsys, "probe", *chained(hops[0], f"socks5://{closed}", hops[2]))
        assert (status, err) == (1, "")
        assert f"──✗ {closed} ··> " in out
        assert f"it could not reach {closed} at {closed}, it says: connection refused (05)" in out

    def test_fine_without_a_member(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, hops: list[str], closed: str
    ) -> None:
        file = tmp_path / "chainsocks.toml"
        file.write_text(
            f'[hops]\nparis = "{hops[0]}"\nosaka = "socks5://{closed}"\nlima = "{hops[2]}"\n'
            '[groups]\nexits = ["osaka", "lima"]\n[chains]\ndefault = ["paris", "exits"]\n'
        )
        for options in ([], ["--all"]):
            status, out, err = run_main(capsys, "probe", "-c", file, *options)
            assert (status, err) == (0, "")
            assert "here ──> paris ──> ([✗ osaka] | lima)" in out
            assert "NOT WORKING: osaka of group exits: hop paris (1 of 2)" in out
            assert "The chain default works without osaka: " in out
        assert out.splitlines()[-1].startswith("chain default  works WITHOUT osaka")
        file.write_text(file.read_text().replace(hops[2], f"socks5://carol:pw@{closed}"))
        status, out, err = run_main(capsys, "probe", "-c", file)
        assert (status, err) == (1, "")
        assert "here ──> paris ──✗ (osaka | lima)" in out

    def test_wrong(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert run_main(capsys, "probe", "-c", tmp_path / "none")[0] == 2
        (tmp_path / "chainsocks.toml").write_text("[chains]\ndefault = ['paris']")
        assert run_main(capsys, "probe", "-c", tmp_path / "chainsocks.toml")[0] == 2
        assert run_main(capsys, "probe", "--hop", "nonsense") == (
            2,
            "",
            "chainsocks: --hop: expected a URL such as socks5://host:1080; it begins with "
            f"{', '.join([*SCHEMES, *TLS_SCHEMES])}\n",
        )
        status, _, err = run_main(capsys, "probe", "chainsocks.toml")
        assert (status, "chainsocks probe -c FILE" in err) == (2, True)

    def test_json(self, capsys: pytest.CaptureFixture[str], hops: list[str], target: str, closed: str) -> None:
        for destination, expected in ((target, 0), (closed, 1)):
            status, out, err = run_main(capsys, "probe", *chained(*hops), "--json", destination)
            assert (status, err) == (expected, "")
            document = json.loads(out)
            assert document["fine"] == (not expected)
            [probed] = document["probes"]
            assert [hop["state"] for hop in probed["hops"]] == ["passed", "passed", "failed" if expected else "passed"]
            assert "hunter2" not in out

    def test_medians(self, capsys: pytest.CaptureFixture[str], hops: list[str], target: str) -> None:
        status, out, _ = run_main(capsys, "probe", *chained(hops[0]), "--count", "5", target)
        assert status == 0
        assert re.search(r"^The chain default is fine: \d+\.\d\d ms \(medians of 5 walks\)\.$", out, re.MULTILINE)
        status, out, _ = run_main(capsys, "probe", *chained(hops[0]), "--count", "5", "--json", target)
        assert json.loads(out)["probes"][0]["count"] == 5

    def test_an_interrupt(self, tmp_path: Path, background: Background) -> None:
        mute = Script()
        hop = background.listen(mute)
        program = Program([CHAINSOCKS, "probe", "--hop", f"socks5://{hop}"], clean_environment(tmp_path))
        try:
            assert mute.addressed.wait(20)
        finally:
            program.process.send_signal(signal.SIGINT)
            status = program.ended()
        assert status == 128 + signal.SIGINT
        assert program.lines == []


class TestAll:
    def test_each_has_its_line(self, capsys: pytest.CaptureFixture[str], hops: list[str], target: str) -> None:
        status, out, err = run_main(capsys, "probe", "--all", *chained(*hops), target)
        assert (status, err) == (0, "")
        assert [line.split()[:3] for line in out.splitlines()[-4:]] == [
            *(["hop", hop.rpartition("//")[2].rpartition("@")[2], "fine"] for hop in hops),
            ["chain", "default", "fine"],
        ]

    def test_the_dead_hop_is_seen(self, capsys: pytest.CaptureFixture[str], hops: list[str], closed: str) -> None:
        status, out, _ = run_main(capsys, "probe", "--all", *chained(hops[0], f"socks5://{closed}"), "--json")
        assert status == 1
        probes = json.loads(out)["probes"]
        assert [(one["kind"], one["fine"]) for one in probes] == [("hop", True), ("hop", False), ("chain", False)]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_shows_the_present_step(hops: list[str], *, is_terminal: bool) -> None:
    output, progress = io.StringIO(), io.StringIO()
    console = Console(file=progress, force_terminal=is_terminal, width=200)
    assert probe(Config(), Options(hops=hops[:1]), Console(file=output), console)
    assert ("asking the hops what they support" in progress.getvalue()) == is_terminal
    assert bool(progress.getvalue()) == is_terminal
    assert output.getvalue().startswith("chain default: ")


def test_on_one_terminal_nothing_is_in_the_way_of_what_was_found(hops: list[str]) -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=200)
    assert probe(Config(), Options(hops=hops[:1]), console, console)
    assert "\x1b[2Kchain default: " in terminal.getvalue(), "the line of the spinner is not erased"


def test_a_program_with_too_few_descriptors(tmp_path: Path, hops: list[str]) -> None:
    script = f'ulimit -n 7 && exec "{CHAINSOCKS}" probe --hop "$0"'
    program = Program(["/bin/sh", "-c", script, hops[0]], clean_environment(tmp_path))
    assert program.ended() == 1
    assert program.lines == ["chainsocks: Too many open files"]


def test_names_that_the_terminal_cannot_show(tmp_path: Path, hops: list[str]) -> None:
    config = tmp_path / "chainsocks.toml"
    config.write_text(f'[hops]\n"Zürich" = "{hops[0]}"\n[chains]\ndefault = ["Zürich"]\n', "utf-8")
    status, out, err = run_program(tmp_path, "probe", "-c", config, program=CHAINSOCKS, PYTHONIOENCODING="ascii")
    assert (status, err) == (0, "")
    assert r"here --> Z\xfcrich" in out
