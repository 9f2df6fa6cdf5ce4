"""Logins: who is let in, and what it costs, and whose turn it is, with exact virtual times."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from outcome import Outcome, capture
from trio.testing import MockClock, wait_all_tasks_blocked

from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, PlainPassword, hash_password
from chainsocks.protocol.messages import Method, UsernamePassword
from chainsocks.session.login import THREADS, Logins


@dataclass
class Slow:
    """A password that counts how often, and how many at once, it is checked."""

    right: bytes
    checks: list[bytes] = field(default_factory=list)

    def matches(self, password: bytes) -> bool:
        self.checks.append(password)
        return password == self.right


def login(password: bytes, name: bytes = b"carol") -> UsernamePassword:
    return UsernamePassword(name, password)


def test_the_methods_say_whether_a_login_is_required() -> None:
    assert Logins(()).methods == (Method.NO_AUTHENTICATION_REQUIRED, Method.USERNAME_PASSWORD)
    assert not Logins(()).required
    logins = Logins([User("carol", Slow(b"x"))])
    assert logins.methods == (Method.USERNAME_PASSWORD,)
    assert logins.required


@pytest.mark.parametrize(
    ("name", "password", "accepted"),
    [(b"carol", b"right", True), (b"carol", b"wrong", False), (b"Carol", b"right", False), (b"", b"", False)],
)
async def test_only_the_right_password_of_a_declared_user(name: bytes, password: bytes, accepted: object) -> None:
    assert await Logins([User("carol", Slow(b"right"))]).accept(login(password, name)) is accepted


@pytest.mark.parametrize("name", [b"token", b""], ids=["token", "empty name"])
async def test_an_empty_password_is_compared_as_any_other(name: bytes) -> None:
    logins = Logins([User(name.decode(), hash_password(b""))])
    assert await logins.accept(login(b"", name))
    assert not await logins.accept(login(b"x", name))
    assert not await logins.accept(login(b"", b"other"))


async def test_without_users_everybody_is_let_in() -> None:
    assert await Logins(()).accept(login(b"anything"))


async def test_a_right_login_is_hashed_once_and_a_wrong_one_each_time() -> None:
    password = Slow(b"right")
    logins = Logins([User("carol", password)])
    for attempt in (b"right", b"right", b"wrong", b"wrong", b"right"):
        assert await logins.accept(login(attempt)) is (attempt == b"right")
    assert password.checks == [b"right", b"wrong", b"wrong"]


async def test_the_memory_of_right_logins_is_not_fooled_by_moving_a_letter() -> None:
    logins = Logins([User("carol", Slow(b"xright")), User("carolx", Slow(b"other"))])
    assert await logins.accept(login(b"xright"))
    assert not await logins.accept(login(b"right", b"carolx"))


# --- time


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """The settings of scrypt with which passwords are hashed during the test, instead of hashing them."""
    settings: list[tuple[int, int, int]] = []

    def matches(self: HashedPassword, password: bytes) -> bool:
        settings.append(self.setting)
        return self.hash == password

    monkeypatch.setattr(HashedPassword, "matches", matches)
    return settings


SALT = b"16 bytes of salt"
CHEAP, DEAR = HashedPassword(1024, 8, 1, SALT, b"cheap"), HashedPassword(16384, 8, 1, SALT, b"dear")
MIXED = [User("cheap", CHEAP), User("dear", DEAR), User("also dear", DEAR), User("plain", PlainPassword(b"plain"))]


@pytest.mark.parametrize("name", ["cheap", "dear", "also dear", "plain", "unknown", ""])
@pytest.mark.parametrize("users", [MIXED, MIXED[1:], MIXED[::-1], MIXED[:1]], ids=["all", "dear", "reversed", "one"])
async def test_every_check_hashes_once_with_each_setting_that_users_have(
    name: str, users: list[User], hashed: list[tuple[int, int, int]]
) -> None:
    assert not await Logins(users).accept(login(b"wrong", name.encode()))
    settings = {user.password.setting for user in users if isinstance(user.password, HashedPassword)}
    assert sorted(hashed) == sorted(settings)


@pytest.mark.parametrize("name", ["cheap", "dear", "plain"])
async def test_decoys_are_nobodys_password(name: str, hashed: list[tuple[int, int, int]]) -> None:
    assert await Logins(MIXED).accept(login(name.encode(), name.encode()))


@pytest.mark.parametrize("name", ["plain", "unknown"])
async def test_where_no_password_is_hashed_no_check_needs_a_thread(name: str) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    logins = Logins([User("plain", PlainPassword(b"plain"))], no_thread)
    assert await logins.accept(login(b"plain", name.encode())) == (name == "plain")


# --- shares


class Threads:
    """Threads that take `SECONDS` of virtual time for each check."""

    SECONDS = 0.05

    def __init__(self, nursery: trio.Nursery) -> None:
        self.now = self.most = self.begun = 0
        self.exhausted = False
        self.ended = trio.Event()
        self._nursery = nursery

    def start(self, check: Callable[[], bool], deliver: Callable[[Outcome[bool]], None]) -> None:
        if self.exhausted:
            raise RuntimeError("can't start new thread")
        self.now += 1
        self.begun += 1
        self.most = max(self.most, self.now)
        self._nursery.start_soon(self._run, check, deliver)

    async def _run(self, check: Callable[[], bool], deliver: Callable[[Outcome[bool]], None]) -> None:
        await trio.sleep(self.SECONDS)
        self.now -= 1
        deliver(capture(check))


@dataclass
class Door:
    """Logins on virtual threads, and the clients that try."""

    threads: Threads
    logins: Logins
    nursery: trio.Nursery
    answers: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """When each client was answered, and how, by its label."""

    def start(self, label: str, client: str, password: bytes, name: bytes = b"carol", patience: float = 100) -> None:
        async def enter() -> None:
            with trio.move_on_after(patience):
                right = await self.logins.accept(login(password, name), client)
                self.answers[label] = trio.current_time(), right

        self.nursery.start_soon(enter)

    def answered(self, label: str) -> float:
        """When a client was let in."""
        at, right = self.answers[label]
        assert right
        return at

    def flood(self, count: int, client: str, name: bytes = b"carol", patience: float = 100) -> None:
        for number in range(count):
            self.start(f"{client} {number}", client, b"wrong %d" % number, name, patience)


@pytest.fixture
def door(nursery: trio.Nursery) -> Door:
    threads = Threads(nursery)
    users = [
        User(name, Slow(b"right")) for name in ("carol", "dave", "erin", *(f"user {number}" for number in range(12)))
    ]
    return Door(threads, Logins(users, threads.start), nursery)


HASH = Threads.SECONDS


@pytest.mark.parametrize("count", [1, 400])
async def test_wrong_logins_of_one_address_delay_no_first_login_of_another(
    door: Door, count: int, autojump_clock: MockClock
) -> None:
    door.flood(count, "192.0.2.66")
    await wait_all_tasks_blocked()
    for number in range(12):
        door.start(str(number), f"192.0.2.{number}", b"right", b"user %d" % number)
        await trio.sleep(HASH)
        await wait_all_tasks_blocked()
        assert door.answered(str(number)) == pytest.approx((number + 1) * HASH)


async def test_one_hash_at_a_time_for_each_address(door: Door, autojump_clock: MockClock) -> None:
    door.flood(4, "192.0.2.66")
    await trio.sleep(4.5 * HASH)
    assert door.threads.most == 1
    assert [at for at, _ in door.answers.values()] == pytest.approx([HASH, 2 * HASH, 3 * HASH, 4 * HASH])


async def test_only_so_many_are_hashed_at_once_and_addresses_take_turns(door: Door, autojump_clock: MockClock) -> None:
    for number in range(6):
        door.flood(50, f"192.0.2.{number}")
    await wait_all_tasks_blocked()
    door.start("innocent", "198.51.100.1", b"right")
    await trio.sleep(5.5 * HASH)
    assert door.threads.most == THREADS
    assert door.answers["innocent"][1]


async def test_a_login_that_was_right_before_never_waits(door: Door, autojump_clock: MockClock) -> None:
    assert await door.logins.accept(login(b"right"), "192.0.2.1")
    door.flood(400, "192.0.2.66")
    door.flood(400, "192.0.2.67")
    await wait_all_tasks_blocked()
    before = trio.current_time()
    for client in ("192.0.2.1", "192.0.2.66", "192.0.2.99"):
        assert await door.logins.accept(login(b"right"), client)
    assert trio.current_time() == before


async def test_behind_one_address_the_usernames_take_turns(door: Door, autojump_clock: MockClock) -> None:
    door.flood(400, "127.0.0.1")
    await wait_all_tasks_blocked()
    door.start("dave", "127.0.0.1", b"right", b"dave")
    door.start("erin", "127.0.0.1", b"right", b"erin")
    await trio.sleep(4.5 * HASH)
    assert [door.answers[name][1] for name in ("dave", "erin")] == [True, True]


async def test_equal_logins_of_one_address_are_checked_once(door: Door, autojump_clock: MockClock) -> None:
    for number in range(20):
        door.start(str(number), "192.0.2.1", b"right")
    await trio.sleep(2 * HASH)
    assert [door.answered(str(number)) for number in range(20)] == pytest.approx([HASH] * 20)
    assert door.threads.begun == 1


async def test_a_login_found_right_from_another_address_meanwhile_needs_no_thread(
    door: Door, autojump_clock: MockClock
) -> None:
    door.flood(2, "192.0.2.66")
    await wait_all_tasks_blocked()
    door.start("there", "192.0.2.66", b"right")
    door.start("here", "192.0.2.1", b"right")
    await trio.sleep(5 * HASH)
    assert {door.answers[label][1] for label in ("there", "here")} == {True}
    assert door.threads.begun == 3


async def test_a_check_that_nothing_waits_for_is_dropped_unless_it_is_under_way(
    door: Door, autojump_clock: MockClock
) -> None:
    door.flood(400, "127.0.0.1", patience=HASH / 2)
    await trio.sleep(HASH / 2)
    await wait_all_tasks_blocked()
    door.start("innocent", "127.0.0.1", b"right")
    await trio.sleep(2 * HASH)
    assert door.threads.begun == 2
    assert [*door.answers] == ["innocent"]
    assert door.answered("innocent") == pytest.approx(2 * HASH)


async def test_a_client_that_left_does_not_end_the_check_of_another(door: Door, autojump_clock: MockClock) -> None:
    door.start("gone", "192.0.2.1", b"right", patience=HASH / 2)
    door.start("there", "192.0.2.1", b"right")
    await trio.sleep(2 * HASH)
    assert [*door.answers] == ["there"]
    assert door.answered("there") == pytest.approx(HASH)


async def test_without_a_thread_the_check_fails_and_later_ones_go_on(door: Door, autojump_clock: MockClock) -> None:
    door.threads.exhausted = True
    for _ in range(2 * THREADS):
        with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)):
            await door.logins.accept(login(b"right"), "192.0.2.1")
    door.threads.exhausted = False
    assert await door.logins.accept(login(b"right"), "192.0.2.1")


async def test_a_hash_that_fails_does_not_end_the_server(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    class Broken:
        def matches(self, password: bytes) -> bool:
            raise MemoryError

    logins = Logins([User("carol", Broken())], Threads(nursery).start)
    for _ in range(2 * THREADS):
        with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
            await logins.accept(login(b"right"), "192.0.2.1")


async def test_threads_of_the_system() -> None:
    logins = Logins([User("carol", Slow(b"right"))])
    assert await logins.accept(login(b"right"))
    assert not await logins.accept(login(b"wrong"))


async def test_of_other_users_the_logins_remain_known_whose_passwords_are_the_same() -> None:
    carol, dave, erin = (User(name, PlainPassword(name.encode())) for name in ("carol", "dave", "erin"))
    former = Logins([carol, dave, erin])
    for name in (b"carol", b"dave", b"erin"):
        assert await former.accept(login(name, name))
    logins = former.renewed([carol, User("dave", PlainPassword(b"another")), User("fred", PlainPassword(b"erin"))])
    assert [logins.is_known(login(name, name)) for name in (b"carol", b"dave", b"erin")] == [True, False, False]
    assert not await logins.accept(login(b"dave", b"dave"))
    assert not await logins.accept(login(b"erin", b"erin"))
    assert await logins.accept(login(b"another", b"dave"))
    assert not former.is_known(login(b"another", b"dave"))
