"""The page in a real Chromium: what it draws, its keys, its token, and that it asks nobody else.

Debian's `chromium` is driven by playwright from PyPI, which is no dependency of the tests: both are installed by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

CHROMIUM = shutil.which("chromium")
if not CHROMIUM:
    pytest.skip("chromium is not installed", allow_module_level=True)
for package in ("playwright.sync_api", "hypercorn", "starlette", "prometheus_client"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from playwright.sync_api import Page, sync_playwright  # noqa: E402  (behind the skip)

from chainsocks.config.web import Web  # noqa: E402
from chainsocks.control.messages import HopState, Place, Request  # noqa: E402
from chainsocks.observe.phase import Phase  # noqa: E402
from chainsocks.protocol.address import Address  # noqa: E402
from chainsocks.web.view import MOST_ROWS  # noqa: E402
from tests.control.fleets import HOP, SESSION, FakeFleet  # noqa: E402
from tests.net.sockets import LOOPBACK  # noqa: E402
from tests.web.asking import counted  # noqa: E402
from tests.web.browsing import running_web  # noqa: E402

TOKEN = "0123456789abcdef"
ONLY_LOOPBACK = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
"""Without it, Chromium itself asks for other hosts."""

EVIL = "<img src=x onerror=alert(1)>"
WELL = replace(HOP, name="paris", state=HopState.WELL, why=None, retry=None, failures=0, dial_time=0.025)
RESTED = replace(HOP, name="lima", state=HopState.RESTED, why=None)
RELAY = replace(
    SESSION, id="3", user=EVIL, destination="relay.example:443", place=Place(Phase.RELAY, left=300.0), up=5_000_000
)


def fleet() -> FakeFleet:
    many = [replace(RELAY, id=str(number), destination=f"many{number}.example:80") for number in range(10, 500)]
    return FakeFleet(rows=[SESSION, RELAY, *many], hops_now=[WELL, HOP, RESTED], counted=[counted()])


@contextmanager
def opened(address: Address, width: int = 1280, height: int = 800, scheme: Any = "light") -> Iterator[Page]:
    """Open the page; at its end, it must have asked nobody else, and logged nothing."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", ONLY_LOOPBACK])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        asked: list[str] = []
        logged: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.goto(f"http://{address}/")
        yield page
        assert {url for url in asked if not url.startswith((f"http://{address}/", "data:"))} == set()
        assert [line for line in logged if "401" not in line] == []
        browser.close()


async def see(address: Address, look: Callable[[Page], None], **options: Any) -> None:
    def run() -> None:
        with opened(address, **options) as page:
            look(page)

    await trio.to_thread.run_sync(run)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_it_draws_chains_sessions_and_failures(width: int, height: int, scheme: str) -> None:
    def look(page: Page) -> None:
        page.wait_for_selector("#rows tr")
        assert page.inner_text("#state") == "running"
        assert page.inner_text("#trouble") == "hop osaka is avoided"
        names = page.locator(".chain .hop .name").all_inner_texts()
        assert names == ["paris", "osaka", "lima"]
        assert page.locator(".chain .hop.backoff .name").inner_text() == "osaka"
        assert page.locator(".chain .hop.rested .name").inner_text() == "lima"
        assert "exits: failover" in page.locator(".group legend").inner_text()
        assert page.locator("#rows tr").count() == MOST_ROWS
        first = page.locator("#rows tr").first
        assert first.locator("[data-key=where]").inner_text() == f"osaka: {SESSION.place.step}"
        assert "<b>no answer</b>" in page.inner_text("#failures")
        assert page.locator("#failures b").count() == 0
        assert EVIL in page.locator("#rows").inner_text()
        assert page.locator("#rows img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
        assert (lightness > 127) is (scheme == "light")

    async with running_web(fleet()) as address:
        await see(address, look, width=width, height=height, scheme=scheme)


async def test_it_counts_down_and_is_updated() -> None:
    shown = fleet()

    def look(page: Page) -> None:
        page.wait_for_selector("#rows tr")
        page.wait_for_function("parseFloat(document.querySelector('#rows [data-key=left]').textContent) < 3.2")
        shown.rows = ()
        page.wait_for_selector("#empty:not([hidden])")
        assert page.inner_text("#count") == "0"

    async with running_web(shown) as address:
        await see(address, look)


async def test_it_is_used_by_keyboard() -> None:
    def look(page: Page) -> None:
        page.wait_for_selector("#rows tr")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "filter"
        page.keyboard.type("relay.ex")
        assert page.locator("#rows tr").count() == 1
        page.keyboard.press("Escape")
        assert page.locator("#rows tr").count() == MOST_ROWS
        page.keyboard.press("p")
        assert page.get_attribute("#pause", "aria-pressed") == "true"
        sort = page.locator("#head button").filter(has_text="Up")
        sort.focus()
        page.keyboard.press("Enter")
        assert page.locator("th[aria-sort=descending]").inner_text().startswith("Up")
        assert page.evaluate("document.activeElement.textContent") == "Up"
        assert page.locator("#rows tr").first.locator("[data-key=up]").inner_text().endswith("4.8 MiB")

    async with running_web(fleet()) as address:
        await see(address, look)


async def test_the_token_is_asked_for_and_lets_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_TOKEN", TOKEN)
    shown = fleet()

    def look(page: Page) -> None:
        page.wait_for_selector("#access[open]")
        assert page.locator("#rows tr").count() == 0
        page.keyboard.type(TOKEN)  # the field has the focus
        page.keyboard.press("Enter")
        page.wait_for_selector("#rows tr")
        page.get_by_label("rest paris").first.click()
        page.get_by_label("wake osaka").first.click()
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_label(f"end session {SESSION.id}").click()
        page.wait_for_timeout(500)
        assert TOKEN not in page.url
        assert page.context.cookies() == []

    async with running_web(shown, Web(Address("0.0.0.0", 0), token_env="WEB_TOKEN")) as address:
        await see(Address(LOOPBACK, address.port), look)
    told = [each.session if isinstance(each, Request) else each for each in shown.told]
    assert told == [("rest", "paris"), ("wake", "osaka"), SESSION.id]


async def test_a_server_that_is_gone_is_said() -> None:
    shown = fleet()

    def look(page: Page) -> None:
        page.wait_for_selector("#rows tr")
        shown.error = ZeroDivisionError()
        page.wait_for_selector("#state.gone")
        assert "a bug in chainsocks" in page.inner_text("#trouble")
        shown.error = None
        page.wait_for_selector("#state.running")

    async with running_web(shown) as address:
        await see(address, look)
