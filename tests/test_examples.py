"""Every example does what it says: the lines to type are taken from its head, and typed (`tests.e2e.terminal`)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from chainsocks.config.load import load_config
from chainsocks.tools.certificates import make_certificate
from tests.e2e import targets
from tests.e2e.programs import PATIENCE
from tests.e2e.targets import PAGE, serving
from tests.e2e.terminal import PROXY_FAILED, Terminal, open_terminal

EXAMPLES = Path(__file__).parent.parent / "examples"
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in {".toml", ".py"})
LIBRARY = re.compile(r"\d+_(httpx|aiohttp|requests|urllib3)\.py")
"""The examples that take a library."""
COMMAND = re.compile(r"^#?     ?((?:chainsocks|curl|export|python) .+)$", re.MULTILINE)


def commands(name: str) -> list[str]:
    """The lines to type, which stand indented in the head of an example."""
    head = re.match(r'(#.*\n)+|"""[^"]*"""', (EXAMPLES / name).read_text())
    assert head, f"{name} does not begin with what it is"
    return COMMAND.findall(head[0])


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    with serving(targets.page) as (_, port):
        yield port


@pytest.fixture
def terminal(tmp_path: Path, page: int) -> Iterator[Terminal]:
    files = {name: (EXAMPLES / name).read_text() for name in FILES}
    with open_terminal(tmp_path, page, files) as terminal:
        yield terminal
    for server in terminal.servers:
        assert "wonderland" not in server.said
        assert "looking-glass" not in server.said


def nothing_more(terminal: Terminal) -> None:
    pass


def a_stopped_hop_is_blamed(terminal: Terminal) -> None:
    hop, proxy = terminal.servers
    hop.stop()
    assert terminal.ask(commands("2_one_hop.toml")[-1]).returncode == PROXY_FAILED
    at = re.escape(terminal.replaced["127.0.0.1:1081"])
    proxy.wait_for(rf"reply=01 .*hop paris \(1 of 1\) at {at}, TCP connect: connection refused")


def hops_are_walked_one_after_the_other(terminal: Terminal) -> None:
    *hops, proxy = terminal.servers
    for position, name in enumerate(("paris", "osaka", "lima"), 1):
        proxy.wait_for(rf"DEBUG id=\d+ = hop {name} \({position} of 3\) at .*, request$")
        proxy.wait_for(rf"DEBUG id=\d+ > {name} \d+ bytes")
        proxy.wait_for(rf"DEBUG id=\d+ < {name} \d+ bytes")
        hops[position - 1].wait_for("command=CONNECT .*finished")


def others_are_kept_out(terminal: Terminal) -> None:
    curl = commands("4_passwords.toml")[-1]
    hop, proxy = terminal.servers
    for times, login in enumerate(("carol:rabbit-hole@", "mallory:wonderland@", ""), 1):
        assert terminal.ask(curl.replace("carol:wonderland@", login)).returncode == PROXY_FAILED
        proxy.wait_for("command=- ", times)
    assert "rabbit-hole" not in proxy.said
    assert len(re.findall("command=", hop.said)) == 1


def rules_say_which_way(terminal: Terminal) -> None:
    _, proxy = terminal.servers
    proxy.wait_for(r"destination=localhost:\d+ chain=default rule=- reply=00", times=2)
    by_address = re.sub(r"//localhost", "//127.0.0.1", terminal.translate(commands("7_rules.toml")[-1]))
    assert terminal.ask(by_address).returncode == PROXY_FAILED
    proxy.wait_for(r"reply=02 .*names_only: the client asks for an IP address")
    denied = commands("7_rules.toml")[-2].replace("http://example.org/", "http://mail.example:25/")
    assert terminal.ask(denied).returncode == PROXY_FAILED
    proxy.wait_for(r'destination=mail.example:25 chain=- rule=2 reply=02 .*outcome="rule 2 says no"')


def another_hop_stands_in(terminal: Terminal) -> None:
    paris, _, proxy = terminal.servers
    proxy.wait_for("chain=default hops=paris reply=00")
    paris.stop()
    assert terminal.ask(commands("8_groups.toml")[-1]).returncode == 0
    proxy.wait_for("hop paris in backoff for .* connection refused")
    proxy.wait_for("chain=default hops=osaka reply=00")


def each_plain_request_is_a_session(terminal: Terminal) -> None:
    hop, proxy = terminal.servers
    proxy.wait_for("user=carol .* reply=00 .*finished", times=3)
    hop.wait_for(" reply=00 .*finished", times=3)
    socks = commands("9_http.toml")[-1].replace("--proxy http:", "--proxy socks5h:")
    assert terminal.ask(socks).returncode == PROXY_FAILED
    proxy.wait_for("this listener takes HTTP only")


def only_the_last_hop_knows(terminal: Terminal) -> None:
    paris, osaka, _ = terminal.servers
    destination = f"destination=localhost:{terminal.page} "
    osaka.wait_for(f"{destination}.* reply=00 .*finished")
    paris.wait_for(f"destination={re.escape(terminal.replaced['127.0.0.1:1082'])} .* reply=00 .*finished")
    assert destination not in paris.said


def names_are_answered(terminal: Terminal) -> None:
    host, port = terminal.replaced["127.0.0.1:5300"].split(":")
    for ask in (dns.query.udp, dns.query.tcp):
        for name, rcode in (("localhost", dns.rcode.NOERROR), ("elsewhere.example", dns.rcode.REFUSED)):
            query = dns.message.make_query(name, "A")
            assert ask(query, host, timeout=PATIENCE, port=int(port)).rcode() == rcode
    terminal.servers[1].wait_for(rf"destination=localhost:{terminal.page} chain=default .*finished")
    terminal.servers[1].wait_for("chain default has no resolver")


AFTERWARDS = {
    "17_listeners.toml": names_are_answered,
    "15_sealed.toml": only_the_last_hop_knows,
    "2_one_hop.toml": a_stopped_hop_is_blamed,
    "3_three_hops.toml": hops_are_walked_one_after_the_other,
    "4_passwords.toml": others_are_kept_out,
    "7_rules.toml": rules_say_which_way,
    "8_groups.toml": another_hop_stands_in,
    "9_http.toml": each_plain_request_is_a_session,
}
"""What else an example claims, seen in the same terminals."""


@pytest.mark.parametrize("name", [name for name in FILES if commands(name)])
def test_the_lines_in_an_example_work_as_they_stand_there(terminal: Terminal, name: str) -> None:
    if missing := LIBRARY.match(name):
        pytest.importorskip(missing[1])
    results = [done for line in commands(name) if (done := terminal.enter(line))]
    pages = [done for done in results if done.args[1] not in ("check", "cert")]
    assert pages, "nothing is shown to come of it"
    for done in results:
        assert (done.returncode, done.stderr) == (0, "")
    for done in pages:
        assert done.stdout.endswith(PAGE.decode())
    AFTERWARDS.get(name, nothing_more)(terminal)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".toml")])
def test_every_file_is_a_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    for line in commands("4_passwords.toml"):
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
    for line in commands("15_sealed.toml"):
        if line.startswith("chainsocks cert "):
            host = line.split()[-1]
            made = make_certificate(host, 1)
            (tmp_path / f"{host}.pem").write_bytes(made.pem)
            (tmp_path / f"{host}.key").write_bytes(made.key)
    shutil.copy(EXAMPLES / name, tmp_path)
    load_config(tmp_path / name)


def test_every_file_is_run() -> None:
    """By its own lines, or by those of another."""
    run = {name for name in FILES if commands(name)}
    run |= {Path(word).name for name in run for line in commands(name) for word in line.split()}
    assert set(FILES) <= run


def test_the_readme_has_them_all() -> None:
    text = (EXAMPLES / "README.md").read_text()
    paths = (
        path.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*") if path.is_file() and path != EXAMPLES / "README.md"
    )
    assert sorted(re.findall(r"\]\(([^)]+)\)", text)) == sorted(map(str, paths))


def test_the_client_says_which_hop_is_not_there(terminal: Terminal) -> None:
    done = terminal.ask(commands("6_client_asyncio.py")[-1])
    assert (done.returncode, done.stdout) == (1, "")
    address = terminal.replaced["127.0.0.1:1081"]
    where = f"hop {address} (1 of 2) at {address}, TCP connect: connection refused"
    assert re.fullmatch(rf"{re.escape(where)} \(\d\.\d\d s of 3 s\)\n", done.stderr)


def test_the_client_connects_directly_without_hops(terminal: Terminal) -> None:
    done = terminal.ask("python examples/6_client_asyncio.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(PAGE.decode())
