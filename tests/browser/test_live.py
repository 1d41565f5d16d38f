"""What happens meanwhile: halts, servicing, a lost connection, a restarted service."""

import csv
import io
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, expect

from tests.browser.conftest import ON_ONE_LOOP, Site
from tests.service import running_service

pytestmark = ON_ONE_LOOP

HEADER = ["event_id", "loan_id", "type", "value_date", "amount"]


async def test_an_operator_halts_a_loan_and_everybody_sees_it_at_once(site: Site) -> None:
    await site.add_login("boss", "HOUSE", "read", "admin")
    ada = await site.signed_up("ada", "/loans/L1")
    await expect(ada.get_by_role("button", name="Review the order")).to_be_enabled()
    boss = await site.signed_in("boss", "/operator")
    halt = boss.get_by_role("button", name="Halt", exact=False).filter(has_text="‖")
    await boss.get_by_role("textbox", name="Loan", exact=True).first.fill("L1")
    await expect(halt).to_be_disabled()  # no reason yet
    await boss.get_by_label("Reason").fill("news about the borrower")
    await halt.click()
    await expect(boss.get_by_text("L1 is halted.")).to_be_visible()
    await expect(ada.get_by_text("Trading in this loan is halted.").first).to_be_visible()
    await expect(ada.get_by_text("news about the borrower").first).to_be_visible()
    await expect(ada.get_by_role("button", name="Review the order")).to_be_disabled()
    await boss.get_by_role("button", name="Resume").click()
    await expect(ada.get_by_role("button", name="Review the order")).to_be_enabled()


async def test_an_operator_sets_the_mode_rolls_the_day_books_servicing_and_audits(site: Site, tmp_path: Path) -> None:
    await site.add_login("boss", "HOUSE", "read", "admin")
    anyone = await site.open("/loans/L2")
    banner = anyone.get_by_role("banner")
    boss = await site.signed_in("boss", "/operator")
    await expect(boss.get_by_text("Everything adds up: 3 loans and all cash.")).to_be_visible()
    await boss.get_by_label("Reason").fill("month end")
    await boss.get_by_role("button", name="Cancel only").click()
    await expect(banner.get_by_text("The market takes cancellations only at the moment.").first).to_be_visible()
    await boss.get_by_role("button", name="Open", exact=True).click()
    await expect(banner.get_by_text("The market takes cancellations only at the moment.")).to_be_hidden()
    await boss.get_by_label("Roll to").fill("2024-02-15")
    await boss.get_by_role("button", name="Roll the day").click()
    await expect(boss.get_by_text("The business date is 15 Feb 2024.")).to_be_visible()
    await expect(anyone.get_by_title("Business date of the market")).to_have_text("15 Feb 2024")
    file = tmp_path / "events.csv"
    text = io.StringIO()
    csv.writer(text).writerows([HEADER, ["e1", "L2", "payment", "2024-02-15", "888.49"]])
    file.write_text(text.getvalue())
    await boss.get_by_label("Servicing file").set_input_files(file)
    await boss.get_by_role("button", name="Book events: 1").click()
    await expect(boss.get_by_text("Events booked: 1; booked before: 0.")).to_be_visible()
    await expect(anyone.get_by_text("1 of 12 paid")).to_be_visible()
    await expect(anyone.get_by_text("0.92115100")).to_be_visible()
    file.write_text("event_id,loan\nx,y\n")
    await boss.get_by_label("Servicing file").set_input_files(file)
    await expect(boss.get_by_role("alert")).to_contain_text("“loan” is none of a servicing file")


async def test_the_page_says_that_it_lost_the_market_and_comes_back_when_it_restarts(
    chromium: Browser, page_files: Path, tmp_path: Path
) -> None:
    flags = ("--allow-signup", "--signup-cash", "USD:5000.00", "--business-date", "2024-01-15")
    page = await (await chromium.new_context(locale="en-GB")).new_page()
    page.set_default_timeout(60_000)
    with running_service(tmp_path, *flags) as service:
        port = urlsplit(service.url).port
        await page.goto(service.url + "/account")
        await page.get_by_role("button", name="Open an account").click()
        await page.get_by_label("Login").fill("ada")
        await page.get_by_label("Password").fill("correct horse battery")
        await page.locator("form").get_by_role("button", name="Open an account").click()
        await page.get_by_role("button", name="Sign out").wait_for()
        await page.goto(service.url + "/portfolio")
        await expect(page.get_by_test_id("cash-USD")).to_have_text("5,000.00")
        await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        board = await page.context.new_page()
        await board.goto(service.url)
        await expect(board.get_by_role("status").filter(has_text="Live")).to_be_visible()
        service.stop()
        await expect(board.locator("div.market.stale")).to_be_visible(timeout=30_000)  # what it lists is shown as old
        lost = page.get_by_role("alert").filter(has_text="reconnecting by itself")  # beside what was asked meanwhile
        await expect(lost).to_be_visible(timeout=30_000)
    with running_service(tmp_path, *flags, port=port or 0):
        await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible(timeout=60_000)
        await expect(lost).to_be_hidden()
        await expect(board.locator("div.market:not(.stale)")).to_be_visible(timeout=30_000)
        await expect(page.get_by_test_id("cash-USD")).to_have_text("5,000.00")


async def test_every_place_opens_by_its_address(site: Site) -> None:
    page = await site.open(None)
    for path in ("/", "/loans/L1", "/statistics", "/portfolio", "/account", "/operator"):
        await page.goto(site.url + path)
        await expect(page.get_by_role("link", name="Debt Market")).to_be_visible()
        await expect(page.get_by_role("heading", level=1).first).to_be_attached()


async def test_an_address_of_nothing_says_so_and_leads_on(site: Site) -> None:
    page = await site.open(None)
    for path in ("/nowhere", "/loans", "/loans/%zz", "/a/b/c"):
        response = await page.goto(site.url + path)
        assert response is not None
        assert response.status == (200 if path == "/loans/%zz" else 404)
        await expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
        await expect(page.get_by_text(path, exact=True)).to_be_visible()
        await page.locator("main").get_by_role("link", name="Market").click()
        await expect(page.get_by_role("grid").get_by_role("link")).to_have_count(3)
        answer = await page.request.get(site.url + path, headers={"Accept": "application/json"})
        kind = "text/html" if path == "/loans/%zz" else "application/problem+json"
        assert answer.headers["content-type"].startswith(kind)
