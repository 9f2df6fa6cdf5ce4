"""Name lookups by this machine's resolver: in threads, shared out fairly, and remembered for some seconds.

1. A lookup takes a thread until the resolver answers, also when it is no longer waited for. There are at most
   `THREADS`, which are shared out fairly (`chainsocks.shares`), with a `RESERVE`. So a name server that does not answer
   for one client's names delays that client alone. Of many lookups at once, each gets its thread in a turn of its own,
   so that sessions go on in between.
2. Equal questions under way are asked once.
3. Names that the hosts file has, and IP addresses, are looked up at once, without a thread.
4. Addresses are remembered for 5 s, and that there is no such name for 1 s; time-outs never. An entry goes when none of
   its addresses could be connected to, and all go when a file of the resolver changes, or by `Resolver.clear`.
5. The resolver asks for IPv4 and IPv6 addresses at once, but gives no answer until it has both. If it takes longer
   than the `RESOLUTION_DELAY`, a second question asks for IPv4 addresses only, and a third one for IPv6 addresses only.
   What comes first is used, and `Resolver.rest_of` returns the remainder (RFC 8305 section 3). Glibc alone waits for
   10 s and more where one of the two questions is never answered.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio
from outcome import Outcome

from chainsocks.net.names import SystemFiles, addresses_of, is_numeric, name_of
from chainsocks.protocol.address import Address, parse_zoned
from chainsocks.shares import FairQueue, Shares

__all__ = ["Resolver"]

THREADS = 128
"""Lookups under way at most, those no longer waited for included."""

RESERVE = 7
"""Threads that are kept for clients with few lookups under way."""

EXTRA = 6
"""Threads of the reserve for questions about one family, beside the question about both; shared as the reserve is."""

START_INTERVAL = 0.001
"""Seconds after the start of a thread in which another one waits for a turn of its own. The event loop stands still
until the system runs the new thread, which takes 0.2 ms, and longer on a busy machine."""

RESOLUTION_DELAY = 0.05
"""Seconds to wait for both families (RFC 8305 section 3)."""

FOUND, NOT_FOUND = 5.0, 1.0
"""Seconds for which addresses are remembered, and that there are none."""

ENTRIES = 1024
"""Answers that are remembered at most."""

_NAME_OF = -1
"""In the place of a family: the question is for the name of an address."""

_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}

Key = tuple[bytes, int]
"""A name in lower case, or the text of an IP address; and the family, 0 for both."""

LookUp = Callable[[], list[str]]
StartThread = Callable[[LookUp, Callable[[Outcome[list[str]]], None]], None]


class _Answer:
    """What the resolver has answered; it counts until `expires`."""

    __slots__ = ("error", "expires", "found")

    def __init__(self, found: list[str], error: OSError | None = None, expires: float = -math.inf) -> None:
        self.found = found
        self.error = error
        self.expires = expires


class _Question:
    """A question that waits for a thread, or for the resolver."""

    __slots__ = ("answer", "asked", "key", "started", "waiters", "wanted")

    def __init__(self, key: Key, asked: float) -> None:
        self.key = key
        self.asked = asked
        self.started = False
        self.answer: _Answer | None = None
        self.wanted = 0
        """How many ask it; one that has not started and is not wanted any more is dropped."""
        self.waiters = set[trio.Event]()


class Resolver:
    """See the module. `start_thread` runs a function in a thread, and another one there with its outcome."""

    def __init__(
        self, start_thread: StartThread = trio.lowlevel.start_thread_soon, files: SystemFiles | None = None
    ) -> None:
        self._start_thread = start_thread
        self._files = files or SystemFiles()
        self._answers: dict[Key, _Answer] = {}
        self._asked: dict[Key, _Question] = {}
        self._threads = Shares(THREADS, RESERVE)
        self._extra = Shares(EXTRA, reserve=EXTRA)
        self._waiting = FairQueue[_Question](self._threads)
        self._last_start = -math.inf
        self._has_turn = False
        """Whether `_take_turn` is going to be called."""

    async def resolve(self, address: Address, client: str = "") -> list[Address]:
        """Look a name up for `client`; return its addresses in the resolver's order, each with the port of `address`.

        If they are only those of one family, `rest_of` is for the others.

        Raises:
            socket.gaierror: the name has no address.
            OSError: no thread can be started.
        """
        name = address.packed.lower()
        answer = self._recall((name, 0)) or await self._find(name, client)
        if answer.error:
            raise _copy(answer.error)
        return _addresses(answer, address.port)

    def known(self, address: Address) -> list[Address] | None:
        """Return the addresses of a name that need no lookup, as `resolve` would; None where there are none."""
        answer = self._recall((address.packed.lower(), 0))
        return None if answer is None or answer.error else _addresses(answer, address.port)

    def rest_of(self, address: Address) -> Callable[[], Awaitable[list[Address]]] | None:
        """Return what waits for all addresses of a name, if the resolver has not answered for both families yet."""
        question = self._asked.get((address.packed.lower(), 0))
        return partial(_rest, question, address.port) if question and question.started else None

    async def name_of(self, address: Address, client: str = "") -> str:
        """Look up the name of an IP address.

        Raises:
            OSError: it has no name, or no thread can be started.
        """
        key = address.host.encode("ascii"), _NAME_OF
        answer = self._recall(key)
        if answer is None:
            question = self._ask(key, client)
            try:
                answer = await _answer_to(question)
            finally:
                self._release(question)
        if answer.error:
            raise _copy(answer.error)
        return answer.found[0]

    def forget(self, address: Address) -> None:
        """Look a name up again next time, because its addresses do not answer."""
        name = address.packed.lower()
        for family in (0, socket.AF_INET, socket.AF_INET6):
            self._answers.pop((name, family), None)

    def clear(self) -> None:
        """Look all names up again; answers to earlier questions are not remembered."""
        self._answers.clear()
        self._asked.clear()

    # Answers.

    def _recall(self, key: Key) -> _Answer | None:
        """Return an answer that needs no thread."""
        now = trio.current_time()
        if self._files.have_changed(now):
            self.clear()
        answer = self._answers.get(key)
        if answer and now < answer.expires:
            return answer
        name, family = key
        if family == 0 and (self._files.is_in_hosts(name) or is_numeric(name)):
            try:
                return self._remember(key, _Answer(_look_up(key), None, now + FOUND))
            except OSError:
                pass  # the resolver reads the file in another way
        return None

    def _remember(self, key: Key, answer: _Answer) -> _Answer:
        self._answers.pop(key, None)
        if len(self._answers) >= ENTRIES:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer
        return answer

    async def _find(self, name: bytes, client: str) -> _Answer:
        """Ask for both families, and for each if that takes long; return the first answer that is of use."""
        whole = self._ask((name, 0), client)
        try:
            asked = [whole]
            for number, family in enumerate((socket.AF_INET, socket.AF_INET6), 1):
                if answer := await _first(asked, whole.asked + number * RESOLUTION_DELAY):
                    return answer
                if extra := self._ask_beside((name, family), client):
                    asked.append(extra)
            while True:
                if answer := await _first(asked, math.inf):
                    return answer
        finally:
            self._release(whole)

    # Questions.

    def _ask(self, key: Key, client: str) -> _Question:
        """Return the question `key`, which begins as soon as `client` may have a thread."""
        question = self._asked.get(key)
        if question is None:
            question = self._asked[key] = _Question(key, trio.current_time())
        question.wanted += 1
        if not question.started:  # another client may be waiting for a thread for it
            self._waiting.put(client, question)
            self._start_waiting()
        return question

    def _release(self, question: _Question) -> None:
        question.wanted -= 1
        if not (question.wanted or question.started) and self._asked.get(question.key) is question:
            del self._asked[question.key]

    def _ask_beside(self, key: Key, client: str) -> _Question | None:
        """Return a question about one family; None if there is no thread for it."""
        if answer := self._recall(key):
            question = _Question(key, 0)
            question.answer = answer
            return question
        asked = self._asked.get(key)
        is_free = self._extra.allows(client) and self._threads.taken < THREADS
        if asked is None and is_free:
            asked = self._asked[key] = _Question(key, trio.current_time())
            self._threads.taken += 1
            self._threads.reserve -= 1
            self._start(asked, self._extra, client)
        return asked

    def _start_waiting(self) -> None:
        """Start questions that wait, as far as there are threads for their clients, each in a turn of its own."""
        if self._has_turn:
            return
        if trio.current_time() < self._last_start + START_INTERVAL:
            self._ask_for_turn()
        else:
            self._start_next()

    def _ask_for_turn(self) -> None:
        self._has_turn = True
        trio.lowlevel.current_trio_token().run_sync_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._has_turn = False
        self._start_next()

    def _start_next(self) -> None:
        while entry := self._waiting.take():
            client, question = entry
            if not question.started and question.wanted:
                self._start(question, self._threads, client)
                if self._waiting and not self._has_turn:
                    self._ask_for_turn()
                return

    def _start(self, question: _Question, shares: Shares, client: str) -> None:
        question.started = True
        shares.take(client)
        token = trio.lowlevel.current_trio_token()

        def deliver(result: Outcome[list[str]]) -> None:
            try:
                token.run_sync_soon(self._finish, question, shares, client, result)
            except trio.RunFinishedError:
                pass  # the server has ended

        try:
            self._start_thread(partial(_look_up, question.key), deliver)
        except RuntimeError:  # of the threading module
            problem = OSError(errno.EAGAIN, f"no thread for the lookup: {os.strerror(errno.EAGAIN)}")
            self._end(question, shares, client, _Answer([], problem))
        self._last_start = trio.current_time()

    def _finish(self, question: _Question, shares: Shares, client: str, result: Outcome[list[str]]) -> None:
        """Take the answer of a thread, and give the thread to another question."""
        now = trio.current_time()
        try:
            answer = _Answer(result.unwrap(), None, now + FOUND)
        except OSError as error:
            lasts = NOT_FOUND if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME else 0
            answer = _Answer([], error, now + lasts)
        except Exception as error:  # noqa: BLE001  (it would end the server)
            answer = _Answer([], OSError(errno.EINVAL, str(error)), now)
        self._end(question, shares, client, answer)
        self._start_waiting()

    def _end(self, question: _Question, shares: Shares, client: str, answer: _Answer) -> None:
        shares.give_back(client)
        if shares is self._extra:
            self._threads.taken -= 1
            self._threads.reserve += 1
        question.answer = answer
        if self._asked.get(question.key) is question:  # otherwise all is to be looked up again
            del self._asked[question.key]
            if answer.expires > trio.current_time():
                self._remember(question.key, answer)
        for waiter in question.waiters:
            waiter.set()


def _look_up(key: Key) -> list[str]:
    name, family = key
    return [name_of(name)] if family == _NAME_OF else addresses_of(name, family)


def _addresses(answer: _Answer, port: int) -> list[Address]:
    return [parse_zoned(host, port) for host in answer.found]


def _copy(error: OSError) -> OSError:
    """Return an error to raise for one of several that wait; each raise adds to an error's traceback."""
    return type(error)(*error.args)


async def _rest(question: _Question, port: int) -> list[Address]:
    return _addresses(await _answer_to(question), port)


async def _answer_to(question: _Question) -> _Answer:
    while question.answer is None:
        await _wait([question], math.inf)
    return question.answer


async def _first(asked: Sequence[_Question], deadline: float) -> _Answer | None:
    """Return the answer to the first of `asked`, or one with addresses to another; None at the deadline."""
    while True:
        whole, *extra = [question.answer for question in asked]
        if whole:
            return whole
        for answer in extra:
            if answer and answer.found:
                return answer
        if trio.current_time() >= deadline:
            return None
        await _wait([question for question in asked if question.answer is None], deadline)


async def _wait(asked: Sequence[_Question], deadline: float) -> None:
    """Wait until one of `asked` is answered, or for the deadline."""
    answered = trio.Event()
    for question in asked:
        question.waiters.add(answered)
    try:
        with trio.CancelScope(deadline=deadline):
            await answered.wait()
    finally:
        for question in asked:
            question.waiters.discard(answered)
