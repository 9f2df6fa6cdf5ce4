"""Logins: who is let in, and what it costs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio

from chainsocks.config.models import User
from chainsocks.config.passwords import HashedPassword, hash_password
from chainsocks.protocol.messages import Method, UsernamePassword
from chainsocks.session.login import THREADS, Logins
from tests.background import PATIENCE


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


async def test_an_unknown_name_is_hashed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[HashedPassword] = []

    def refuse(self: HashedPassword, password: bytes) -> bool:
        checked.append(self)
        return False

    monkeypatch.setattr(HashedPassword, "matches", refuse)
    user = User("carol", hash_password(b"right"))
    logins = Logins([user])
    assert not await logins.accept(login(b"x", b"nobody"))
    [password] = checked
    assert password is not user.password


async def test_only_so_many_are_hashed_at_once() -> None:
    begun = threading.Semaphore(0)
    go_on = threading.Event()

    class Held:
        def matches(self, password: bytes) -> bool:
            begun.release()
            return not go_on.wait(PATIENCE)

    async def begins(seconds: float) -> bool:
        return await trio.to_thread.run_sync(partial(begun.acquire, timeout=seconds))

    logins = Logins([User("carol", Held())])
    async with trio.open_nursery() as nursery:
        for number in range(3 * THREADS):
            nursery.start_soon(logins.accept, login(str(number).encode()))
        for _ in range(THREADS):
            assert await begins(PATIENCE)
        one_more = await begins(0.2)
        go_on.set()
    assert not one_more
