"""The web app in a real browser: Debian's Chromium, driven by Playwright, against the whole service in this process."""

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright, expect

from gateway.process.config import Settings
from market.commands import Command
from market.ids import LoanId, PriceBp
from tests.builders import register, sell
from tests.e2e.rest import rest
from tests.e2e.stack import Stack, running_stack
from tests.page import built_page

PASSWORD = "correct horse battery"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 20_000  # for what is to be seen; only a failing test waits so long
expect.set_options(timeout=WAIT_MS)
ON_ONE_LOOP = pytest.mark.asyncio(loop_scope="session")  # on which one browser serves all tests
SETTINGS = Settings(allow_signup=True, signup_cash="USD:100000.00,CNY:500000.00", time_zone="Asia/Shanghai")


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Any]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def page_files() -> Path:
    return built_page()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Skips where there is no Chromium; CI installs it (.ci/run)."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to one")
    return found


@dataclass
class Launcher:
    """Launches the browser once, and again if it is gone."""

    playwright: Playwright
    path: str
    launched: Browser | None = None

    async def browser(self) -> Browser:
        if self.launched is None or not self.launched.is_connected():
            self.launched = await self.playwright.chromium.launch(executable_path=self.path, args=FLAGS, headless=True)
        return self.launched


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def launcher(chromium_path: str) -> AsyncIterator[Launcher]:
    async with async_playwright() as playwright:
        launcher = Launcher(playwright, chromium_path)
        yield launcher
        if launcher.launched is not None:
            await launcher.launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def chromium(launcher: Launcher) -> AsyncIterator[Browser]:
    """The browser of all tests. A context is a browser of its own: it has its own cookies, storage and cache."""
    browser = await launcher.browser()
    yield browser
    for context in browser.contexts:
        await context.close()


@dataclass
class Site:
    """The market with loans on offer, and what opens it. faults: what pages complained of."""

    stack: Stack
    chromium: Browser
    faults: list[str]

    @property
    def url(self) -> str:
        return self.stack.url

    async def context(self, **options: Any) -> BrowserContext:
        wanted = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options}
        return await self.chromium.new_context(**wanted)

    async def open(self, path: str | None = "/", **options: Any) -> Page:
        """Open a place, or none yet, in a browser of its own."""
        page = await (await self.context(**options)).new_page()
        page.set_default_timeout(WAIT_MS)
        self.watch(page)
        if path is not None:
            await page.goto(self.url + path)
        return page

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text and "WebSocket connection" not in text:
            self.faults.append(text)

    async def drawn(self, page: Page) -> None:
        """Wait until nothing is being loaded and what is there is drawn."""
        await page.wait_for_function(
            "() => !document.querySelector('[aria-busy=true]') && !/Loading…|加载中…/.test(document.body.innerText)"
        )
        await page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    async def add_login(self, login: str, account_id: str, *scopes: str) -> None:
        operator = await self.stack.key("HOUSE", "admin", "read", "transfer", "trade")
        body = {"login": login, "password": PASSWORD, "account_id": account_id, "scopes": list(scopes)}
        async with rest(self.url, operator) as admin:
            assert (await admin.post("/v1/admin/users", body)).status == 201

    async def enter(self, context: BrowserContext, route: str, login: str) -> None:
        """Sign up (`/v1/users`) or in (`/v1/session`) without the form."""
        answer = await context.request.post(self.url + route, data={"login": login, "password": PASSWORD})
        assert answer.ok, await answer.text()

    async def signed_up(self, login: str, path: str = "/", **options: Any) -> Page:
        """Open an account, and go to a place in a browser of its own."""
        return await self._entered("/v1/users", login, path, **options)

    async def signed_in(self, login: str, path: str = "/", **options: Any) -> Page:
        return await self._entered("/v1/session", login, path, **options)

    async def _entered(self, route: str, login: str, path: str, **options: Any) -> Page:
        page = await self.open(None, **options)
        await self.enter(page.context, route, login)
        await page.goto(self.url + path)
        return page

    async def do(self, *commands: Command) -> None:
        await self.stack.do(*commands)


@pytest_asyncio.fixture(loop_scope="session")
async def site(database: str, chromium: Browser, page_files: Path) -> AsyncIterator[Site]:
    """L1 at 98.00 and L2 at 95.00 are offered by their originator, and LATE, which was late, at 90.00."""
    async with running_stack(database, settings=SETTINGS) as stack:
        await stack.do(register("LATE", grade="D", never_late=False, purpose="car"))
        for loan_id, price in (("L1", 98_00), ("L2", 95_00), ("LATE", 90_00)):
            await stack.do(sell("ORIG", PriceBp(price), 1_000_00, loan_id=LoanId(loan_id)))
        site = Site(stack, chromium, [])
        yield site
        assert site.faults == []
