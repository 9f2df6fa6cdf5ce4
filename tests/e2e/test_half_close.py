"""Half-close: either side may finish first, and still gets everything that the other has to say."""

from __future__ import annotations

import hashlib
import queue
import socket
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.programs import PATIENCE, SocketAddress
from tests.e2e.servers import Chainsocks
from tests.e2e.targets import MIB, bulk, exchange, receive_bulk, send_bulk, send_until_stuck, serving
from tests.e2e.wire import connected, read_to_end

SIZE = 10 * MIB
QUESTION, ANSWER = 3, 4
"""Seeds of the bulk."""


def digest(seed: int) -> bytes:
    whole = hashlib.sha256()
    for chunk in bulk(seed, SIZE):
        whole.update(chunk)
    return whole.digest()


def finish(sock: socket.socket) -> tuple[str, int]:
    """Finish our side, and tell who we are."""
    name: tuple[str, int] = sock.getsockname()
    sock.shutdown(socket.SHUT_WR)
    return name


def test_the_client_finishes_first(front: Chainsocks) -> None:
    """The target answers when it has the whole question, and that is when its end has come through."""

    def answer_after_the_end(sock: socket.socket) -> None:
        if read_to_end(sock) == b"the whole question":
            send_bulk(sock, ANSWER, SIZE)

    with serving(answer_after_the_end) as target, connected(front.address, target) as sock:
        sock.sendall(b"the whole question")
        client = finish(sock)
        assert receive_bulk(sock, SIZE) == digest(ANSWER)
        assert read_to_end(sock) == b""
    session = front.session(client)
    assert f" up=18 down={SIZE} " in session
    assert 'outcome="finished"' in session


def test_the_target_finishes_first(front: Chainsocks) -> None:
    """The client says its own when the target has come to its end."""
    digests: queue.Queue[bytes] = queue.Queue()

    def finish_and_listen(sock: socket.socket) -> None:
        sock.sendall(b"go ahead")
        sock.shutdown(socket.SHUT_WR)
        received = receive_bulk(sock, SIZE)
        assert read_to_end(sock) == b""
        digests.put(received)

    with serving(finish_and_listen) as target, connected(front.address, target) as sock:
        assert read_to_end(sock) == b"go ahead"
        sent = send_bulk(sock, QUESTION, SIZE)
        client = finish(sock)
        assert digests.get(timeout=PATIENCE) == sent
    session = front.session(client)
    assert f" up={SIZE} down=8 " in session
    assert 'outcome="finished"' in session


def test_the_end_follows_the_request_at_once(front: Chainsocks, echo: SocketAddress) -> None:
    with connected(front.address, echo) as sock:
        client = finish(sock)
        assert read_to_end(sock) == b""
    assert "up=0 down=0 " in front.session(client)


def test_the_end_follows_the_last_bytes_at_once(front: Chainsocks, echo: SocketAddress) -> None:
    """A small question and its end in the same breath, many times: neither overtakes the other."""
    for number in range(20):
        with connected(front.address, echo) as sock:
            question = b"%d" % number * 100
            sock.sendall(question)
            finish(sock)
            assert read_to_end(sock) == question


def test_both_finish_at_once(front: Chainsocks) -> None:
    """Both send, finish and then read."""
    heard: queue.Queue[bytes] = queue.Queue()

    def speak_then_listen(sock: socket.socket) -> None:
        sock.sendall(b"from the target")
        sock.shutdown(socket.SHUT_WR)
        heard.put(read_to_end(sock))

    with serving(speak_then_listen) as target:
        for _ in range(20):
            with connected(front.address, target) as sock:
                sock.sendall(b"from the client")
                client = finish(sock)
                assert read_to_end(sock) == b"from the target"
                assert heard.get(timeout=PATIENCE) == b"from the client"
            assert 'outcome="finished"' in front.session(client)


def test_many_clients_at_once(front: Chainsocks, source_and_sink: SocketAddress) -> None:
    """Each gets its own bytes, and no other's."""

    def one(number: int) -> None:
        with connected(front.address, source_and_sink) as sock:
            exchange(sock, 10_000 * number)

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(one, range(40)))


def test_an_upload_that_nobody_takes(front: Chainsocks) -> None:
    """Nothing is buffered without a bound, and nothing is missing when the target reads at last."""
    sizes: queue.Queue[int] = queue.Queue()
    digests: queue.Queue[bytes] = queue.Queue()

    def read_later(sock: socket.socket) -> None:
        digests.put(receive_bulk(sock, sizes.get(timeout=PATIENCE)))

    with serving(read_later) as target, connected(front.address, target) as sock:
        size, sent = send_until_stuck(sock, QUESTION)
        sizes.put(size)
        assert digests.get(timeout=PATIENCE) == sent


def test_a_download_that_nobody_takes(front: Chainsocks) -> None:
    """The same, the other way."""
    results: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def send(sock: socket.socket) -> None:
        results.put(send_until_stuck(sock, ANSWER))

    with serving(send) as target, connected(front.address, target) as sock:
        size, sent = results.get(timeout=PATIENCE)
        assert receive_bulk(sock, size) == sent
        assert read_to_end(sock) == b""
