"""The operator's pages: rulebooks, loans, accounts, cash and logins, each action with its reason, in the log."""

import re

from playwright.async_api import Page, expect

from market.commands import HaltLoan
from market.ids import LoanId
from tests.browser.conftest import ON_ONE_LOOP, PASSWORD, Site
from tests.builders import deposit, open_account, register, sell

pytestmark = ON_ONE_LOOP


async def operator(site: Site, part: str) -> Page:
    await site.add_login("boss", "HOUSE", "read", "trade", "transfer", "admin")
    page = await site.signed_in("boss", "/operator")
    await page.goto(f"{site.url}/operator?part={part}")
    await page.get_by_label("Reason").fill("agreed on Monday")
    return page


async def reasons(site: Site, kind: str) -> list[str]:
    query = "SELECT body->>'reason' FROM market.command_log WHERE kind = $1 ORDER BY seq"
    return [record[0] for record in await site.stack.pool.fetch(query, kind)]


async def test_a_rulebook_is_made_of_another_assigned_and_seen_at_the_loan(site: Site) -> None:
    page = await operator(site, "rulebooks")
    book = page.get_by_role("region", name="Rulebooks")
    await book.get_by_role("button", name="open").click()
    await book.get_by_label("Name").fill("careful")
    await book.get_by_label("Largest discount, %").fill("5")
    await book.get_by_label("Days to hold").fill("7")
    await book.get_by_role("group", name="Seller's fee").get_by_label("Rate, fraction").fill("0.002")
    await book.get_by_role("combobox", name="D", exact=True).select_option("c3")
    await book.get_by_role("button", name="Create careful").click()
    await expect(book.get_by_text("Rulebook careful is in force.")).to_be_visible()
    await page.get_by_role("link", name="Loans").click()
    assign = page.get_by_role("region", name="Put under a rulebook")
    await assign.get_by_label("Loan", exact=True).fill("L1")
    await assign.get_by_role("combobox", name="Rulebook", exact=True).select_option("careful")
    await assign.get_by_role("button", name="Assign").click()
    await expect(assign.get_by_text("L1 trades under careful now.")).to_be_visible()
    await page.goto(site.url + "/loans/L1")
    for rule in ("discount at most 5%", "to be held 7 days before a sale", "buyer pays 0.00%, seller pays 0.20%"):
        await expect(page.get_by_text(rule)).to_be_visible()
    assert await reasons(site, "DefineRulebook") == ["agreed on Monday"]
    assert await reasons(site, "AssignRulebook") == ["agreed on Monday"]


async def test_a_rulebook_that_contradicts_itself_is_refused_with_the_field(site: Site) -> None:
    page = await operator(site, "rulebooks")
    book = page.get_by_role("region", name="Rulebooks")
    await book.get_by_role("button", name="open").click()
    await book.get_by_label("Lowest price").fill("150")
    await book.get_by_label("Highest price").fill("50")
    await book.get_by_role("button", name="Change open").click()
    await expect(book.get_by_role("alert")).to_contain_text("invalid_arguments")
    await expect(book.get_by_role("alert")).to_contain_text("Correct the field that is named")


async def test_a_loan_is_registered_and_more_of_it_issued(site: Site) -> None:
    page = await operator(site, "loans")
    new = page.get_by_role("region", name="Register a loan")
    for label, text in (
        ("Loan", "NEW-1"),
        ("Originator", "ORIG"),
        ("Original principal", "5000.00"),
        ("Face issued", "2000.00"),
        ("Rate, as a fraction", "0.12"),
        ("Issued on", "2024-01-15"),
        ("First due", "2024-02-15"),
    ):
        await new.get_by_label(label, exact=True).fill(text)
    await new.get_by_role("combobox", name="Guarantee").select_option("insurer")
    await new.get_by_label("Guarantor").fill("Old Mutual")
    await new.get_by_label("Guaranteed from days late").fill("30")
    await new.get_by_role("button", name="Register").click()
    await expect(new.get_by_text("NEW-1 is registered.")).to_be_visible()
    issue = page.get_by_role("region", name="Issue more face")
    await issue.get_by_label("Loan", exact=True).fill("NEW-1")
    await issue.get_by_label("Face to add").fill("3000.01")
    await issue.get_by_role("button", name="Issue").click()
    await expect(issue.get_by_role("alert")).to_contain_text("no more may be issued than was lent")
    await issue.get_by_label("Face to add").fill("3000.00")
    await issue.get_by_role("button", name="Issue").click()
    await expect(issue.get_by_text("3,000.00 of face of NEW-1 issued.")).to_be_visible()
    await page.goto(site.url + "/loans/NEW-1")
    await expect(page.get_by_text("Old Mutual guarantees it from 30 days late.")).to_be_visible()
    assert site.stack.views.loans["NEW-1"].state.issued == 500_000  # type: ignore[index]
    assert await reasons(site, "IssueFace") == ["agreed on Monday"]


async def test_an_account_gets_cash_a_login_and_is_frozen(site: Site) -> None:
    page = await operator(site, "accounts")
    opening = page.get_by_role("region", name="Open an account")
    await opening.get_by_label("Account", exact=True).fill("FUND-1")
    await opening.get_by_label("Name").fill("First Fund")
    await opening.get_by_role("combobox", name="Risk class").select_option("c4")
    await opening.get_by_role("button", name="Open", exact=True).click()
    await expect(opening.get_by_text("Account FUND-1 is open.")).to_be_visible()
    cash = page.get_by_role("region", name="Cash in and out")
    for label, text in (("Account", "FUND-1"), ("Currency", "USD"), ("Amount", "500.00"), ("Custody reference", "w-1")):
        await cash.get_by_label(label, exact=True).fill(text)
    await cash.get_by_role("button", name="Book a deposit").click()
    await expect(cash.get_by_text("500.00 USD booked for FUND-1.")).to_be_visible()
    await cash.get_by_role("combobox", name="Direction").select_option("Out: withdrawal")
    await cash.get_by_label("Custody reference").fill("w-2")
    await cash.get_by_label("Amount").fill("600")
    await cash.get_by_role("button", name="Book a withdrawal").click()
    await expect(cash.get_by_role("alert")).to_contain_text("Not enough cash")
    await cash.get_by_label("Amount").fill("200")
    await cash.get_by_role("button", name="Book a withdrawal").click()
    await expect(cash.get_by_text("200.00 USD booked out of FUND-1.")).to_be_visible()
    login = page.get_by_role("region", name="New login")
    await login.get_by_label("Account", exact=True).fill("FUND-1")
    await login.get_by_label("Login").fill("fund")
    await login.get_by_label("Password").fill("x")
    await login.get_by_role("button", name="Add the login").click()
    await expect(login.get_by_role("alert")).to_contain_text("password")
    await login.get_by_label("Password").fill(PASSWORD)
    await login.get_by_role("button", name="Add the login").click()
    await expect(login.get_by_text("fund may sign in for FUND-1.")).to_be_visible()
    fund = await site.signed_in("fund", "/portfolio")
    await expect(fund.get_by_test_id("cash-USD")).to_have_text("300.00")
    row = page.get_by_role("row", name="FUND-1")
    await row.get_by_role("button", name="Freeze").click()
    await expect(row).to_contain_text("frozen")
    await fund.goto(site.url + "/loans/L1")
    await fund.get_by_label("Original face").fill("10")
    await fund.get_by_role("button", name="Review the order").click()
    await fund.get_by_role("button", name="Buy now").click()
    await expect(fund.get_by_role("alert")).to_contain_text("Your account is frozen")
    assert await reasons(site, "Withdraw") == ["agreed on Monday"]


async def test_nothing_is_done_without_a_reason(site: Site) -> None:
    await site.add_login("boss", "HOUSE", "read", "admin")
    page = await site.signed_in("boss", "/operator")
    for part in ("loans", "rulebooks", "accounts", "market"):
        await page.goto(f"{site.url}/operator?part={part}")
        await expect(page.get_by_text("Give a reason first")).to_be_visible()
        buttons = page.locator("main form button:not([type=button])")
        await buttons.first.wait_for()
        for button in await buttons.all():
            await expect(button).to_be_disabled()


async def test_the_audit_shows_what_adds_up(site: Site) -> None:
    await site.do(open_account("A"), deposit("A", 123_45), register("L9"), sell("ORIG", 99_00, 10_00))
    await site.add_login("boss", "HOUSE", "read", "admin")
    page = await site.signed_in("boss", "/operator")
    audit = page.get_by_role("region", name="Audit").first
    await expect(audit.get_by_text("Everything adds up: 4 loans and all cash.")).to_be_visible()
    await expect(audit.get_by_role("row", name="USD").first).to_contain_text("123.45")
    await expect(audit.get_by_role("row", name="ORIG USD")).to_contain_text("1.0000")
    await expect(audit.get_by_text("links of title in all chains")).to_be_visible()


async def test_halted_loans_are_listed_with_reason_and_since_and_resumed_from_there(site: Site) -> None:
    await site.add_login("boss", "HOUSE", "read", "admin")
    await site.do(HaltLoan(loan_id=LoanId("LATE"), halted=True, reason="the borrower is bankrupt"))
    page = await site.signed_in("boss", "/operator")
    halts = page.get_by_role("region", name="Halts")
    row = halts.get_by_role("row").filter(has_text="LATE")
    await expect(row).to_contain_text("the borrower is bankrupt")
    await expect(row).to_contain_text(re.compile(r"\d\d/\d\d/\d{4}, \d\d:\d\d:\d\d"))
    await site.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="news"))  # by somebody else
    await expect(halts.get_by_role("row").filter(has_text="news")).to_contain_text("L1", timeout=10_000)
    resume = halts.get_by_role("button", name="Resume LATE")
    await expect(resume).to_be_disabled()  # no reason yet
    await page.get_by_label("Reason", exact=True).fill("settled")
    await resume.click()
    await expect(halts.get_by_text("LATE trades again.")).to_be_visible()
    await expect(row).to_have_count(0)
    assert not (await (await page.request.get(site.url + "/v1/loans/LATE")).json())["halted"]
    await halts.get_by_role("button", name="Resume L1").click()
    await expect(halts.get_by_text("No loan is halted.")).to_be_visible()
