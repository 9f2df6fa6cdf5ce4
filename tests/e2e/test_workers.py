"""Several workers: the real program, what becomes of its processes, and what its clients see of that."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.background import wait_until
from tests.commands import CHAINSOCKS, run_main
from tests.e2e.programs import PATIENCE, Program, SocketAddress, clean_environment
from tests.e2e.servers import Chainsocks, chainsocks
from tests.e2e.wire import GREETING, ask_socks5, connect, connected, read

NO_CONTROL = ["[control]", 'socket = "off"']
"""All children of the server are workers then."""


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chainsocks]:
    """A server with three workers, on TCP and on a unix socket."""
    path = tmp_path_factory.mktemp("three") / "s"
    with chainsocks(listen=["127.0.0.1:0", f"unix:{path}"], workers=3, server_lines=NO_CONTROL) as server:
        server.wait_for(r" has started$", times=3)
        yield server
    assert not path.exists()


def pids(server: Chainsocks) -> dict[int, int]:
    """All workers that ever were, by their numbers."""
    found = (re.search(r" worker (\d+) \(pid (\d+)\) has started$", line) for line in server.lines)
    return {int(match[1]): int(match[2]) for match in found if match}


def children(server: Chainsocks) -> set[int]:
    """The processes that are children of the server's first one, dead or alive."""
    pid = server.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def talk(sock: socket.socket) -> None:
    """Have a session carry something."""
    sock.sendall(b"still there?")
    assert read(sock, 12) == b"still there?"


def refuses(address: SocketAddress) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # the very last one
    return False


def is_free(address: SocketAddress) -> bool:
    """Whether another program can listen at an address."""
    try:
        socket.create_server(address).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def is_cut(sock: socket.socket) -> bool:
    """Whether a session has ended; the alternative is that it goes on."""
    try:
        sock.sendall(b"still there?")
        return read(sock, 12) != b"still there?"
    except (ConnectionResetError, BrokenPipeError):
        return True


def test_all_workers_serve_and_no_two_sessions_have_one_id(three: Chainsocks, echo: SocketAddress) -> None:
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for _ in range(300):
        with connected(three.address, echo) as sock:
            client = sock.getsockname()
            talk(sock)
        match = re.search(r" INFO worker (\d+): id=(\1-\d+) client=", three.session(client))
        assert match
        assert match[2] not in seen[match[1]]
        seen[match[1]].add(match[2])
        if len(seen) == 3:
            break
    assert set(seen) <= {str(number) for number in pids(three)}
    assert len(seen) == 3


def test_the_log_begins_with_the_workers_and_names_the_addresses_once(three: Chainsocks) -> None:
    three.wait_for(" INFO listening on ")
    [line] = [line for line in three.lines if "listening on" in line and " INFO " in line]
    assert re.search(r" INFO listening on 127\.0\.0\.1:\d+, unix:/\S+$", line)
    assert list(pids(three))[:3] == [1, 2, 3]


def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(three: Chainsocks, echo: SocketAddress) -> None:
    before = pids(three)
    [number] = [number for number, pid in before.items() if pid == min(children(three))]
    with ExitStack() as stack:
        sessions = [stack.enter_context(connected(three.address, echo)) for _ in range(32)]
        os.kill(before[number], signal.SIGKILL)
        death = three.wait_for(rf" WARNING worker {number} \(pid {before[number]}\) (.+); it is replaced in (\S+) s$")
        assert death[1] == "was killed by SIGKILL"
        lost = [is_cut(sock) for sock in sessions]
        assert not all(lost)
        assert any(lost)
    three.wait_for(rf" worker {max(before) + 1} \(pid \d+\) has started")
    assert children(three) == ({*before.values()} - {before[number]}) & children(three) | {pids(three)[max(before) + 1]}
    assert len(children(three)) == 3  # so the dead one has been reaped
    with ExitStack() as stack:
        sessions = [stack.enter_context(connected(three.address, echo)) for _ in range(32)]
        assert not any(is_cut(sock) for sock in sessions)


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process refer to."""
    files = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            files.append(str(entry.readlink()))
        except FileNotFoundError:
            pass  # closed meanwhile
    return sorted(files)


def test_a_replacement_has_nothing_open_that_is_not_its_own(three: Chainsocks, echo: SocketAddress) -> None:
    """The unix socket it shares; of its channel, the parent has the other end. It has nothing of those before it."""

    def shared(pid: int, other: int) -> list[str]:
        return sorted({*open_files(pid)} & {*open_files(other)} & {*sockets(pid)})

    def sockets(pid: int) -> list[str]:
        return [file for file in open_files(pid) if file.startswith("socket:")]

    parent = three.process.pid
    for _ in range(2):  # one of these is a replacement, at the latest after the first round
        workers = sorted(children(three))
        wait_until(lambda: len({len(open_files(pid)) for pid in children(three)}) == 1)
        assert len({tuple(shared(pid, parent)) for pid in workers}) == 1
        assert len(shared(workers[0], parent)) == 1
        assert len(shared(workers[0], workers[1])) == 1
        count, of_parent = len(open_files(workers[0])), len(open_files(parent))
        number = len(pids(three))
        os.kill(workers[0], signal.SIGKILL)
        three.wait_for(r"has started", times=number + 1)
        with connected(three.address, echo) as sock:
            talk(sock)
        wait_until(lambda: {len(open_files(pid)) for pid in children(three)} == {count})  # noqa: B023
        assert len(open_files(parent)) == of_parent


def test_a_worker_that_is_told_to_stop_lets_its_sessions_end_and_is_replaced(
    three: Chainsocks, echo: SocketAddress
) -> None:
    number, pid = max(pids(three).items())
    os.kill(pid, signal.SIGTERM)
    three.wait_for(rf" worker {number} \(pid {pid}\) ended with status 0; it is replaced in ")
    three.wait_for(rf" worker {number + 1} \(pid \d+\) has started")
    with connected(three.address, echo) as sock:
        talk(sock)


def test_max_sessions_is_for_all_workers_together(echo: SocketAddress, tmp_path: Path) -> None:
    """On a unix socket, any worker with a free permit accepts the next connection."""
    path = str(tmp_path / "s")
    with chainsocks(listen=[f"unix:{path}"], workers=2, max_sessions=3) as server:
        assert server.listeners == [f"unix:{path}"]
        with ExitStack() as stack:
            sessions = [stack.enter_context(connected(path, echo)) for _ in range(3)]
            waiting = stack.enter_context(connect(path))
            waiting.sendall(GREETING)
            for sock in sessions:
                talk(sock)
            waiting.settimeout(0)
            with pytest.raises(BlockingIOError):
                waiting.recv(1)
            waiting.settimeout(PATIENCE)
            sessions[1].close()
            assert read(waiting, 2) == b"\x05\x00"
        server.wait_for(" id=.* outcome=", times=4)
        served = re.findall(r" worker (\d): id=\S+ client=", server.said)
        assert {served.count(number) for number in "12"} <= {1, 2, 3}


def stopping(server: Chainsocks, path: Path) -> None:
    """See a server begin to stop."""
    server.wait_for("INFO SIG(TERM|INT): no new connections, up to 60 s for the open ones")
    wait_until(lambda: refuses(server.address))
    wait_until(lambda: not path.exists())


@pytest.mark.parametrize(
    ("to_all", "number"),
    [
        pytest.param(False, signal.SIGTERM, id="SIGTERM"),
        pytest.param(True, signal.SIGTERM, id="SIGTERM-of-a-service-manager"),
        pytest.param(True, signal.SIGINT, id="SIGINT-of-a-terminal"),
    ],
)
def test_the_first_signal_lets_sessions_end(
    echo: SocketAddress, tmp_path: Path, number: signal.Signals, *, to_all: bool
) -> None:
    path = tmp_path / "s"
    with chainsocks(listen=["127.0.0.1:0", f"unix:{path}"], workers=2, grace=60) as server:
        with connected(server.address, echo) as one, connected(str(path), echo) as other:
            client = one.getsockname()
            (os.killpg if to_all else os.kill)(server.process.pid, number)
            stopping(server, path)
            for sock in (one, other):
                talk(sock)
        assert 'outcome="finished"' in server.session(client)
        assert server.ended() == 0
    assert server.lines[-1].endswith(" INFO stopped")
    assert server.said.count("no new connections") == 1


def test_the_second_signal_ends_sessions_now(echo: SocketAddress, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with (
        chainsocks(listen=["127.0.0.1:0", f"unix:{path}"], workers=2, grace=60) as server,
        connected(server.address, echo) as one,
        connected(str(path), echo) as other,
    ):
        server.process.send_signal(signal.SIGTERM)
        stopping(server, path)
        server.process.send_signal(signal.SIGINT)
        server.wait_for("WARNING SIGINT again: ending all sessions now")
        assert server.ended() == 0
        assert [is_cut(sock) for sock in (one, other)] == [True, True]
    assert server.said.count('outcome="cut off: the server is stopping"') == 2


def test_the_third_signal_ends_a_worker_that_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with chainsocks(listen=["127.0.0.1:0", f"unix:{path}"], workers=2, grace=60) as server:
        assert server.listeners
        os.kill(pids(server)[2], signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(r"worker 1 \(pid \d+\) ended with status 0")
        for times in (1, 2):
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("SIGTERM again", times=times)
        server.wait_for(r"WARNING worker 2 \(pid \d+\) was killed by SIGKILL$")
        assert server.ended() == 0


def test_without_their_parent_workers_give_up_the_port_and_end(echo: SocketAddress) -> None:
    with chainsocks(workers=2, grace=60) as server:
        with connected(server.address, echo) as sock:
            server.process.send_signal(signal.SIGKILL)
            server.wait_for(r"ERROR worker \d: the parent process has died", times=2)
            wait_until(lambda: refuses(server.address))
            wait_until(lambda: is_free(server.address))
            talk(sock)
        assert server.ended() == -signal.SIGKILL  # and no process has its standard output open any more


def test_signals_that_the_program_was_started_without(tmp_path: Path) -> None:
    """A shell starts programs in the background with SIGINT ignored; others ignore SIGCHLD."""
    command = f"trap '' INT CHLD; exec {CHAINSOCKS} serve --workers 2 --listen 127.0.0.1:0"
    program = Program(["/bin/sh", "-c", command], clean_environment(tmp_path))
    try:
        program.wait_for("listening on")
        pid = program.wait_for(r"worker 1 \(pid (\d+)\) has started")[1]
        os.kill(int(pid), signal.SIGKILL)
        program.wait_for(r"worker 3 \(pid \d+\) has started")
        program.process.send_signal(signal.SIGINT)
        assert program.ended() == 0
    finally:
        program.stop()


SPEAKING = """
import sys
from chainsocks.cli import main
print("once")
sys.argv[1:] = ["serve", "--workers", "2", "--listen", "127.0.0.1:0"]
main()
"""


def test_what_was_said_before_the_workers_started_is_said_once(tmp_path: Path) -> None:
    """Output into a pipe is written late, and a child has a copy of what is not written yet."""
    program = Program([sys.executable, "-c", SPEAKING], clean_environment(tmp_path))
    program.wait_for("listening on")
    assert program.stop() == 0
    assert program.lines.count("once") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_address_that_workers_serve_is_in_use(
    capsys: pytest.CaptureFixture[str], three: Chainsocks, tmp_path: Path, workers: int
) -> None:
    """The kernel would let in another server with workers. In a server that fails, no process has been started."""
    taken = three.listeners[0]
    options = ["-q", "--hop", "socks5://a", "--workers", str(workers), "--listen", taken]
    status, out, err = run_main(capsys, "serve", *options)
    assert (status, out) == (1, "")
    assert err == (
        f"chainsocks: {taken}: Address already in use; "
        "stop the program that listens there, or choose another address with --listen\n"
    )


def test_one_worker_per_core(echo: SocketAddress) -> None:
    with chainsocks(workers=0) as server:
        with connected(server.address, echo) as sock:
            talk(sock)
        cores = len(os.sched_getaffinity(0))
        if cores > 1:
            server.wait_for(r" has started$", times=cores)  # what a loaded machine reads late
        assert len(pids(server)) == (0 if cores == 1 else cores)


def test_a_destination_that_refuses_is_told_by_any_worker(three: Chainsocks) -> None:
    """A failure is a session's own, and costs no worker."""
    before = children(three)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for _ in range(8):
            with connect(three.address) as sock:
                assert ask_socks5(sock, closed.getsockname()) == 5
    assert children(three) == before
