"""README's pictures of the running demo: docs/images/market.png and loan.png. Run it by ./dev screenshots."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.async_api import Page, async_playwright

from tests.page import ROOT, built_page
from tests.service import COMMAND, environment

IMAGES = ROOT / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
TRADING_S = 45.0  # so that there is something to see
START_TIMEOUT_S = 180.0
LOAN = "DM-00001"


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
    await page.goto(f"{url}/loans/{LOAN}")
    await page.get_by_label("Original face").fill("1000")
    await page.get_by_test_id("total").wait_for()
    await page.wait_for_timeout(2_500)
    await page.screenshot(path=IMAGES / "loan.png")


if __name__ == "__main__":
    asyncio.run(main())
