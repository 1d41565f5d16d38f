"""Everybody can use the page: axe finds nothing anywhere, in either language, light or dark, wide or narrow."""

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from market.commands import HaltLoan
from market.ids import LoanId
from tests.browser.conftest import ON_ONE_LOOP, Site
from tests.builders import buy, deposit, open_account

pytestmark = ON_ONE_LOOP

PHONE = {"viewport": {"width": 360, "height": 740}}


async def check(page: Page) -> None:
    results = await Axe().run(page)
    told = [(each["id"], [node["html"][:160] for node in each["nodes"][:3]]) for each in results.response["violations"]]
    assert told == []


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="light"),
        pytest.param({"color_scheme": "dark"}, id="dark"),
        pytest.param({"locale": "zh-CN", **PHONE}, id="Chinese on a phone"),
    ],
)
async def test_public_pages(site: Site, options: dict[str, Any]) -> None:
    page = await site.open(**options)
    await page.get_by_role("grid").wait_for()
    await check(page)
    await page.goto(site.url + "/loans/L1")
    await page.locator("#ticket").wait_for()
    await site.drawn(page)
    await check(page)
    await page.goto(site.url + "/statistics")
    await page.get_by_role("heading", level=1).wait_for()
    await check(page)
    await page.goto(site.url + "/account")
    await page.locator("form").wait_for()
    await check(page)
    for place in ("/portfolio", "/operator"):  # sign in first
        await page.goto(site.url + place)
        await page.get_by_role("heading", level=1).wait_for()
        await check(page)
    await page.goto(site.url + "/loans/no-such-loan")
    await page.get_by_role("alert").wait_for()
    await check(page)
    await page.goto(site.url + "/nowhere")
    await page.get_by_role("heading", level=1).wait_for()
    await check(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_private_pages(site: Site, scheme: str) -> None:
    await site.add_login("boss", "HOUSE", "read", "trade", "admin")
    await site.do(HaltLoan(loan_id=LoanId("LATE"), halted=True, reason="news"))
    page = await site.signed_in("boss", "/operator", color_scheme=scheme)
    await page.get_by_role("button", name="Resume LATE").wait_for()
    await expect(page.get_by_text("Everything adds up")).to_be_visible()
    await check(page)
    for part in ("loans", "rulebooks", "accounts"):
        await page.goto(f"{site.url}/operator?part={part}")
        await page.get_by_role("heading", level=2).first.wait_for()
        await page.get_by_label("Reason").fill("looking at it")
        await check(page)
    await page.goto(site.url + "/account")
    await page.get_by_role("button", name="Make a key").click()
    await page.get_by_test_id("new-secret").wait_for()
    await check(page)
    ada = await site.signed_up("ada", "/loans/L1", color_scheme=scheme)
    await ada.get_by_label("Original face").fill("100")
    await ada.get_by_role("button", name="Review the order").click()
    await check(ada)
    await ada.get_by_role("button", name="Buy now").click()
    await ada.get_by_role("heading", name="Done").wait_for()
    await check(ada)
    await ada.goto(site.url + "/statistics")
    await ada.get_by_role("heading", level=1).wait_for()
    await check(ada)
    await ada.goto(site.url + "/portfolio")
    await ada.get_by_role("button", name="Sell all").click()
    await expect(ada.get_by_role("button", name="Offer 1 claims")).to_be_enabled()
    await check(ada)


async def test_no_page_is_wider_than_a_phone(site: Site) -> None:
    await site.add_login("boss", "HOUSE", "read", "trade", "transfer", "admin")
    await site.do(open_account("B"), deposit("B", 100_000_00), buy("B", 98_00, 400_00))
    page = await site.signed_in("boss", "/portfolio", **PHONE)
    operators = [f"/operator?part={part}" for part in ("market", "loans", "rulebooks", "accounts")]
    for place in ("/", "/statistics", "/loans/L1?side=sell", "/portfolio", "/account", *operators):
        await page.goto(site.url + place)
        await page.get_by_role("heading").first.wait_for()
        await site.drawn(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, place
