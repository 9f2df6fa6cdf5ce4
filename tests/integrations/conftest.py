"""Three hops, and a web site behind them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integrations.site import Site, sites
from tests.three_hops import ThreeHops, three_hops, write_ca


@dataclass(frozen=True)
class World(ThreeHops):
    """Three hops, and a site behind them."""

    http: Site
    https: Site
    ca: str
    """The path of the certificate of the site's authority."""


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ca = write_ca(tmp_path_factory.mktemp("ca"))
    with three_hops(ca) as hops, sites() as (http, https):
        yield World(hops.background, hops.plain, hops.secured, hops.front, http, https, ca)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxies of the environment, which are there and work no more."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """A socket that was not closed warns when it is collected, and a warning is an error."""
    yield
    gc.collect()
