"""The way through the pages: filters and place outlive a visit to a loan, and keys lead through every table."""

from playwright.async_api import expect

from market.ids import LoanId, PriceBp
from tests.browser.conftest import ON_ONE_LOOP, Site
from tests.browser.test_trading import buy_face
from tests.builders import register, sell

pytestmark = ON_ONE_LOOP

LOANS = 60


async def test_filters_outlive_a_visit_to_a_loan(site: Site) -> None:
    page = await site.open("/")
    two_loans = page.locator(".loaded").get_by_text("2 loans")
    await page.get_by_role("checkbox", name="Never late").check()
    for way in ("back", "escape", "link", "menu", "slash"):
        await expect(two_loans).to_be_visible()
        await expect(page.get_by_role("checkbox", name="Never late")).to_be_checked()
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
    await expect(two_loans).to_be_visible()
    await expect(page.get_by_role("checkbox", name="Never late")).to_be_checked()


async def test_back_undoes_filters_sorting_and_a_search_one_by_one(site: Site) -> None:
    page = await site.open("/")
    links, search = page.get_by_role("grid").get_by_role("link"), page.get_by_role("searchbox")
    never_late = page.get_by_role("checkbox", name="Never late")
    steps = [["LATE", "L2", "L1"], ["L2", "L1"], ["L1", "L2"], ["L1"]]
    await expect(links).to_have_text(steps[0])
    await never_late.check()
    await expect(links).to_have_text(steps[1])
    await page.get_by_label("Sort by").select_option("-price")
    await expect(links).to_have_text(steps[2])
    await search.press_sequentially("l")
    await page.wait_for_url("**/*q=l")  # it filters on the way, and is one step all the same
    await search.press_sequentially("1")
    await page.wait_for_url("**/*q=l1")
    for step in reversed(steps[:3]):
        await page.go_back()
        await expect(links).to_have_text(step)
    await expect(never_late).not_to_be_checked()
    await expect(search).to_have_value("")
    for step in steps[1:]:
        await page.go_forward()
        await expect(links).to_have_text(step)
    await expect(search).to_have_value("l1")
    other = await site.open(page.url.removeprefix(site.url))  # the address is all that somebody else needs
    await expect(other.get_by_role("grid").get_by_role("link")).to_have_text(["L1"])


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
    await page.get_by_role("checkbox", name="Never late").check()
    await expect(page.locator(".loaded").get_by_text(f"{LOANS + 2} loans")).to_be_visible()
    await page.go_back()
    await expect(page.locator(".loaded").get_by_text(f"{LOANS + 3} loans")).to_be_visible()
    await expect(active.get_by_role("link")).to_have_text(loan)
    again = await active.bounding_box()
    assert again is not None
    assert abs(before["y"] - again["y"]) <= 1


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
