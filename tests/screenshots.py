"""The pictures of the running demo, in docs/images: market.png, loan.png, terminal.svg. Run it by ./dev screenshots."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.async_api import Page, async_playwright

from gateway.client import ApiKey, MarketClient
from gateway.terminal.screen import Terminal
from tests.page import ROOT, built_page
from tests.service import COMMAND, environment

IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
TRADING_S = 75.0  # so that there is something to see
START_TIMEOUT_S = 180.0
MAKER = "MM-2"
TERMINAL_S = 20.0  # for some fills


async def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no Chromium here: apt-get install chromium")
    built_page()
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        ready, data = Path(folder) / "ready.json", Path(folder) / "demo"
        flags = ["--data-dir", str(data), "--port", "0", "--ready-file", str(ready)]
        demo = subprocess.Popen([*COMMAND, "demo", *flags], stdout=subprocess.DEVNULL, env=environment())
        try:
            url, passwords = await _ready(demo, ready, data / "demo.json")
            await asyncio.sleep(TRADING_S)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS, headless=True)
                page = await browser.new_page(viewport={"width": 1360, "height": 850}, locale="en-GB")
                await _pictures(page, url, passwords["visitor"])
                await browser.close()
            await _terminal(url, ApiKey(**json.loads((data / "demo.json").read_text())["keys"][MAKER]))
        finally:
            demo.terminate()
            demo.wait(60)


async def _ready(demo: "subprocess.Popen[bytes]", ready: Path, kept: Path) -> tuple[str, dict[str, str]]:
    """Wait until the demo trades; return where it is and who may sign in."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and demo.poll() is None:
        if ready.exists() and kept.exists() and "passwords" in (told := json.loads(kept.read_text())):
            return str(json.loads(ready.read_text())["url"]), told["passwords"]
        await asyncio.sleep(0.2)
    raise SystemExit("the demo did not start")


async def _pictures(page: Page, url: str, password: str) -> None:
    await page.goto(f"{url}/account?next=/")
    await page.get_by_label("Login").fill("visitor")
    await page.get_by_label("Password").fill(password)
    await page.locator("form").get_by_role("button", name="Sign in").click()
    await page.get_by_role("grid").wait_for()
    await page.wait_for_timeout(2_000)
    await page.screenshot(path=IMAGES / "market.png")
    await page.goto(f"{url}/loans/{await _liveliest(page, url)}")
    await page.get_by_label("Original face").fill("1000")
    await page.get_by_test_id("total").wait_for()
    await page.wait_for_timeout(2_500)
    await page.screenshot(path=IMAGES / "loan.png")


async def _terminal(url: str, key: ApiKey) -> None:
    """The terminal as it is after some fills. Its fonts are the reader's own: the picture asks nobody for any."""
    async with MarketClient(url, key) as market:
        app = Terminal(market)
        async with app.run_test(size=(140, 36)) as pilot:
            await pilot.pause(TERMINAL_S)
            await pilot.press("2")
            market_panel = app.table("market")
            for _ in range(2):  # the highest first
                market_panel.sort_on(market_panel.titles.index("ytm bid"))
            await pilot.pause(1.0)
            picture = app.export_screenshot()
    for what, instead in (
        (r"@font-face\s*{.*?}", ""),
        (r"terminal-\d+-", "t-"),
        (r' clip-path="url\(#t-line-\d+\)"', ""),
        (r'<clipPath id="t-line-.*?</clipPath>', ""),
        (r"\s*\n\s*", "\n"),
    ):
        picture = re.sub(what, instead, picture, flags=re.DOTALL)
    (IMAGES / "terminal.svg").write_text(picture)


async def _liveliest(page: Page, url: str) -> str:
    """Return the loan that was traded at the most different prices: its history is worth a picture."""
    board = await (await page.request.get(f"{url}/v1/loans?min_available=0.01&limit=120")).json()
    prices: dict[str, int] = {}
    for loan in board["items"]:
        trades = await (await page.request.get(f"{url}/v1/loans/{loan['loan_id']}/trades?limit=100")).json()
        prices[loan["loan_id"]] = len({trade["price"] for trade in trades["items"]})
    return max(prices, key=lambda loan_id: prices[loan_id])


if __name__ == "__main__":
    asyncio.run(main())
