"""The board: what is on offer, filtered, sorted, searched and watched, live, with a mouse, keys or a thumb."""

from datetime import date

import pytest
from playwright.async_api import Page, expect

from market.claims.loan import ClaimType, Coverage, Guarantee, GuaranteeKind
from market.commands import RollDay
from market.ids import LoanId
from tests.browser.conftest import ON_ONE_LOOP, Site
from tests.builders import buy, deposit, open_account, register, sell, service, servicing

pytestmark = ON_ONE_LOOP


async def shown(page: Page, *loans: str) -> None:
    """Wait until exactly these loans are listed, in this order."""
    await expect(page.get_by_role("grid").get_by_role("link")).to_have_text(list(loans))


async def test_the_board_shows_what_is_on_offer_best_yield_first(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    first = page.get_by_role("grid").get_by_role("row").nth(1)
    await expect(first).to_contain_text("90.00")
    await expect(first).to_contain_text("10.00%")
    await expect(first).to_contain_text("Was late")
    async with page.expect_response("**/v1/loans?*sort=discount*"):
        await page.get_by_role("columnheader").get_by_role("button", name="Discount").click()
        await page.get_by_role("columnheader").get_by_role("button", name="Discount").click()
    await shown(page, "L1", "L2", "LATE")
    heads = page.get_by_role("columnheader")
    for name, loans in (
        ("Grade", "LATE L1 L2"),  # two have none
        ("History", "L1 L2 LATE"),
        ("Loan", "L1 L2 LATE"),
        ("Loan", "LATE L2 L1"),
        ("Type", "L1 L2 LATE"),
    ):
        await heads.get_by_role("button", name=name, exact=True).click()
        await shown(page, *loans.split())


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


async def test_prices_move_where_they_are_and_no_row_jumps_under_the_pointer(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    row = page.get_by_role("grid").get_by_role("row").nth(3)
    await expect(row).to_contain_text("98.00")
    await row.hover()
    # L1 is now the cheapest of all, and still the last row.
    await site.do(sell("ORIG", 80_00, 500_00))
    await expect(row).to_contain_text("80.00")
    await expect(row).to_contain_text("20.00%")
    refresh = page.get_by_role("button", name="1 row changed place")
    await expect(refresh).to_be_visible()
    await shown(page, "LATE", "L2", "L1")
    await refresh.click()
    await shown(page, "L1", "LATE", "L2")
    await expect(refresh).to_be_hidden()


async def test_the_order_follows_the_market_while_nobody_points_at_the_list(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    await site.do(sell("ORIG", 80_00, 500_00))
    await shown(page, "L1", "LATE", "L2")


async def test_what_comes_to_be_on_offer_is_told_and_a_row_is_all_of_one_moment(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    await page.get_by_role("grid").hover()
    await site.do(register("NEW"), sell("ORIG", 96_00, 10_00, loan_id=LoanId("NEW")))
    await page.get_by_role("button", name="1 row changed place").click()
    await shown(page, "LATE", "L2", "NEW", "L1")
    # The instalment is paid: months, history and yield of the row change in one message.
    row = page.get_by_role("grid").get_by_role("row").nth(4)
    await expect(row).to_contain_text("12 mo")
    await site.do(RollDay(to=date(2024, 2, 15)), service(servicing("payment", date(2024, 2, 15), 88_849, loan_id="L1")))
    await expect(row).to_contain_text("11 mo")
    await expect(row).to_contain_text("1 of 12 paid")


async def test_any_part_of_a_long_board_is_there_at_once_and_only_what_is_seen_is_in_the_page(site: Site) -> None:
    for n in range(450):
        await site.do(register(f"X{n:04}"))
    page = await site.open("/?q=x0")
    grid = page.get_by_role("grid")
    await expect(page.get_by_text("450 loans")).to_be_visible()
    await expect(grid).to_have_attribute("aria-rowcount", "450")
    await expect(grid.get_by_role("link").first).to_have_text("X0000")
    await grid.focus()
    async with page.expect_response("**/v1/loans?loan_id=*") as fetched:
        await page.keyboard.press("End")
    assert "X0449" in (await fetched.value).url
    assert "X0200" not in (await fetched.value).url
    last = grid.get_by_role("row").filter(has=page.get_by_role("link", name="X0449"))
    await expect(last).to_contain_text("12.00%")
    assert await grid.get_by_role("link").count() < 60
    await page.keyboard.press("Home")
    await expect(grid.get_by_role("link", name="X0000")).to_be_visible()
    # A price moves far down the list, and is seen where it is.
    await grid.evaluate("node => (node.scrollTop = node.scrollHeight / 2)")
    middle = grid.get_by_role("row").filter(has=page.get_by_role("link", name="X0225"))
    await expect(middle).to_contain_text("12.00%")
    await site.do(sell("ORIG", 91_00, 10_00, loan_id=LoanId("X0225")))
    await expect(middle).to_contain_text("91.00")


async def test_every_filter_of_the_panel_leaves_what_it_says(site: Site) -> None:
    kinds = {"claim_type": ClaimType.GUARANTEED, "currency": "CNY", "grade": "A", "originator": "ORIG"}
    guarantee = Guarantee(kind=GuaranteeKind.INSURER, name="SafeCo", trigger_days=60, coverage=Coverage.PRINCIPAL)
    await site.do(open_account("BUYER"), deposit("BUYER", 1_000_00))
    await site.do(
        register("G1", guarantee=guarantee, annual_rate_ppm=80_000, term_months=24, **kinds),
        sell("ORIG", 101_00, 50_00, loan_id=LoanId("G1")),
        buy("BUYER", 90_00, 20_00, loan_id=LoanId("L2")),
    )
    page = await site.open()
    panel = page.locator("#filters")
    await shown(page, "LATE", "L2", "L1", "G1")

    async def typed(name: str, value: str, *loans: str) -> None:
        field = panel.get_by_role("textbox", name=name)
        await field.fill(value)
        await field.press("Enter")
        await shown(page, *loans)
        await panel.get_by_role("button", name="Reset").click()
        await shown(page, "LATE", "L2", "L1", "G1")

    await typed("Yield (eff.): from", "20", "LATE", "L2")
    await typed("Discount: to", "2", "L1", "G1")
    await typed("Remaining: from", "13", "G1")
    await typed("Rate: to", "10", "G1")
    await typed("Price: from", "98", "L1", "G1")
    await typed("Bid: from", "85", "L2")
    await typed("Available: to", "60", "G1")
    for choice, name, loans in (
        ("checkbox", "Guaranteed", ["G1"]),
        ("checkbox", "Insurer", ["G1"]),
        ("checkbox", "Never late", ["L2", "L1", "G1"]),
        ("button", "A", ["G1"]),
    ):
        await panel.get_by_role(choice, name=name, exact=choice == "button").first.click()  # type: ignore[arg-type]
        await shown(page, *loans)
        await panel.get_by_role("button", name="Reset").click()
        await shown(page, "LATE", "L2", "L1", "G1")
    await panel.get_by_label("Currency").select_option("CNY")
    await shown(page, "G1")
    await panel.get_by_label("Currency").select_option("")
    await panel.get_by_label("Status").select_option("grace,late")
    await expect(page.get_by_text("No loan fits these filters.")).to_be_visible()


async def test_columns_are_chosen_and_stay_chosen(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    header = page.get_by_role("columnheader")
    await expect(header.get_by_text("Region")).to_have_count(0)
    await page.get_by_role("button", name="Columns").click()
    await page.get_by_role("checkbox", name="Region").check()
    await page.get_by_role("checkbox", name="Last").uncheck()
    await page.keyboard.press("Escape")
    await page.reload()
    await expect(header.get_by_text("Region")).to_be_visible()
    await expect(header.get_by_text("Last")).to_have_count(0)


async def test_a_click_on_the_map_filters_and_so_does_a_dragged_box(site: Site) -> None:
    page = await site.open()
    await shown(page, "LATE", "L2", "L1")
    x, y = await painted(page, "grade-d")
    await page.mouse.move(x, y)
    await expect(page.locator("figure .tip")).to_contain_text("LATE")
    await page.mouse.click(x, y)
    await shown(page, "LATE")
    assert "grade=D" in page.url
    await page.get_by_role("button", name="Reset").first.click()
    await shown(page, "LATE", "L2", "L1")
    await page.mouse.move(x - 20, y - 4)
    await page.mouse.down()
    await page.mouse.move(x + 20, y + 16, steps=3)
    await page.mouse.up()
    await shown(page, "LATE")
    assert "min_ytm=" in page.url


async def painted(page: Page, token: str) -> tuple[float, float]:
    """Wait for a pixel of the map that has a token's colour, and return where on the page it is."""
    found = await page.wait_for_function(
        """token => {
            const canvas = document.querySelector("figure canvas");
            const wanted = getComputedStyle(document.documentElement).getPropertyValue("--" + token).trim();
            const rgb = [1, 3, 5].map((i) => parseInt(wanted.slice(i, i + 2), 16));
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] < 180 || rgb.some((part, k) => Math.abs(data[i + k] - part) > 3)) continue;
                const box = canvas.getBoundingClientRect();
                return [box.left + (i / 4) % width, box.top + Math.floor(i / 4 / width)];
            }
        }""",
        arg=token,
    )
    x, y = await found.json_value()
    return x, y


async def test_a_slash_leads_to_the_search_from_everywhere(site: Site) -> None:
    page = await site.signed_up("ada")
    for path in ("/loans/L1", "/portfolio", "/statistics", "/account"):
        await page.goto(site.url + path)
        await page.get_by_role("heading", level=1).wait_for()
        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()


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
        await page.get_by_role("heading", level=1).first.wait_for()
        await site.drawn(page)
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


async def test_only_the_reader_s_language_is_fetched_and_one_that_cannot_be_had_is_said(site: Site) -> None:
    page = await (await site.context()).new_page()
    site.watch(page)
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url.rpartition("/")[2].partition("-")[0]))
    await page.goto(site.url)
    await shown(page, "LATE", "L2", "L1")
    assert ("en" in fetched, "zh" in fetched) == (True, False)
    await page.route("**/assets/zh-*", lambda route: route.abort())
    await page.get_by_role("button", name="中文").click()
    await expect(page.get_by_role("alert")).to_contain_text("could not be loaded")
    await expect(page.get_by_role("columnheader", name="Discount")).to_be_visible()
    await page.unroute("**/assets/zh-*")
    await page.reload()
    await page.get_by_role("button", name="中文").click()
    await expect(page.get_by_role("columnheader", name="折价率")).to_be_visible()
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_a_part_of_the_page_that_cannot_be_had_is_said_and_loaded_again(site: Site) -> None:
    page = await site.open()
    await page.route("**/assets/Loan-*", lambda route: route.abort())
    await page.get_by_role("grid").get_by_role("link", name="L1").click()
    await expect(page.get_by_role("alert")).to_contain_text("could not be loaded")
    await page.unroute("**/assets/Loan-*")
    await page.get_by_role("button", name="Load again").click()
    await expect(page.get_by_role("heading", name="L1")).to_be_visible()


CUT_OFF = """() => {
    const scroller = document.querySelector("[role=grid]");
    const line = scroller.querySelector("[role=gridcell]").closest("[role=row]");
    const end = line.getBoundingClientRect().right + 0.5;
    const heads = [...scroller.querySelectorAll("[role=columnheader]")];
    const outside = [...heads, ...line.querySelectorAll("[role=gridcell]")];
    return {
        cut: [
            ...outside.filter((cell) => cell.getBoundingClientRect().right > end),
            ...heads.filter((cell) => cell.scrollWidth > cell.clientWidth),
        ].map((cell) => cell.textContent.trim()),
        sideways: scroller.scrollWidth > scroller.clientWidth,
        told: document.querySelector(".frame.more") !== null,
        page: document.documentElement.scrollWidth > innerWidth,
    };
}"""
DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


@pytest.mark.parametrize("locale", ["en-GB", "zh-CN"])
async def test_no_column_is_cut_off_at_any_width(site: Site, locale: str) -> None:
    page = await site.open(locale=locale)
    await shown(page, "LATE", "L2", "L1")
    for width in (360, 719, 720, 768, 992, 993, 1024, 1100, 1279, 1280, 1344, 1345, 1440, 1600, 1920):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.evaluate(DRAWN)
        settled = "found.cut.length === 0 && found.told === found.sideways"
        await page.wait_for_function(f"() => {{ const found = ({CUT_OFF})(); return {settled}; }}")
        found = await page.evaluate(CUT_OFF)
        sideways = found["sideways"]
        assert found == {"cut": [], "sideways": sideways, "told": sideways, "page": False}, width
        assert width < 1280 or not sideways, width
    # Where the columns need more room, they are scrolled to under the loan that they are of.
    await page.set_viewport_size({"width": 1024, "height": 900})
    await page.get_by_role("grid").evaluate("node => (node.scrollLeft = 9999)")
    await expect(page.locator(".frame.more")).to_have_count(0)
    await expect(page.get_by_role("gridcell").last).to_be_in_viewport(ratio=1)
    await expect(page.get_by_role("grid").get_by_role("link", name="L1")).to_be_in_viewport(ratio=1)
