"""The board: what is on offer, filtered, sorted, searched and watched, live, with a mouse, keys or a thumb."""

from playwright.async_api import Page, expect

from tests.browser.conftest import Site
from tests.builders import register, sell


async def shown(page: Page, *loans: str) -> None:
    """Wait until exactly these loans are listed, in this order."""
    await expect(page.get_by_role("grid").get_by_role("link")).to_have_text(list(loans))


async def test_the_board_shows_what_is_on_offer_best_yield_first(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    first = page.get_by_role("grid").get_by_role("row").nth(1)
    await expect(first).to_contain_text("90.00")
    await expect(first).to_contain_text("10.00 %")
    await expect(first).to_contain_text("Was late")
    async with page.expect_response("**/v1/loans?*sort=discount*"):
        await page.get_by_role("columnheader").get_by_role("button", name="Discount").click()
        await page.get_by_role("columnheader").get_by_role("button", name="Discount").click()
    await shown(page, "L1", "L2", "LATE")


async def test_never_late_grade_and_search_filter_and_the_address_keeps_them(site: Site) -> None:
    page = await site.open()
    await page.get_by_role("checkbox", name="Never late").check()
    await shown(page, "L2", "L1")
    await page.get_by_role("textbox", name="Discount: from").fill("3")
    await page.get_by_role("textbox", name="Discount: from").press("Enter")
    await shown(page, "L2")
    await page.reload()
    await shown(page, "L2")
    await page.get_by_role("button", name="Reset").first.click()
    await shown(page, "LATE", "L2", "L1")
    await page.get_by_role("searchbox").fill("late")
    await shown(page, "LATE")
    await page.get_by_role("searchbox").fill("no such loan")
    await expect(page.get_by_text("No loan fits these filters.")).to_be_visible()


async def test_a_filter_is_saved_and_a_loan_watched_and_both_outlive_the_page(site: Site) -> None:
    page = await site.open("/?sort=-ytm&grade=D")
    await shown(page, "LATE")
    await page.get_by_role("textbox", name="Name this filter").fill("risky")
    await page.get_by_role("button", name="Save").click()
    await page.goto(site.url)
    await page.get_by_role("button", name="Watch L2").click()
    await page.reload()
    await page.get_by_role("button", name="★ Watchlist").click()
    await shown(page, "L2")
    await page.get_by_role("link", name="risky").click()
    await shown(page, "LATE")


async def test_prices_move_where_they_are_and_no_row_jumps(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    row = page.get_by_role("grid").get_by_role("row").nth(3)
    await expect(row).to_contain_text("98.00")
    # L1 is now the cheapest of all, and still the last row.
    await site.do(sell("ORIG", 80_00, 500_00))
    await expect(row).to_contain_text("80.00")
    await expect(row).to_contain_text("20.00 %")
    await shown(page, "LATE", "L2", "L1")
    await page.get_by_role("button", name="Sort anew").click()
    await shown(page, "L1", "LATE", "L2")


async def test_a_long_board_is_paged_by_the_server_and_only_what_is_seen_is_in_the_page(site: Site) -> None:
    for n in range(450):
        await site.do(register(f"X{n:04}"))
    page = await site.open("/?q=x0")
    grid = page.get_by_role("grid")
    await expect(grid.get_by_role("link").first).to_have_text("X0000")
    assert await grid.get_by_role("link").count() < 60
    await grid.focus()
    for _ in range(3):
        await page.keyboard.press("End")
        await page.wait_for_timeout(150)
    await expect(grid).to_have_attribute("aria-rowcount", "450")
    await page.keyboard.press("End")
    await expect(grid.get_by_role("link", name="X0449")).to_be_visible()
    assert await grid.get_by_role("link").count() < 60


async def test_a_click_on_the_map_filters(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    point = page.locator("figure circle").first
    box = await point.bounding_box()
    assert box is not None
    await page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await shown(page, "LATE")
    assert "grade=D" in page.url


async def test_with_keys_alone_a_loan_is_found_opened_and_bought(site: Site) -> None:
    page = await site.signed_up("ada")
    await shown(page, "LATE", "L2", "L1")
    await page.keyboard.press("/")
    await page.keyboard.type("L2")
    await shown(page, "L2")
    await page.keyboard.press("Escape")
    await page.get_by_role("grid").focus()
    await page.keyboard.press("Home")
    await page.keyboard.press("b")
    await page.wait_for_url("**/loans/L2?side=buy")
    await expect(page.get_by_role("heading", name="L2")).to_be_visible()
    await page.keyboard.press("b")
    await expect(page.get_by_label("Original face")).to_be_focused()
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("200")
    await expect(page.get_by_test_id("total")).to_have_text("190.00 USD")
    review = page.get_by_role("button", name="Review the order")
    await expect(review).to_be_enabled()
    while not await review.evaluate("node => node === document.activeElement"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Buy now")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(review).to_be_enabled()
    await review.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Buy now")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("200 USD filled at 95.00 on average.")).to_be_visible()


async def test_on_a_phone_nothing_is_wider_than_the_screen(site: Site) -> None:
    page = await site.open(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    await shown(page, "LATE", "L2", "L1")
    for place in ("/", "/loans/L1", "/account"):
        await page.goto(site.url + place)
        await page.wait_for_timeout(400)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, place
    await page.goto(site.url)
    await page.get_by_role("button", name="Filters").tap()
    await page.get_by_role("checkbox", name="Never late").check()
    await page.get_by_role("button", name="Close").tap()
    await shown(page, "L2", "L1")
    await page.get_by_role("grid").get_by_text("95.00").tap()
    await page.wait_for_url("**/loans/L2")
    await expect(page.get_by_label("Original face")).to_be_visible()


async def test_the_language_is_switched_and_kept(site: Site) -> None:
    page = await site.open()
    await page.get_by_role("button", name="中文").click()
    for term in ("折价率", "剩余期限", "年化收益率", "剩余额度"):
        await expect(page.get_by_role("columnheader", name=term)).to_be_visible()
    await page.goto(site.url + "/loans/L1")
    for term in ("应计利息", "起投金额", "等额本息，年利率 12.00%"):
        await expect(page.get_by_text(term).first).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "zh-CN"
    assert "债权转让" in await page.title()
    await expect(page.get_by_text("2024年2月15日").first).to_be_visible()
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_text("15 Feb 2024").first).to_be_visible()
