"""What was traded and how long claims waited: on a page of its own, at the loan, and in a seller's ticket."""

from playwright.async_api import expect

from tests.browser.conftest import ON_ONE_LOOP, Site
from tests.builders import buy, deposit, open_account

pytestmark = ON_ONE_LOOP


async def test_a_sale_is_seen_in_the_statistics_at_the_loan_and_in_the_ticket(site: Site) -> None:
    await site.do(
        open_account("B"), deposit("B", 100_000_00), buy("B", 98_00, 400_00), buy("B", 95_00, 100_00, loan_id="L2")
    )
    page = await site.signed_up("ada", "/statistics")
    traded = page.get_by_role("region", name="What was traded, by grade").first
    row = traded.get_by_role("row").nth(1)
    for text in ("95.00", "500", "97.40", "2.60%"):
        await expect(row).to_contain_text(text)
    await page.get_by_role("button", name="7 days").click()
    await expect(traded).to_contain_text("USD · 7 days")
    waits = page.get_by_role("region", name="How long claims waited for a buyer")
    await expect(waits.get_by_text("2–3%")).to_be_visible()
    await expect(waits.get_by_text("5–10%")).to_be_visible()
    await page.get_by_role("link", name="Market", exact=True).click()
    await page.goto(site.url + "/loans/L1")
    own = page.get_by_role("region", name="How it trades").first
    await expect(own.get_by_role("row", name="24 hours")).to_contain_text("400")
    await expect(own).to_contain_text("1 sales in 30 days")
    await page.locator("#ticket").get_by_role("button", name="Sell", exact=True).click()
    await page.get_by_label("Price").fill("97.50")
    await expect(page.get_by_test_id("outlook")).to_contain_text("USD claims sold at a discount of 2–3% waited")
    await page.get_by_label("Price").fill("99.50")
    await expect(page.get_by_test_id("outlook")).to_contain_text("No USD claim that waited in the book was sold")


async def test_without_trades_it_says_so(site: Site) -> None:
    page = await site.open("/statistics")
    await expect(page.get_by_text("Nothing was traded in the last 30 days.")).to_be_visible()
    await page.goto(site.url + "/loans/L1")
    await expect(page.get_by_text("Nobody who waited sold a claim of this loan")).to_be_visible()
