"""The web app in a real browser: Debian's Chromium, driven by Playwright, against the whole service in this process."""

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

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


@pytest.fixture
async def chromium(chromium_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=FLAGS, headless=True)
        yield browser
        await browser.close()


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

    async def open(self, path: str = "/", **options: Any) -> Page:
        """Open a place in a browser of its own."""
        page = await (await self.context(**options)).new_page()
        page.set_default_timeout(15_000)
        self.watch(page)
        await page.goto(self.url + path)
        return page

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text and "WebSocket connection" not in text:
            self.faults.append(text)

    async def add_login(self, login: str, account_id: str, *scopes: str) -> None:
        operator = await self.stack.key("HOUSE", "admin", "read", "transfer", "trade")
        body = {"login": login, "password": PASSWORD, "account_id": account_id, "scopes": list(scopes)}
        async with rest(self.url, operator) as admin:
            assert (await admin.post("/v1/admin/users", body)).status == 201

    async def signed_up(self, login: str, path: str = "/", **options: Any) -> Page:
        """Open an account in the page, and go to a place."""
        page = await self.open("/account", **options)
        await page.get_by_role("button", name="Open an account").click()
        await page.get_by_label("Login").fill(login)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.locator("form").get_by_role("button", name="Open an account").click()
        await page.get_by_role("button", name="Sign out").wait_for()
        if path != "/account":
            await page.goto(self.url + path)
        return page

    async def signed_in(self, login: str, path: str = "/", **options: Any) -> Page:
        page = await self.open(f"/account?next={path}", **options)
        await page.get_by_label("Login").fill(login)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.locator("form").get_by_role("button", name="Sign in").click()
        await page.wait_for_url(self.url + path)
        return page

    async def do(self, *commands: Command) -> None:
        await self.stack.do(*commands)


@pytest.fixture
async def site(database: str, chromium: Browser, page_files: Path) -> AsyncIterator[Site]:
    """L1 at 98.00 and L2 at 95.00 are offered by their originator, and LATE, which was late, at 90.00."""
    async with running_stack(database, settings=SETTINGS) as stack:
        await stack.do(register("LATE", grade="D", never_late=False, purpose="car"))
        for loan_id, price in (("L1", 98_00), ("L2", 95_00), ("LATE", 90_00)):
            await stack.do(sell("ORIG", PriceBp(price), 1_000_00, loan_id=LoanId(loan_id)))
        site = Site(stack, chromium, [])
        yield site
        assert site.faults == []
