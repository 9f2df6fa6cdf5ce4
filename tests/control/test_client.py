from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from chainsocks.control.client import ControlClient, NotRunningError
from chainsocks.control.messages import ControlError, Fault, Request, What
from tests.control.answering import answering, short_folder
from tests.control.fleets import HOP, STATUS, FakeFleet, some_sessions


def test_one_connection_carries_many_questions() -> None:
    with answering(FakeFleet(some_sessions(2000))) as path, ControlClient([path]) as client:
        for _ in range(3):
            assert client.status() == STATUS
            assert [session.id for session in client.sessions()] == [str(number) for number in range(1, 2001)]
            assert client.hops() == (HOP,)
        with pytest.raises(ControlError, match="no hop is called oslo"):
            next(client.ask(Request(what=What.REST, hop="oslo")))
        assert client.status() == STATUS


def test_the_first_place_with_a_server_is_asked() -> None:
    with short_folder() as folder, answering(FakeFleet()) as path:
        (folder / "stale").touch()
        with ControlClient([folder / "missing", folder / "stale", path]) as client:
            assert client.path == path


def test_without_a_server_the_places_are_named() -> None:
    missing = [Path("/missing/control"), Path("/missing/too")]
    with pytest.raises(NotRunningError, match="no server answers at /missing/control and /missing/too; -c FILE or"):
        ControlClient(missing)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "the server ended the connection"),
        (b'{"version"', "the server ended the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n", "each line has to be a JSON object"),
    ],
)
def test_a_server_that_is_none_is_an_error(answer: bytes, problem: str) -> None:
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "control"))
        listening.listen()

        def serve() -> None:
            with listening.accept()[0] as sock:
                sock.recv(100)
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with ControlClient([folder / "control"]) as client, pytest.raises(ControlError, match=problem):
            client.status()
        thread.join()


def test_a_silent_server_is_an_error() -> None:
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "control"))
        listening.listen()
        with ControlClient([folder / "control"]) as client:
            with pytest.raises(ControlError, match=r"did not answer within 0.01 s") as caught:
                next(client.ask(Request(what=What.STATUS), 0.01))
            assert caught.value.fault is Fault.UNAVAILABLE
