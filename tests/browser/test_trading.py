"""A claim is bought, seen in the portfolio, offered again, amended, cancelled and sold; others see none of it."""

import asyncio
import re

from playwright.async_api import Page, Route, WebSocketRoute, expect

from market.commands import CancelAll
from market.ids import AccountId, PriceBp
from tests.browser.conftest import ON_ONE_LOOP, PASSWORD, Site
from tests.builders import buy, deposit, open_account

pytestmark = ON_ONE_LOOP


async def buy_face(page: Page, face: str) -> None:
    await page.get_by_label("Original face").fill(face)
    await page.get_by_role("button", name="Review the order").click()
    await page.get_by_role("button", name="Buy now").click()
    await page.get_by_role("heading", name="Done").wait_for()


async def test_part_of_a_claim_is_bought_and_the_quote_and_both_balances_move(site: Site) -> None:
    await site.add_login("orig", "ORIG", "read", "trade")
    seller = await site.signed_in("orig", "/portfolio")
    await expect(seller.get_by_role("row", name="L1").first).to_contain_text("10,000 USD")
    page = await site.signed_up("ada", "/loans/L1")
    await expect(page.get_by_test_id("cash")).to_have_text("100,000.00 USD")
    await expect(page.get_by_label("Price")).to_have_value("98.00")
    await expect(page.get_by_label("Discount")).to_have_value("2.00")
    await page.get_by_label("Original face").fill("250")
    await expect(page.get_by_test_id("total")).to_have_text("245.00 USD")
    await page.get_by_role("button", name="Review the order").click()
    await expect(page.get_by_text("Buy 250 USD of L1 at 98.00")).to_be_visible()
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("250 USD filled at 98.00 on average.")).to_be_visible()
    await expect(page.locator(".figures")).to_contain_text("750")  # what is left at the ask
    await page.get_by_role("button", name="Another order").click()
    await expect(page.get_by_test_id("cash")).to_have_text("99,755.00 USD")
    await expect(page.get_by_test_id("claims")).to_have_text("250")
    await expect(seller.get_by_role("row", name="L1").first).to_contain_text("9,750 USD")
    await expect(seller.get_by_test_id("cash-USD")).to_have_text("245.00")


async def test_price_discount_and_yield_are_linked_and_cash_buys_what_it_can(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await expect(page.get_by_label("Price")).to_have_value("98.00")
    await page.get_by_label("Discount").fill("3.5")
    await expect(page.get_by_label("Price")).to_have_value("96.50")
    await expect(page.locator("#ticket").get_by_label("Yield")).not_to_have_value("")
    await page.locator("#ticket").get_by_label("Yield").fill("20")
    await expect(page.get_by_label("Price")).to_have_value(re.compile(r"^9[67]\.\d\d$"))
    await expect(page.get_by_label("Discount")).to_have_value(re.compile(r"^[23]\.\d\d$"))
    await page.get_by_label("Price").fill("98.00")
    await page.get_by_role("button", name="by cash").click()
    await page.get_by_label("Cash to spend").fill("500")
    await expect(page.get_by_text("This buys 510.20 USD of original face.")).to_be_visible()
    await expect(page.get_by_test_id("total")).to_have_text("500.00 USD")


async def test_a_claim_is_bought_by_yield_at_the_price_that_gives_it(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    ticket = page.locator("#ticket")
    await page.get_by_role("button", name="By yield", exact=True).click()
    await ticket.get_by_role("textbox", name="Yield").fill("16")
    await expect(ticket.get_by_role("textbox", name="Price")).to_have_value(re.compile(r"^9[89]\.\d\d$"))
    await page.get_by_label("Original face").fill("100")
    await page.get_by_role("button", name="Review the order").click()
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("100 USD filled at 98.00 on average.")).to_be_visible()  # the maker's price
    await page.get_by_role("button", name="Another order").click()
    await ticket.get_by_role("textbox", name="Yield").fill("18")  # more than is offered: it waits, and keeps its yield
    await page.get_by_label("Keep the yield").check()
    await expect(ticket.get_by_role("textbox", name="Price")).to_have_value(re.compile(r"^97\.\d\d$"))
    await page.get_by_role("button", name="Review the order").click()
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_text("The order rests in the book: 100 USD")).to_be_visible()
    await page.goto(site.url + "/portfolio")
    row = page.get_by_role("region", name="Open orders").first.get_by_role("row", name="L1")
    await expect(row).to_contain_text("18.00%")
    await expect(row).to_contain_text("97.")


async def test_a_claim_is_offered_from_the_portfolio_amended_and_cancelled(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "300")
    await page.goto(site.url + "/portfolio")
    await expect(page.get_by_test_id("cash-USD")).to_have_text("99,706.00")
    await page.get_by_role("button", name="Sell L1").click()
    many = page.get_by_role("region", name="Sell claims")
    await many.get_by_label("At a discount").fill("1")
    await expect(many.get_by_test_id("many-total")).to_have_text("297.00 USD")
    await expect(many.get_by_test_id("many-realised")).to_have_text("+3.00")  # bought at 98.00
    await expect(many.get_by_test_id("many-fee")).to_have_text("0.00")
    await many.get_by_role("button", name="Offer 1 claims").click()
    await expect(many.get_by_text("The order rests in the book: 300 USD")).to_be_visible()
    await many.get_by_role("button", name="Close").last.click()
    orders = page.get_by_role("region", name="Open orders")
    await expect(orders.get_by_role("row", name="L1")).to_contain_text("99.00")
    await orders.get_by_role("button", name="Amend").click()
    await orders.get_by_label("Price").fill("98.50")
    await orders.get_by_label("Face").fill("200")
    await orders.get_by_role("button", name="Save").click()
    await expect(orders.get_by_role("row", name="L1")).to_contain_text("98.50")
    await expect(orders.get_by_role("row", name="L1")).to_contain_text("200 USD")
    await orders.get_by_role("button", name="Amend").click()
    await orders.get_by_label("Price").fill("500")
    await orders.get_by_role("button", name="Save").click()
    await expect(orders.get_by_role("alert")).to_contain_text("price_out_of_band")
    await expect(orders.get_by_role("alert")).to_contain_text("too far from the market")
    await expect(orders.get_by_role("alert")).to_contain_text("The rule's limit: 200.00.")
    await page.get_by_role("button", name="中文").click()
    told = page.get_by_role("alert").filter(has_text="该规则的界限：200.00。")
    await expect(told).to_be_visible()
    assert re.findall("[A-Za-z_]{2,}", await told.inner_text()) == ["price_out_of_band"]  # no English but the code
    await page.get_by_role("button", name="English").click()
    await orders.get_by_role("button", name="Back").click()
    await orders.get_by_role("button", name="Cancel", exact=True).click()
    await expect(orders.get_by_text("No open orders.")).to_be_visible()


async def test_several_claims_are_offered_at_a_yield_and_the_statement_is_downloaded(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "100")
    await page.goto(site.url + "/loans/L2")
    await buy_face(page, "100")
    await page.goto(site.url + "/portfolio")
    await page.get_by_role("button", name="Sell all").click()
    many = page.get_by_role("region", name="Sell claims")
    await many.get_by_role("button", name="At a yield").click()
    await many.get_by_label("At a yield").fill("15")
    await expect(many.get_by_role("button", name="Offer 2 claims")).to_be_enabled()
    await many.get_by_role("button", name="Offer 2 claims").click()
    await expect(many.get_by_text("The order rests in the book").first).to_be_visible()
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Statement CSV").click()
    file = await (await waiting.value).path()
    text = file.read_text()
    assert text.startswith("row_id,")
    assert "deposit" in text
    assert "principal" in text


async def test_what_can_not_be_paid_is_refused_with_what_to_do(site: Site) -> None:
    await site.add_login("orig", "ORIG", "read", "trade")
    page = await site.signed_in("orig", "/loans/LATE")
    await page.get_by_label("Price").fill("50")
    await page.get_by_label("Original face").fill("100")
    await expect(page.get_by_text("That is more cash than you have available.")).to_be_visible()
    await page.get_by_role("button", name="Review the order").click()
    await page.get_by_role("button", name="Buy now").click()
    await expect(page.get_by_role("alert")).to_contain_text("Not enough cash")
    await expect(page.get_by_role("alert")).to_contain_text("insufficient_funds")


async def test_two_browsers_see_nothing_of_each_other(site: Site) -> None:
    ada = await site.signed_up("ada", "/loans/L1")
    await buy_face(ada, "100")
    bob = await site.signed_up("bob", "/portfolio")
    await expect(bob.get_by_test_id("cash-USD")).to_have_text("100,000.00")
    await expect(bob.get_by_text("No claims yet.").first).to_be_visible()
    await expect(bob.get_by_text("No fills yet.")).to_be_visible()
    anyone = await site.open("/portfolio")
    await expect(anyone.get_by_text("Sign in to see this")).to_be_visible()
    wrong = await site.open("/account")
    await wrong.get_by_label("Login").fill("ada")
    await wrong.get_by_label("Password").fill(PASSWORD + "!")
    await wrong.locator("form").get_by_role("button", name="Sign in").click()
    await expect(wrong.get_by_role("alert")).to_contain_text("Login or password is wrong")
    await ada.goto(site.url + "/account")
    await ada.get_by_role("button", name="Sign out").click()
    await ada.goto(site.url + "/portfolio")
    await expect(ada.get_by_text("Sign in to see this")).to_be_visible()


async def test_an_api_key_is_made_shown_once_and_revoked(site: Site) -> None:
    page = await site.signed_up("ada", "/account")
    await page.get_by_role("checkbox", name="trade").check()
    await page.get_by_role("textbox", name="What it is for").fill("my bot")
    await page.get_by_role("button", name="Make a key").click()
    secret = await page.get_by_test_id("new-secret").text_content()
    key = await page.get_by_test_id("new-key").text_content()
    assert secret
    assert key
    await expect(page.get_by_role("row", name="my bot")).to_contain_text(key)
    await page.reload()
    await expect(page.get_by_role("row", name="my bot")).to_contain_text(key)
    assert secret not in await page.content()
    await page.get_by_role("button", name="Revoke").click()
    await expect(page.get_by_text("No keys yet.")).to_be_visible()


async def test_the_password_is_changed_and_other_browsers_are_signed_out(site: Site) -> None:
    page = await site.signed_up("ada", "/account")
    other = await site.signed_in("ada", "/portfolio")
    await page.reload()
    places = page.get_by_role("region", name="Where you are signed in").first
    await expect(places.get_by_role("button", name="Sign out", exact=True)).to_have_count(1)
    form = page.get_by_role("region", name="Password")
    await form.get_by_label("Present password").fill("not this one")
    await form.get_by_label("New password", exact=True).fill("staple battery correct")
    await form.get_by_label("New password again").fill("staple battery")
    await expect(form.get_by_role("button", name="Change the password")).to_be_disabled()
    await form.get_by_label("New password again").fill("staple battery correct")
    await form.get_by_role("button", name="Change the password").click()
    await expect(form.get_by_role("alert")).to_contain_text("The present password is wrong")
    await form.get_by_label("Present password").fill(PASSWORD)
    await form.get_by_role("button", name="Change the password").click()
    await expect(form.get_by_text("The password is changed; signed out at 1 other places.")).to_be_visible()
    await other.reload()
    await expect(other.get_by_text("Sign in to see this")).to_be_visible()
    await expect(places.get_by_text("this one")).to_be_visible()
    await other.goto(site.url + "/account")
    await other.get_by_label("Login").fill("ada")
    await other.get_by_label("Password").fill("staple battery correct")
    await other.locator("form").get_by_role("button", name="Sign in").click()
    await expect(other.get_by_role("button", name="Sign out", exact=True).first).to_be_visible()


async def test_who_turns_to_selling_names_a_face_and_hears_what_can_not_be_read(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "300")
    await page.get_by_role("button", name="Another order").click()
    ticket = page.locator("#ticket")
    await ticket.get_by_role("button", name="by cash").click()
    await ticket.get_by_role("button", name="Sell", exact=True).click()
    await expect(ticket.get_by_label("Original face")).to_be_visible()
    await ticket.get_by_label("Original face").fill("100")
    await ticket.get_by_label("Price").fill("98.123")
    await expect(ticket.get_by_text("Correct “Price”: a number with at most 2 decimals.")).to_be_visible()
    await ticket.get_by_label("Price").fill("98.12")
    await expect(ticket.get_by_test_id("total")).to_have_text("98.12 USD")
    await expect(ticket.get_by_text("Correct “Price”")).to_have_count(0)
    await ticket.get_by_text("How long").click()
    await ticket.get_by_label("Until a date").check()
    await expect(ticket.get_by_text("Choose a date.")).to_be_visible()
    await expect(ticket.get_by_role("button", name="Review the order")).to_be_disabled()


async def test_no_total_is_shown_that_is_not_of_what_would_be_sold(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "300")
    await page.goto(site.url + "/portfolio")
    await page.get_by_label("Choose L1").check()
    await page.get_by_role("button", name="Sell 1 chosen").click()
    many = page.locator("section", has=page.get_by_role("heading", name="Sell claims"))
    send = many.get_by_role("button", name="Offer 1 claims")
    await expect(send).to_be_enabled()
    quoting = asyncio.Event()

    async def answer_later(route: Route) -> None:
        await quoting.wait()
        await route.continue_()

    await page.route("**/quote?*", answer_later)
    await many.get_by_label("At a discount").fill("2")
    assert await send.is_disabled()  # at once, not when it is asked
    quoting.set()
    await expect(many.get_by_test_id("many-total")).to_have_text("294.00 USD")
    await many.get_by_label("At a discount").fill("x")
    await expect(many.get_by_test_id("many-total")).to_have_text("0.00 USD")
    await many.get_by_label("At a discount").fill("1")
    await send.click()
    await expect(many.get_by_text("The order rests in the book")).to_be_visible()
    await expect(page.get_by_role("button", name="Sell 0 chosen")).to_be_disabled()


async def test_each_order_action_says_that_it_is_done(site: Site) -> None:
    await site.do(open_account("EVE"), deposit("EVE", 5_000_00))
    for price in (90_00, 91_00, 92_00, 93_00):
        await site.do(buy("EVE", PriceBp(price), 100_00))
    await site.add_login("eve", "EVE", "read", "trade")
    page = await site.signed_in("eve", "/portfolio")
    orders = page.locator("section", has=page.get_by_role("heading", name="Open orders"))
    await orders.get_by_role("button", name="Cancel", exact=True).first.click()
    await expect(orders.get_by_role("status")).to_contain_text("is cancelled.")
    await expect(orders.get_by_role("button", name="Amend")).to_have_count(3)
    await orders.get_by_role("button", name="Amend").first.click()
    await orders.get_by_label("Face").fill("50")
    await orders.get_by_role("button", name="Save").click()
    await expect(orders.get_by_role("status")).to_contain_text("is changed.")
    await orders.get_by_role("button", name="Cancel all").click()
    await expect(orders.get_by_role("status")).to_have_text("Orders cancelled: 3.")


async def test_an_order_that_ended_while_it_was_amended_is_told(site: Site) -> None:
    await site.do(open_account("EVE"), deposit("EVE", 5_000_00), buy("EVE", PriceBp(90_00), 100_00))
    await site.add_login("eve", "EVE", "read", "trade")
    page = await site.signed_in("eve", "/portfolio")
    orders = page.locator("section", has=page.get_by_role("heading", name="Open orders"))
    await orders.get_by_role("button", name="Amend").click()
    await orders.get_by_label("Face").fill("50")
    answered = asyncio.Event()

    async def answer_later(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/v1/orders/*", answer_later)
    await orders.get_by_role("button", name="Save").click()
    await site.do(CancelAll(account_id=AccountId("EVE")))
    await expect(orders.get_by_text("No open orders.")).to_be_visible()
    answered.set()
    await expect(orders.get_by_role("alert")).to_contain_text("The order has already ended.")


async def test_what_a_sold_claim_brought_stays_in_the_realised_result(site: Site) -> None:
    await site.do(open_account("BIDDER"), deposit("BIDDER", 500_00), buy("BIDDER", PriceBp(97_00), 100_00))
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "100")
    await page.goto(site.url + "/portfolio")
    await page.get_by_role("button", name="Sell all").click()
    await page.get_by_role("button", name="At the market").click()
    await expect(page.get_by_test_id("many-realised")).to_have_text("-1.00")
    await page.get_by_role("button", name="Offer 1 claims").click()
    await expect(page.get_by_text("100 USD filled at 97.00 on average.")).to_be_visible()
    await expect(page.get_by_role("cell", name="No claims yet.")).to_be_visible()
    await expect(page.get_by_test_id("realised-USD")).to_have_text("-1.00")


async def test_a_ticket_that_found_no_market_asks_again_when_it_is_back(site: Site) -> None:
    page = await (await site.context()).new_page()
    sockets: list[WebSocketRoute] = []

    def through(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    await page.route_web_socket("**/ws/v2", through)
    await page.goto(site.url + "/loans/L1")
    ticket = page.locator("#ticket")
    await expect(ticket.get_by_test_id("total")).to_have_text("98.00 USD")
    await page.route("**/quote?*", lambda route: route.abort())
    await ticket.get_by_label("Original face").fill("200")
    await expect(ticket.get_by_role("alert")).to_contain_text("The market can't be reached.")
    await page.unroute("**/quote?*")
    await sockets[-1].close()
    await expect(ticket.get_by_test_id("total")).to_have_text("196.00 USD")


async def test_fills_are_paged_through_to_the_first_one(site: Site) -> None:
    await site.do(open_account("BUYER"), deposit("BUYER", 1_000_00))
    for _ in range(120):
        await site.do(buy("BUYER", 98_00, 1_00))
    await site.add_login("bob", "BUYER", "read", "trade")
    page = await site.signed_in("bob", "/portfolio")
    fills = page.locator("section").filter(has=page.get_by_role("heading", name="Fills"))
    await expect(fills.get_by_text("The latest 50.")).to_be_visible()
    await site.do(buy("BUYER", 98_00, 2_00))
    await expect(fills.get_by_text("The latest 51.")).to_be_visible()
    await fills.get_by_role("button", name="Older").click()
    await expect(fills.get_by_text("All 121 fills.")).to_be_visible()
    assert await fills.locator("tbody tr").count() == 121
    await expect(fills.get_by_role("button", name="Older")).to_have_count(0)
