"""What an order may say beside its price: until which day, how much at least, how much is seen; and own orders."""

from datetime import UTC, datetime, timedelta, timezone

from playwright.async_api import Page, expect

from tests.browser.conftest import ON_ONE_LOOP, Site
from tests.builders import buy, deposit, open_account

pytestmark = ON_ONE_LOOP

SHANGHAI = timezone(timedelta(hours=8))


async def place(page: Page) -> None:
    await page.get_by_role("button", name="Review the order").click()
    await page.get_by_role("button", name="now", exact=False).filter(has_text="Buy").click()
    await page.get_by_role("heading", name="Done").wait_for()


async def test_a_day_that_is_over_is_told_at_once_and_days_end_by_the_market_s_clock(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1", timezone_id="America/New_York")
    ticket = page.locator("#ticket")
    await ticket.get_by_label("Price").fill("90")
    await ticket.get_by_label("Original face").fill("100")
    await ticket.get_by_text("How long: Until cancelled").click()
    await ticket.get_by_label("Until a date").check()
    review = page.get_by_role("button", name="Review the order")
    today = datetime.now(SHANGHAI).date()
    await ticket.get_by_label("Until the end of").fill((today - timedelta(days=1)).isoformat())
    await expect(ticket.get_by_text("That day is over.").first).to_be_visible()
    await expect(review).to_be_disabled()
    await ticket.get_by_label("Until the end of").fill((today + timedelta(days=2)).isoformat())
    await expect(ticket.get_by_text("That day is over.")).to_have_count(0)
    end = datetime.combine(today + timedelta(days=2), datetime.max.time(), SHANGHAI).astimezone(UTC)
    await expect(ticket.get_by_text("market's time zone, Asia/Shanghai")).to_contain_text("10:59:59")  # of New York
    await place(page)
    [order] = (await (await page.request.get(site.url + "/v1/orders")).json())["items"]
    assert order["expire_time"].startswith(end.strftime("%Y-%m-%dT15:59:59"))


async def test_a_half_filled_ticket_outlives_a_reload_until_it_is_placed_or_the_owner_leaves(site: Site) -> None:
    page = await site.open("/loans/L1")
    ticket, face = page.locator("#ticket"), page.locator("#ticket").get_by_label("Original face")
    await expect(ticket.get_by_label("Price")).to_have_value("98.00")
    await ticket.get_by_label("Discount").fill("3.5")
    await face.fill("120")
    await ticket.get_by_text("How long: Until cancelled").click()
    await ticket.get_by_label("Today").check()
    await page.reload()
    await expect(ticket.get_by_label("Discount")).to_have_value("3.5")
    await expect(face).to_have_value("120")
    await expect(ticket.get_by_text("How long: Today")).to_be_visible()
    await site.enter(page.context, "/v1/users", "ada")  # and comes back with it
    await page.reload()
    await expect(page.get_by_test_id("cash")).to_have_text("100,000.00 USD")
    await expect(face).to_have_value("120")
    await page.goto(site.url + "/loans/L2")
    await expect(face).to_have_value("100.00")  # of that loan nothing was filled in
    await page.goto(site.url + "/loans/L1")
    await expect(face).to_have_value("120")
    await expect(page.get_by_test_id("total")).to_have_text("115.80 USD")
    await place(page)
    await page.reload()
    await expect(ticket.get_by_label("Price")).to_have_value("98.00")
    await expect(face).to_have_value("100.00")
    await ticket.get_by_label("Price").fill("91")
    await page.goto(site.url + "/account")
    await page.get_by_role("button", name="Sign out", exact=True).first.click()
    await page.get_by_role("heading", name="Sign in").wait_for()
    await page.goto(site.url + "/loans/L1")
    await expect(ticket.get_by_label("Price")).to_have_value("98.00")


async def test_one_s_own_bid_is_not_offered_and_what_would_meet_it_is_told(site: Site) -> None:
    await site.do(open_account("BUYER"), deposit("BUYER", 1_000_00))
    page = await site.signed_up("ada", "/loans/L1")
    ticket = page.locator("#ticket")
    await ticket.get_by_label("Original face").fill("100")
    await place(page)  # buys at 98.00
    await page.get_by_role("button", name="Another order").click()
    await ticket.get_by_label("Price").fill("97")
    await place(page)  # bids at 97.00
    await page.get_by_role("button", name="Another order").click()
    await ticket.get_by_role("button", name="Sell", exact=True).click()
    await expect(page.locator(".figures")).to_contain_text("97.00")
    await expect(page.get_by_role("button", name="Take the bid")).to_have_count(0)
    await ticket.get_by_label("Price").fill("96.50")
    await expect(ticket.get_by_text("Your own bid at 97.00 stands there")).to_be_visible()
    await ticket.get_by_role("button", name="Market", exact=True).click()
    await expect(ticket.get_by_text("Your own bid at 97.00 stands there")).to_be_visible()
    await ticket.get_by_role("button", name="Limit", exact=True).click()
    await site.do(buy("BUYER", 97_50, 10_00))
    await page.get_by_role("button", name="Take the bid: 97.50").click()
    await expect(ticket.get_by_label("Price")).to_have_value("97.50")
    await expect(ticket.get_by_text("stands there")).to_have_count(0)


async def test_a_market_order_may_ask_for_a_least_quantity_and_a_limit_order_show_a_part(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    ticket = page.locator("#ticket")
    await ticket.get_by_role("button", name="Market", exact=True).click()
    await ticket.get_by_label("Original face").fill("2000")  # the book holds 1,000
    await ticket.get_by_text("Minimum and shown part").click()
    await expect(ticket.get_by_label("Show only")).to_have_count(0)  # it never rests
    await ticket.get_by_label("Trade at least, at once").fill("3000")
    await expect(ticket.get_by_text("at most the order's face")).to_be_visible()
    await expect(page.get_by_role("button", name="Review the order")).to_be_disabled()
    await ticket.get_by_label("Trade at least, at once").fill("1500")
    await page.get_by_role("button", name="Review the order").click()
    await expect(ticket.get_by_text("at least 1,500 at once")).to_be_visible()
    await page.get_by_role("button", name="Buy now").click()
    await expect(ticket.get_by_role("alert")).to_contain_text("min_qty_unfilled")
    await page.get_by_role("button", name="Back").click()
    await ticket.get_by_role("button", name="Limit", exact=True).click()
    await ticket.get_by_label("Price").fill("90")
    await ticket.get_by_text("Minimum and shown part").click()
    await ticket.get_by_label("Trade at least, at once").fill("")
    await ticket.get_by_label("Show only").fill("300")
    await place(page)
    await expect(page.locator(".figures")).to_contain_text("300")
    await page.goto(site.url + "/portfolio")
    orders = page.get_by_role("region", name="Open orders").first
    await expect(orders.get_by_role("row", name="L1")).to_contain_text("300 shown")
    await expect(orders.get_by_role("row", name="L1")).to_contain_text("2,000 USD")
