"""The terminal's screen: four panels, a line that says how things stand, a line that says what happened last."""

import asyncio
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Footer, Input, Static

from gateway.client import ApiError, MarketClient, decimal
from gateway.terminal.acts import QUOTE_SET, Acts
from gateway.terminal.desk import Desk, Part, Working
from gateway.terminal.feed import QUIET_S, Feed
from gateway.terminal.forms import Form, Note, Send
from gateway.terminal.rows import (
    FILLS,
    MARKET,
    POSITIONS,
    STALE,
    WORKING,
    amount,
    fill_rows,
    grouped,
    market_rows,
    position_rows,
    price,
    results_text,
    working_rows,
)
from gateway.terminal.table import Cells, LiveTable

DRAW_S: Final = 0.25
PANELS: Final = {
    "working": "1 Quotes and orders",
    "market": "2 Market",
    "positions": "3 Positions",
    "fills": "4 Fills",
}
DARK, LIGHT = "textual-dark", "textual-light"
KEYS: Final = """\
F12      cancel ALL orders and quotes of the account, at once
ctrl+k   kill switch: the same, and nothing new until ctrl+u
x        cancel the order or withdraw the quote at the cursor
q        quote both sides of the loan at the cursor
o  p     buy, sell: a limit order
a        amend the order at the cursor, or move the quote
1 to 4   panels     s  sort by the next column, or its title
/        filter     m  messages     r  results by currency
t        light or dark
ctrl+q   leave: quotes made here end, orders stay

Dim, slanted figures are old: from before the connection
was lost, or not heard of since."""
MESSAGES_SHOWN: Final = 15


class Terminal(App[str]):
    """Returns why it ended, if the user did not end it."""

    CSS_PATH = "screen.tcss"
    TITLE = "debt-market"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012  as textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f12", "cancel_everything", "CANCEL ALL", priority=True),
        Binding("1", "panel('working')", show=False),
        Binding("2", "panel('market')", show=False),
        Binding("3", "panel('positions')", show=False),
        Binding("4", "panel('fills')", show=False),
        Binding("q", "quote", "Quote"),
        Binding("o", "order('buy')", "Buy"),
        Binding("p", "order('sell')", "Sell"),
        Binding("a", "amend", "Amend"),
        Binding("x", "cancel", "Cancel"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("s", "sort", show=False),
        Binding("m", "messages", show=False),
        Binding("r", "results", show=False),
        Binding("question_mark", "help", "Keys", key_display="?"),
        Binding("ctrl+k", "cancel_everything(True)", show=False),
        Binding("ctrl+u", "unblock", show=False),
        Binding("t", "light", show=False),
        Binding("ctrl+q", "quit", show=False),
    ]

    def __init__(self, market: MarketClient, *, light: bool = False) -> None:
        super().__init__()
        self.theme = LIGHT if light else DARK
        self.desk = Desk()
        self._market = market
        self._acts = Acts(market, self.desk)
        self._told = -1  # tellings of the desk that are shown
        self._standing = Static(id="standing")
        self._message = Static(id="message", markup=False)
        self._filter = Input(id="filter", placeholder="words to filter by; Esc shows all again", compact=True)
        self._tables = {
            "working": LiveTable(*WORKING, id="working"),
            "market": LiveTable(*MARKET, id="market"),
            "positions": LiveTable(*POSITIONS, id="positions"),
            "fills": LiveTable(*FILLS, id="fills", descending=True, follows=True),
        }
        self._market_rows: dict[str, Cells] = {}
        self._had_own: set[str] = set()

    def compose(self) -> ComposeResult:
        yield self._standing
        yield Container(*self._tables.values(), id="panels")
        yield self._filter
        yield self._message
        yield Footer()

    def on_mount(self) -> None:
        for name, title in PANELS.items():
            self.table(name).border_title = title
        self._filter.display = False
        self.action_panel("working")
        self._listen()
        self.set_interval(DRAW_S, self.draw)

    @work
    async def _listen(self) -> None:
        try:
            await Feed(self._market, self.desk, on_fill=self.bell).run()
        except* ApiError as group:
            self.exit(f"the market refused: {group.exceptions[0]}")

    def table(self, name: str) -> LiveTable:
        return self._tables[name]

    @property
    def active(self) -> LiveTable:
        """The panel that keys are about."""
        return next(table for table in self._tables.values() if table.has_class("-active"))

    @property
    def shows_all(self) -> bool:
        """Whether there is room for all panels at once."""
        return {"-wide", "-high"} <= self.screen_stack[0].classes

    # What is shown

    def draw(self) -> None:
        """Show what has changed since the last time."""
        desk = self.desk
        self._standing.update(self._how_things_stand())
        self._draw_market()
        if desk.tellings == self._told:
            return
        self._told = desk.tellings
        own_fresh = {Part.ORDERS, Part.QUOTES} <= desk.fresh
        orders = sum(not each.is_quote for each in desk.working.values())
        sides = sum(len(each.sides) for each in desk.working.values() if each.is_quote)
        self._fill("working", working_rows(desk, fresh=own_fresh), f"{orders} orders, {sides} quote sides", own_fresh)
        is_fresh = Part.POSITIONS in desk.fresh
        says = f"{len(desk.positions)} claims; r: results by currency"
        self._fill("positions", position_rows(desk, fresh=is_fresh), says, is_fresh)
        is_fresh = Part.FILLS in desk.fresh
        self._fill("fills", fill_rows(desk, fresh=is_fresh), f"the latest {len(desk.fills)}", is_fresh)
        said = [message for message in (desk.act, desk.news) if message is not None]
        self._message.update("  ┃  ".join(message.text for message in said))
        self._message.set_class(bool(said and said[0].is_bad), "-bad")

    def _fill(self, name: str, rows: dict[str, Cells], says: str, is_fresh: bool) -> None:
        self.table(name).show(rows)
        self._entitle(name, says, is_fresh)

    def _entitle(self, name: str, says: str, is_fresh: bool) -> None:
        table = self.table(name)
        words = f" [filter: {' '.join(table.words)}]" if table.words else ""
        own = (f"{PANELS[name]}{words}{'' if is_fresh else ' — STALE'}", "bold")
        titles = [own if each == name else (title, "dim") for each, title in PANELS.items()]
        table.border_title = Text(" · ").join(Text(*title) for title in ([own] if self.shows_all else titles))
        table.border_subtitle = Text(says)
        table.set_class(not is_fresh, "-stale")

    def _draw_market(self) -> None:
        desk, table = self.desk, self.table("market")
        if desk.tellings != self._told:
            own = {each.symbol for each in desk.working.values()} & desk.tops.keys()
            desk.changed |= own | self._had_own
            self._had_own = own
        if desk.changed:
            changed, desk.changed = desk.changed, set()
            self._market_rows |= market_rows(desk, changed)
            table.show(self._market_rows, changed=changed)
        more = f", {desk.loans_in_all:,} in all" if desk.loans_in_all > len(desk.tops) else ""
        self._entitle("market", f"{table.row_count:,} of {len(desk.tops):,} loans{more}", desk.connected)

    def _how_things_stand(self) -> Text:
        """One line: whose terminal, how the market is, whether what is shown can be trusted."""
        desk = self.desk
        silent_s = 0.0 if desk.quiet_since is None else asyncio.get_running_loop().time() - desk.quiet_since
        line = Text(f" {desk.account}  ", style="bold")
        if not desk.connected:
            line.append(f" NO CONNECTION for {silent_s:.0f} s: all figures are old ", style="bold white on red")
        elif silent_s > QUIET_S:
            line.append(f" SILENT for {silent_s:.0f} s ", style="bold black on yellow")
        else:
            line.append("● connected", style="green")
        if desk.blocked:
            line.append("  ")
            line.append(" BLOCKED: ctrl+u unblocks ", style="bold white on red")
        if desk.mode not in ("", "open"):
            line.append(f"  market {desk.mode}", style="bold yellow")
        line.append(f"  {desk.business_date}  epoch {desk.epoch}")
        for row in desk.results:
            style = "" if Part.POSITIONS in desk.fresh else STALE
            line.append(f"  {row['currency']} P&L {grouped(row['result'])}", style=style)
        return line

    def on_resize(self) -> None:
        self._told = -1  # titles depend on the room that there is

    # Moving about

    def action_panel(self, name: str) -> None:
        for each in PANELS:
            self.table(each).set_class(each == name, "-active")
        self.table(name).focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget.id in PANELS and not event.widget.has_class("-active"):
            self.action_panel(event.widget.id)

    def action_sort(self) -> None:
        table = self.active
        if table.descending:
            table.sort_on((table.sort_by + 1) % len(table.titles))
        else:
            table.sort_on(table.sort_by)

    def action_filter(self) -> None:
        self._filter.display = True
        self._filter.value = " ".join(self.active.words)
        self._filter.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input is self._filter:
            self.active.filter(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input is self._filter:
            self._leave_filter()

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape" and self.focused is self._filter:
            self.active.filter("")
            self._leave_filter()

    def _leave_filter(self) -> None:
        self._filter.display = False
        self.active.focus()

    def action_light(self) -> None:
        self.theme = LIGHT if self.theme == DARK else DARK

    def action_messages(self) -> None:
        latest = [message.text for message in self.desk.messages][-MESSAGES_SHOWN:]
        self.push_screen(Note("What happened, the latest last", "\n".join(latest) or "nothing yet"))

    def action_results(self) -> None:
        self.push_screen(Note("Results by currency", results_text(self.desk.results) or "nothing yet"))

    def action_help(self) -> None:
        self.push_screen(Note("Keys", KEYS))

    # Acting

    def action_cancel_everything(self, block: bool = False) -> None:
        """At once, and without a question. A form that is open is closed: its Enter would bring something back."""
        self.run_worker(self._acts.cancel_everything(block=block))
        while len(self.screen_stack) > 1:
            self.pop_screen()

    @work
    async def action_unblock(self) -> None:
        await self._acts.unblock()

    @work
    async def action_cancel(self) -> None:
        if (working := self._working_at_cursor()) is None:
            self.desk.say("cancel: the cursor is on no order or quote (panel 1)")
        else:
            await self._acts.cancel(working)

    def action_amend(self) -> None:
        working = self._working_at_cursor()
        if working is None:
            self.desk.say("amend: the cursor is on no order or quote (panel 1)")
        elif working.is_quote:
            self._quote(working.symbol, working)
        else:
            self._amend(working)

    def action_quote(self) -> None:
        if (symbol := self._symbol_at_cursor()) is None:
            self.desk.say("quote: the cursor is on no loan")
        else:
            self._quote(symbol, self.desk.working.get(f"quote:{symbol}:{QUOTE_SET}"))

    def action_order(self, side: str) -> None:
        symbol = self._symbol_at_cursor() or ""
        top = self.desk.tops.get(symbol)
        there = None if top is None else top.bid if side == "buy" else top.ask

        async def send(values: dict[str, str]) -> str | None:
            post_only = values.pop("post_only") == "yes"
            return await self._acts.place(side=side, post_only=post_only, **values)

        fields = {
            "symbol": ("Loan", symbol),
            "limit_price": ("Price", price(there)),
            "order_qty": ("Face", ""),
            "time_in_force": ("In force (gtc, day, ioc)", "gtc"),
            "post_only": ("Post only (yes, no)", "no"),
        }
        words = {"time_in_force": ("gtc", "day", "ioc"), "post_only": ("yes", "no")}
        note = "An order stays when the terminal ends."
        self._open(f"{side.capitalize()} order", note, fields, send, words=words)

    def _amend(self, order: Working) -> None:
        async def send(values: dict[str, str]) -> str | None:
            return await self._acts.amend(order, **values)

        [side] = order.sides
        fields = {
            "limit_price": ("Price", price(side.price)),
            "order_qty": ("Face in all, filled part included", decimal(side.qty + side.filled)),
        }
        note = f"Filled so far: {amount(side.filled)}. Less face alone keeps the place in the queue."
        self._open(f"Amend {order.label} ({order.symbol})", note, fields, send)

    def _quote(self, symbol: str, quote: Working | None) -> None:
        quote_set = QUOTE_SET if quote is None else quote.label

        async def send(values: dict[str, str]) -> str | None:
            return await self._acts.quote({"symbol": symbol, **values}, quote_set=quote_set)

        bid, ask = (None, None) if quote is None else (quote.bid, quote.ask)
        fields = {
            "bid": ("Bid", "" if bid is None else price(bid.price)),
            "bid_qty": ("Bid face", "" if bid is None else decimal(bid.qty)),
            "ask": ("Ask", "" if ask is None else price(ask.price)),
            "ask_qty": ("Ask face", "" if ask is None else decimal(ask.qty)),
        }
        note = "A side left empty is withdrawn. The quote ends with this terminal's connection."
        if quote_set != QUOTE_SET:
            note += f" It is of the set {quote_set}, which a program of yours may be moving."
        self._open(f"Quote {symbol}", note, fields, send, may_be_empty=frozenset(fields))

    def _open(self, title: str, note: str, fields: dict[str, tuple[str, str]], send: Send, **more: Any) -> None:
        def told_late(why_not: str) -> None:
            self.desk.tell(f"{title}: {why_not}", is_bad=True)

        self.push_screen(Form(title, note, fields, send, told_late=told_late, **more))

    def _working_at_cursor(self) -> Working | None:
        key = self.table("working").row_at_cursor
        return None if self.active.id != "working" or key is None else self.desk.working.get(key)

    def _symbol_at_cursor(self) -> str | None:
        key = self.active.row_at_cursor
        match self.active.id:
            case "working":
                return None if key is None else self.desk.working[key].symbol
            case "fills":
                return next((f.symbol for f in self.desk.fills if f.key == key), None)
            case _:
                return key
