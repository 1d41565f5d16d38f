"""The ticket where things go other than planned: answers are lost, the page is scrolled, a key is held."""

import re

from playwright.async_api import Page, Request, Route, expect

from market.commands import HaltLoan, Mode, SetMode
from market.ids import LoanId
from tests.browser.conftest import ON_ONE_LOOP, Site

pytestmark = ON_ONE_LOOP


async def reviewed(page: Page, face: str = "100", price: str = "98.00") -> None:
    ticket = page.locator("#ticket")
    await ticket.get_by_label("Price").fill(price)
    await ticket.get_by_label("Original face").fill(face)
    await expect(ticket.get_by_test_id("total")).to_be_visible()
    await ticket.get_by_role("button", name="Review the order").click()


async def test_an_order_whose_answer_was_lost_is_found_and_its_result_shown(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    lost: list[str] = []

    async def lose_the_first(route: Route) -> None:
        if lost:
            await route.continue_()
            return
        lost.append(route.request.url)
        await route.fetch()
        await route.abort()

    await page.route("**/v1/orders", lose_the_first)
    await reviewed(page)
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("100 USD filled at 98.00 on average.")).to_be_visible()
    await page.get_by_role("button", name="Another order").click()
    await expect(page.get_by_test_id("claims")).to_have_text("100")  # once, not twice


async def test_an_order_that_never_arrived_is_told_and_can_be_changed_and_sent(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await page.route("**/v1/orders", lambda route: route.abort())
    await reviewed(page)
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("The order was not placed.")).to_be_visible()
    await page.unroute("**/v1/orders")
    await page.get_by_role("button", name="Back").click()
    await reviewed(page, face="150")
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("150 USD filled at 98.00 on average.")).to_be_visible()


async def test_the_confirmation_and_the_result_are_in_view_wherever_the_page_was_scrolled(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1", viewport={"width": 360, "height": 640})
    await page.get_by_text("How long").click()
    await reviewed(page)
    await expect(page.get_by_role("heading", name="Is this right?")).to_be_in_viewport()
    await expect(page.get_by_test_id("total")).to_be_in_viewport()
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("100 USD filled at 98.00 on average.")).to_be_in_viewport()


async def test_a_key_held_down_or_a_double_click_reviews_and_does_not_buy(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/orders"):
            sent.append(request.url)

    page.on("request", note)
    review = page.get_by_role("button", name="Review the order")
    await expect(review).to_be_enabled()
    await review.focus()
    for _ in range(4):
        await page.keyboard.down("Enter")  # from the second on it repeats
    await page.keyboard.up("Enter")
    await expect(page.get_by_role("heading", name="Is this right?")).to_be_visible()
    confirm = page.get_by_role("button", name="Buy now")
    await confirm.dispatch_event("click", {"detail": 2})
    await expect(page.get_by_role("heading", name="Is this right?")).to_be_visible()
    assert sent == []
    await confirm.press("Enter")
    await expect(page.get_by_text("100 USD filled at 98.00 on average.")).to_be_visible()
    assert len(sent) == 1
    await page.keyboard.press("Tab")  # goes on within the ticket
    await expect(page.get_by_role("button", name="Another order")).to_be_focused()


async def test_who_is_signed_out_meanwhile_is_led_to_sign_in(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await reviewed(page)
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Buy now").click()
    await page.locator("#ticket").get_by_role("link", name="Sign in to trade").click()
    await expect(page).to_have_url(re.compile("/account"))


async def test_the_ticket_says_what_the_market_takes(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    ticket = page.locator("#ticket")
    await expect(ticket.get_by_test_id("total")).to_be_visible()
    await site.do(SetMode(mode=Mode.CANCEL_ONLY, reason="test"))
    await expect(ticket.get_by_text("The market takes cancellations only at the moment.")).to_be_visible()
    await site.do(SetMode(mode=Mode.OPEN, reason="test"))
    await expect(ticket.get_by_text("The market takes cancellations only at the moment.")).to_have_count(0)
    await ticket.get_by_role("button", name="Review the order").click()
    await site.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="suspicion"))
    await expect(ticket.get_by_text("Trading in this loan is halted.")).to_be_visible()


async def test_b_on_the_board_leads_into_the_ticket(site: Site) -> None:
    page = await site.signed_up("ada", "/")
    await page.get_by_role("grid").focus()
    await page.keyboard.press("b")
    await expect(page.locator("#ticket").get_by_label("Original face")).to_be_focused()
