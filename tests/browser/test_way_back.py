"""The way through the pages: filters and place outlive a visit to a loan, and keys lead through every table."""

import pytest
from playwright.async_api import expect

from market.ids import LoanId, PriceBp
from tests.browser.conftest import Site
from tests.browser.test_trading import buy_face
from tests.builders import register, sell

LOANS = 60


@pytest.mark.parametrize("way", ["back", "escape", "link", "menu", "slash"])
async def test_filters_outlive_a_visit_to_a_loan(site: Site, way: str) -> None:
    page = await site.open("/")
    await page.get_by_role("checkbox", name="Never late").check()
    await expect(page.locator(".loaded").get_by_text("2 loans")).to_be_visible()
    await page.get_by_role("link", name="L2").click()
    await page.get_by_role("heading", name="L2").wait_for()
    if way == "back":
        await page.go_back()
    elif way == "escape":
        await page.keyboard.press("Escape")
    elif way == "slash":
        await page.keyboard.press("/")
    else:
        await page.get_by_role("link", name="← Market" if way == "link" else "Market", exact=True).click()
    await expect(page.locator(".loaded").get_by_text("2 loans")).to_be_visible()
    await expect(page.get_by_role("checkbox", name="Never late")).to_be_checked()


async def test_the_list_stands_where_it_was_left(site: Site) -> None:
    for number in range(LOANS):
        await site.do(
            register(f"X{number:02}"), sell("ORIG", PriceBp(90_00 + number), 100_00, loan_id=LoanId(f"X{number:02}"))
        )
    page = await site.open("/")
    grid = page.get_by_role("grid")
    await expect(page.locator(".loaded").get_by_text(f"{LOANS + 3} loans")).to_be_visible()
    await grid.focus()
    for _ in range(30):
        await page.keyboard.press("ArrowDown")
    active = grid.locator("[aria-selected=true]")
    loan = await active.get_by_role("link").inner_text()
    before = await active.bounding_box()
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name=loan).wait_for()
    await page.go_back()
    await expect(active.get_by_role("link")).to_have_text(loan)
    after = await active.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) <= 1


async def test_the_watchlist_gives_the_filters_back(site: Site) -> None:
    page = await site.open("/")
    await page.get_by_role("checkbox", name="Never late").check()
    await expect(page.locator(".loaded").get_by_text("2 loans")).to_be_visible()
    await page.get_by_role("button", name="Watchlist").click()
    await expect(page.get_by_text("Nothing is on your watchlist yet")).to_be_visible()
    await page.get_by_role("button", name="Watchlist").click()
    await expect(page.locator(".loaded").get_by_text("2 loans")).to_be_visible()
    await expect(page.get_by_role("checkbox", name="Never late")).to_be_checked()


async def test_a_phone_sorts_as_well(site: Site) -> None:
    page = await site.open("/", viewport={"width": 360, "height": 740})
    first = page.get_by_role("grid").get_by_role("link").first
    await expect(first).to_have_text("LATE")  # best yield
    await page.get_by_role("button", name="Filters").click()
    await page.get_by_label("Sort by").select_option("-price")
    await page.get_by_role("button", name="Close").first.click()
    await expect(first).to_have_text("L1")


async def test_arrows_go_through_the_tables_of_the_portfolio_and_keys_lead_to_a_ticket(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "100")
    await page.goto(site.url + "/loans/L2")
    await buy_face(page, "100")
    await page.goto(site.url + "/portfolio")
    await page.get_by_label("Choose L1").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_label("Choose L2")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(page.get_by_label("Choose L1")).to_be_focused()
    await page.keyboard.press("s")
    await expect(page.get_by_role("heading", name="L1")).to_be_visible()
    await expect(page.locator("#ticket").get_by_role("button", name="Sell", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
