"""What is easily forgotten: wrong sign-ups, paper, loans that are over, addresses that lead elsewhere."""

from playwright.async_api import Route, expect

from tests.browser.conftest import ON_ONE_LOOP, PASSWORD, Site
from tests.browser.test_trading import buy_face

pytestmark = ON_ONE_LOOP


async def test_who_signs_up_is_told_what_a_login_must_be_and_that_it_is_taken(site: Site) -> None:
    await site.signed_up("ada")
    page = await site.open("/account")
    await page.get_by_role("button", name="Open an account").click()
    form = page.locator("form")
    await expect(form).to_contain_text("10 characters or more")
    await form.get_by_label("Login").fill("ada")
    await form.get_by_label("Password").fill(PASSWORD)
    await form.get_by_role("button", name="Open an account").click()
    await expect(form.get_by_role("alert")).to_contain_text("Somebody has that login already. Choose another one.")
    await form.get_by_label("Login").fill("bob")
    await form.get_by_role("button", name="Open an account").click()
    await expect(page.get_by_role("button", name="Sign out", exact=True).first).to_be_visible()


async def test_signing_in_leads_nowhere_else(site: Site) -> None:
    await site.add_login("lender", "ORIG", "read")
    for elsewhere in ("//elsewhere.example/", "/\\elsewhere.example/", "https://elsewhere.example/"):
        page = await site.open(f"/account?next={elsewhere}")
        await page.get_by_label("Login").fill("lender")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.locator("form").get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Sign out", exact=True).first).to_be_visible()
        assert page.url.startswith(site.url + "/account")


async def test_on_paper_the_portfolio_is_whole_and_dark_on_white(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1", color_scheme="dark")
    await buy_face(page, "100")
    await page.goto(site.url + "/portfolio")
    flows = page.get_by_role("group", name="Expected cash")
    await expect(flows).to_be_visible()
    await page.emulate_media(media="print")
    assert await flows.evaluate("region => region.clientHeight >= region.scrollHeight")
    await expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    await expect(page.get_by_role("button", name="Statement CSV")).to_be_hidden()
    assert await page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')") == "#12212b"


async def test_cash_and_claims_of_the_portfolio_are_of_one_moment(site: Site) -> None:
    page = await site.signed_up("ada", "/loans/L1")
    await buy_face(page, "100")
    await page.goto(site.url + "/portfolio")
    panel = page.get_by_role("region", name="USD")
    await expect(panel).to_contain_text("99,902.00")
    seen = await panel.evaluate_handle(
        """panel => {
          const seen = new Set();
          const figures = () => [...panel.querySelectorAll("dd")].slice(0, 4).map(each => each.textContent);
          const look = () => seen.add(figures().join(" "));
          new MutationObserver(look).observe(panel, { subtree: true, childList: true, characterData: true });
          look();
          return seen;
        }"""
    )
    other = await page.context.new_page()
    await other.goto(site.url + "/loans/L1")
    await buy_face(other, "200")
    await expect(panel).to_contain_text("99,706.00")
    await expect(panel).to_contain_text("294.00")
    states = await seen.evaluate("seen => [...seen]")
    assert states == ["99,902.00 99,902.00 0.00 98.00", "99,706.00 99,706.00 0.00 294.00"]


async def test_a_map_that_can_not_be_shown_says_so_and_is_tried_again(site: Site) -> None:
    page = await (await site.context()).new_page()
    await page.route("**/v1/loans/map*", lambda route: route.abort())
    await page.goto(site.url + "/")
    await expect(page.get_by_role("alert")).to_contain_text("The market can't be reached.")
    await expect(page.get_by_role("checkbox", name="Never late")).to_be_visible()
    await expect(page.locator("aside").get_by_role("button", name="D", exact=True)).to_be_visible()  # grades are known
    await page.unroute("**/v1/loans/map*")
    await page.get_by_role("alert").get_by_role("button", name="Try again").click()
    await expect(page.get_by_text("3 loans on offer")).to_be_visible()
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_market_that_can_not_tell_who_is_signed_in_signs_nobody_out(site: Site) -> None:
    page = await site.signed_up("ada", "/portfolio")
    await expect(page.get_by_test_id("cash-USD")).to_be_visible()
    busy = {"code": "unavailable", "detail": "", "outcome": "not_executed", "retryable": True}
    answers = [busy]

    async def answer(route: Route) -> None:
        if answers:
            await route.fulfill(status=503, json=answers.pop(), content_type="application/problem+json")
        else:
            await route.continue_()

    await page.route("**/v1/session", answer)
    await page.reload()
    await expect(page.get_by_test_id("cash-USD")).to_be_visible()
    assert not answers
