"""The market-maker's terminal, driven by its keys on a real market over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from gateway.client import ApiKey, Backoff, Client, MarketClient
from gateway.terminal import acts
from gateway.terminal.forms import Form
from gateway.terminal.screen import Terminal
from market.commands import HaltLoan
from market.ids import AccountId, LoanId
from tests.builders import buy, register, sell
from tests.e2e.stack import Stack
from tests.patience import PATIENCE_S
from tests.service import running_service

SOON, LATE = Backoff(first_s=0.01, most_s=0.05), Backoff(first_s=60.0, most_s=60.0)
SMALL, LARGE = (80, 24), (170, 44)


class Desk:
    """The terminal under test and its keys. client: what it talks through."""

    def __init__(self, app: Terminal, pilot: Pilot[Any], client: MarketClient) -> None:
        self.app, self.pilot, self.client = app, pilot, client

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*("full_stop" if sign == "." else sign for sign in text))

    async def fill(self, **fields: str) -> None:
        """Fill in the form that opens."""
        for name, value in fields.items():
            await self.until(lambda wanted=f"#field-{name}": self.app.screen.query(wanted))
            self.app.screen.query_one(f"#field-{name}", Input).value = value
        await self.press("enter")

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self.pilot.pause(0.02)

    async def shows(self, text: str) -> None:
        """Wait until the text is somewhere on the screen."""
        try:
            await self.until(lambda: text in self.text)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not on\n{self.text}") from None

    async def hides(self, text: str) -> None:
        await self.until(lambda: text not in self.text)

    @property
    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    def cell(self, panel: str, row: str, title: str) -> str:
        table = self.app.table(panel)
        return table.get_row(row)[table.titles.index(title)].plain

    def rows(self, panel: str) -> list[str]:
        """The loans of a panel from above."""
        table = self.app.table(panel)
        return [table.get_row_at(n)[table.titles.index("loan")].plain for n in range(table.row_count)]


@asynccontextmanager
async def terminal(
    url: str, key: ApiKey, *, size: tuple[int, int] = LARGE, backoff: Backoff = SOON, light: bool = False
) -> AsyncIterator[Desk]:
    async with MarketClient(url, key, backoff=backoff) as client:
        app = Terminal(client, light=light)
        async with app.run_test(size=size) as pilot:
            desk = Desk(app, pilot, client)
            await desk.shows("● connected")
            await desk.until(lambda: len(app.desk.fresh) == 5)
            await desk.until(lambda: app.table("market").row_at_cursor)  # drawn a moment later
            yield desk


@pytest.fixture(autouse=True)
def _a_busy_machine_is_no_lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts, "ONE_TRY_S", PATIENCE_S)


@pytest.fixture
async def maker(stack: Stack) -> ApiKey:
    """A market-maker with cash and 500.00 of each loan."""
    key = await stack.investor("MM")
    for loan_id in (LoanId("L1"), LoanId("L2")):
        await stack.do(sell("ORIG", 9_800, 500_00, loan_id=loan_id), buy("MM", 9_800, 500_00, loan_id=loan_id))
    await stack.investor("B")
    return key


@pytest.fixture
async def desk(stack: Stack, maker: ApiKey) -> AsyncIterator[Desk]:
    async with terminal(stack.url, maker) as desk:
        yield desk


async def test_a_line_that_breaks_leaves_nothing_stale_for_who_has_no_orders(desk: Desk) -> None:
    desk.client.reconnect()
    await desk.shows("connected again")
    await desk.until(lambda: len(desk.app.desk.fresh) == 5)
    await desk.hides("STALE")


def standing(stack: Stack) -> tuple[int, int]:
    """How many orders and quote sides the account has in the market."""
    account = stack.views.account(AccountId("MM"))
    return len(account.open_orders), len(account.quotes)


async def test_a_quote_is_made_moved_and_withdrawn(stack: Stack, desk: Desk) -> None:
    await desk.press("2", "q")
    await desk.shows("Quote L1/USD")
    await desk.fill(bid="97.50", bid_qty="100", ask="98.60", ask_qty="100.00")
    await desk.shows("quoted L1/USD: 2 sides stand")
    key = "quote:L1/USD:terminal"
    await desk.until(lambda: key in desk.app.desk.working)
    await desk.shows("quote terminal")
    assert (desk.cell("working", key, "bid"), desk.cell("working", key, "ask")) == ("97.50", "98.60")
    assert standing(stack) == (0, 2)
    await desk.until(lambda: desk.cell("market", "L1/USD", "own") == "ba")
    await desk.until(lambda: desk.cell("market", "L1/USD", "ask") == "98.60")

    await desk.press("1", "a")
    await desk.fill(bid="", bid_qty="", ask="98.40")
    await desk.until(lambda: desk.cell("working", key, "bid") == "" and desk.cell("working", key, "ask") == "98.40")
    await desk.press("x")
    await desk.shows("withdraw quote L1/USD terminal: done")
    await desk.shows("0 orders, 0 quote sides")
    assert standing(stack) == (0, 0)


async def test_a_side_that_is_refused_is_said_in_the_form(desk: Desk) -> None:
    await desk.press("2", "q")
    await desk.fill(bid="97.50", bid_qty="100", ask="98.60", ask_qty="9999")
    await desk.shows("EOrder:Insufficient claims")
    await desk.fill(ask_qty="abc")
    await desk.shows("Ask face: a decimal like 98.75")
    await desk.fill(ask_qty="50")
    await desk.until(lambda: not isinstance(desk.app.screen, Form))


async def test_a_fill_arrives_live_with_position_and_result(stack: Stack, desk: Desk) -> None:
    await desk.press("2", "q")
    await desk.fill(ask="98.60", ask_qty="100.00")
    await desk.shows("1 quote sides")
    await stack.do(buy("B", 9_860, 40_00))
    await desk.shows("sold 40.00 of L1/USD at 98.60")
    [fill] = [each for each in desk.app.desk.fills if each.side == "sell"]
    await desk.until(lambda: desk.cell("fills", f"{fill.trade_id}:{fill.order_id}", "paid") == "39.44")
    assert desk.rows("fills")[0] == "L1/USD", "the latest first"
    await desk.until(lambda: desk.cell("positions", "L1/USD", "face") == "460.00")
    assert desk.cell("positions", "L1/USD", "realised") == "0.24"
    await desk.shows("USD P&L 3.00")
    await desk.press("r")
    await desk.shows("Results by currency")
    await desk.press("escape")
    await desk.until(lambda: desk.cell("working", "quote:L1/USD:terminal", "filled") == "40.00")


async def test_orders_are_placed_amended_and_cancelled(stack: Stack, desk: Desk) -> None:
    await desk.press("2", "p")
    await desk.fill(limit_price="99.00", order_qty="100", post_only="maybe")
    await desk.shows("Post only (yes, no): one of them")
    await desk.fill(post_only="yes")
    await desk.shows("sell 100 L1/USD: new")
    [order] = stack.views.account(AccountId("MM")).open_orders.values()
    key = f"order:O-{order.order_id}"
    assert order.post_only
    await desk.press("1", "a")
    await desk.fill(order_qty="60")
    await desk.shows("place in the queue kept")
    await desk.until(lambda: desk.cell("working", key, "ask qty") == "60.00")
    await stack.do(HaltLoan(loan_id=LoanId("L1"), halted=True, reason="news"))
    await desk.until(lambda: desk.cell("working", key, "state") == "suspended")
    await desk.until(lambda: desk.cell("market", "L1/USD", "state") == "halted")
    await desk.press("a")
    await desk.fill(order_qty="50")
    await desk.shows("refused")
    await desk.press("escape", "x")
    await desk.shows("0 orders, 0 quote sides")
    assert standing(stack) == (0, 0)


async def test_one_key_cancels_everything_of_the_account(stack: Stack, maker: ApiKey, desk: Desk) -> None:
    """Also what other connections made, and also while a form is open."""
    async with MarketClient(stack.url, maker) as program:
        quotes = [{"symbol": symbol, "bid": "97.00", "bid_qty": "10.00"} for symbol in ("L1/USD", "L2/USD")]
        await program.mass_quote(quotes, quote_set="program")
        await program.add_order(symbol="L1/USD", side="sell", limit_price="99.00", order_qty="10.00")
        await desk.shows("1 orders, 2 quote sides")
        await desk.press("2", "q")
        await desk.shows("Bid face")
        await desk.press("f12")
        await desk.shows("cancel all: DONE, 1 orders and 2 quote sides cancelled")
        assert standing(stack) == (0, 0)
        assert not isinstance(desk.app.screen, Form), "whose Enter would bring something back"
        await desk.shows("0 orders, 0 quote sides")


async def test_the_key_works_without_a_socket(stack: Stack, maker: ApiKey) -> None:
    async with terminal(stack.url, maker, backoff=LATE) as desk:
        await stack.do(buy("MM", 9_700, 10_00))
        await desk.shows("1 orders")
        desk.client.reconnect()
        await desk.shows("NO CONNECTION")
        await desk.press("f12")
        await desk.shows("DONE, 1 orders and 0 quote sides")
        assert standing(stack) == (0, 0)


async def test_the_kill_switch_blocks_until_it_is_undone(stack: Stack, desk: Desk) -> None:
    await stack.do(buy("MM", 9_700, 10_00))
    await desk.press("ctrl+k")
    await desk.shows("kill switch: DONE, 1 orders")
    await desk.shows("BLOCKED")
    await desk.press("2", "o")
    await desk.fill(limit_price="97.00", order_qty="10")
    await desk.shows("refused, the kill switch is on")
    await desk.press("escape", "ctrl+u")
    await desk.hides("BLOCKED")
    await desk.press("o")
    await desk.fill(limit_price="97.00", order_qty="10")
    await desk.shows("1 orders")


async def test_a_block_from_elsewhere_is_seen(stack: Stack, maker: ApiKey, desk: Desk) -> None:
    async with Client(stack.url, maker) as client:
        await client.post("/v1/orders/cancel-all", {"block": True})
    await stack.do(sell("ORIG", 9_900, 10_00))
    await desk.shows("BLOCKED")


async def test_the_market_is_filtered_and_sorted(stack: Stack, desk: Desk) -> None:
    await stack.do(register("K7", grade="B"), sell("ORIG", 9_500, 10_00, loan_id=LoanId("L2")))
    await stack.do(sell("ORIG", 9_900, 10_00, loan_id=LoanId("L1")), sell("ORIG", 9_700, 5_00, loan_id=LoanId("K7")))
    await desk.until(lambda: desk.rows("market") == ["K7/USD", "L1/USD", "L2/USD"])
    await desk.until(lambda: desk.cell("market", "K7/USD", "ask") == "97.00")
    await desk.press("2", "slash")
    await desk.type("l usd")
    await desk.until(lambda: desk.rows("market") == ["L1/USD", "L2/USD"])
    await desk.press("enter")
    await desk.shows("[filter: l usd]")
    table = desk.app.table("market")
    while (table.sort_by, table.descending) != (table.titles.index("ask"), False):
        await desk.press("s")
    await desk.until(lambda: desk.rows("market") == ["L2/USD", "L1/USD"])  # the cheaper first
    await desk.press("s")
    await desk.until(lambda: desk.rows("market") == ["L1/USD", "L2/USD"])
    await desk.press("slash", "escape")
    await desk.until(lambda: desk.rows("market") == ["L1/USD", "K7/USD", "L2/USD"])
    cursor = table.row_at_cursor
    await stack.do(sell("ORIG", 9_100, 1_00, loan_id=LoanId("L1")))
    await desk.until(lambda: desk.rows("market") == ["K7/USD", "L2/USD", "L1/USD"])
    assert table.row_at_cursor == cursor, "the cursor stays on its loan"


@pytest.mark.parametrize("light", [False, True], ids=["dark", "light"])
async def test_all_of_it_can_be_reached_on_a_small_screen(stack: Stack, maker: ApiKey, light: bool) -> None:
    await stack.do(buy("MM", 9_700, 10_00))
    async with terminal(stack.url, maker, size=SMALL, light=light) as desk:
        assert desk.app.current_theme.dark is not light
        for key, panel in zip("1234", ("working", "market", "positions", "fills"), strict=True):
            await desk.press(key)
            table = desk.app.table(panel)
            assert table.display
            assert table.region.width == 80
            await desk.until(lambda: table.row_count)  # noqa: B023  awaited before the next turn
            assert sum(desk.app.table(each).display for each in ("working", "market", "positions", "fills")) == 1
        for shown in ("f12 CANCEL ALL", "? Keys", "USD P&L"):
            await desk.shows(shown)
        await desk.press("2", "o")
        await desk.shows("Buy order")
        for widget in desk.app.screen.query("#form Input, #form Button"):
            assert desk.app.screen.region.contains_region(widget.region), "nothing of a form is out of sight"
        await desk.press("escape", "question_mark")
        await desk.shows("kill switch")
        await desk.press("escape", "m")
        await desk.shows("What happened")
        await desk.press("escape")
        await desk.pilot.resize_terminal(*LARGE)
        await desk.until(lambda: all(desk.app.table(each).display for each in ("market", "positions", "fills")))
        await desk.press("t")
        assert desk.app.current_theme.dark is light


async def test_it_goes_on_after_the_venue_restarts(tmp_path: Path) -> None:
    """While the venue is away what was known is shown as old; then it is new again, and what has ended is gone."""
    with running_service(tmp_path) as service:
        port = int(service.url.rpartition(":")[2])
        async with service.client() as admin:
            key = await prepared(admin)
        url = service.url
        async with terminal(url, key) as desk:
            await desk.press("2", "q")
            await desk.fill(ask="98.60", ask_qty="100.00")
            await desk.press("p")
            await desk.fill(limit_price="99.00", order_qty="50")
            await desk.shows("1 orders, 1 quote sides")
            epoch = desk.app.desk.epoch
            await asyncio.to_thread(service.stop)
            await desk.shows("NO CONNECTION")
            await desk.shows("STALE")
            assert "98.60" in desk.text, "the last known is still shown"
            with running_service(tmp_path, port=port):
                await desk.shows("● connected")
                await desk.shows("1 orders, 0 quote sides")
                assert desk.app.desk.epoch > epoch
                await desk.hides("STALE")
                await desk.press("f12")
                await desk.shows("DONE, 1 orders and 0 quote sides")


async def prepared(admin: Client) -> ApiKey:
    """A market with a loan whose originator has all of it; return his key."""
    await admin.post("/v1/admin/accounts", {"account_id": "ORIG", "kind": "originator", "name": "O"})
    loan = {
        "loan_id": "L1",
        "originator": "ORIG",
        "currency": "USD",
        "original_principal": "10000.00",
        "issued_face": "10000.00",
        "annual_rate": "0.12",
        "repayment_method": "annuity",
        "term_months": 12,
        "issue_date": "2026-01-15",
        "first_due_date": "2026-02-15",
        "day_count": "period",
        "grade": "B",
        "claim_type": "unsecured",
        "outstanding_principal": "10000.00",
        "status": "current",
    }
    await admin.post("/v1/admin/loans", loan)
    made = await admin.post("/v1/admin/accounts/ORIG/api-keys", {"scopes": ["read", "trade"]})
    return ApiKey(made["key"], made["secret"])


async def test_a_key_that_is_revoked_ends_it(stack: Stack, maker: ApiKey, desk: Desk) -> None:
    await stack.keys.revoke(maker.key)
    await desk.until(lambda: desk.app.return_value)
    assert "auth_invalid_key" in (desk.app.return_value or "")
