"""The limit of open files: it is raised, and sessions that do not fit are warned of."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from chainsocks.server.file_limit import current_limit, files_warning, raise_limit, sessions_that_fit, waiting_that_fit

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
    assert raise_limit() == HARD
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (HARD, HARD)


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))

    def fail(which: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", fail)
        assert raise_limit() == 256


@pytest.mark.parametrize(("limit", "warned"), [(None, False), (20_000, False), (19_999, True), (1024, True)])
def test_sessions_that_do_not_fit_are_warned_of(limit: int | None, *, warned: bool) -> None:
    warning = files_warning(limit, 10_000)
    assert (warning is not None) == warned
    if warning:
        assert f"10000 sessions in one process need more than 20000 open files, and the limit is {limit}" in warning


def test_the_limit_that_holds_now() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
    assert current_limit() == 256


@pytest.mark.parametrize(
    ("limit", "waiting", "sessions"),
    [(None, 1024, 10_000), (20_000, 1024, 10_000), (19_999, 1024, 9391), (1024, 64, 384), (64, 4, 1)],
)
def test_what_fits_the_limit(limit: int | None, waiting: int, sessions: int) -> None:
    assert waiting_that_fit(limit) == waiting
    assert sessions_that_fit(limit, 10_000) == sessions
