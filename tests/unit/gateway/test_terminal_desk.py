"""What the terminal knows: rows become orders, quotes and fills, and nothing old passes for new."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.terminal.desk import FILLS_MAX, Desk, Part
from gateway.terminal.rows import amount, grouped, market_rows, percent, price, working_rows

MESSAGES = Path(__file__).resolve().parents[3] / "docs" / "vectors" / "messages"
Json = dict[str, Any]


def told(name: str, channel: str) -> list[Json]:
    """What the market said on a channel in a published conversation."""
    lines = [json.loads(line) for line in (MESSAGES / f"{name}.jsonl").read_text().splitlines()]
    return [line["message"] for line in lines if line.get("message", {}).get("channel") == channel]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.connected = True
    return desk


def ticker(symbol: str, kind: str = "update", **row: Any) -> Json:
    figures = dict.fromkeys(("bid", "bid_qty", "ask", "ask_qty", "last", "ytm_bid", "ytm_ask"))
    return {"channel": "ticker", "type": kind, "data": [{"symbol": symbol, **figures, **row}]}


def loan(symbol: str, **changed: Any) -> Json:
    row = {"symbol": symbol, "loan_id": symbol[:2], "grade": "B", "remaining_months": 12, "halted": False}
    return {**row, "status": "current", **changed}


def test_the_published_executions_leave_what_is_open(desk: Desk) -> None:
    reports = told("executions", "executions")
    seen = 0
    for report in reports:
        seen += len(desk.take_report(report["data"], is_snapshot=report["type"] == "snapshot"))
    left = [(order.symbol, order.label, order.status, order.is_quote) for order in desk.working.values()]
    assert left == [("L1/USD", "x-3", "new", False), ("L2/USD", "x-5", "new", False)]
    trades = {row["trade_id"] for report in reports for row in report["data"] if row["exec_type"] == "trade"}
    assert seen == len(desk.fills) == len(trades), "each once"


def test_the_published_quotes_come_and_go(desk: Desk) -> None:
    messages = told("quotes", "quotes")
    for message in messages[:2]:
        desk.take_quotes(message)
    first = desk.working["quote:L1/USD:q1"]
    assert first.bid is not None
    assert first.ask is not None
    assert (first.bid.price, first.ask.price, first.status) == (9_750, 9_850, "new")
    for message in messages[2:]:
        desk.take_quotes(message)
    assert not desk.working


def test_a_quote_that_is_taken_away_is_news(desk: Desk) -> None:
    for message in told("protection", "quotes"):
        desk.take_quotes(message)
    assert any("mmp" in message.text and message.is_bad for message in desk.messages)


def test_news_do_not_push_out_how_an_act_stands(desk: Desk) -> None:
    desk.tell("cancel all: DONE")
    desk.say("bought")
    assert desk.act is not None
    assert (desk.act.text, desk.news.text if desk.news else None) == ("cancel all: DONE", "bought")


def test_what_is_read_late_is_not_new(desk: Desk) -> None:
    """Messages of a connection that was lost meanwhile may still be unread."""
    desk.list_loan(loan("L1/USD"))
    desk.take_ticker(ticker("L1/USD", bid="97.00", bid_qty="10.00"))
    desk.take_quotes({"channel": "quotes", "type": "snapshot", "data": []})
    assert desk.tops["L1/USD"].fresh
    desk.lose()
    assert (desk.tops["L1/USD"].fresh, desk.fresh) == (False, set())
    desk.take_ticker(ticker("L1/USD", bid="96.00", bid_qty="10.00"))
    desk.take_quotes({"channel": "quotes", "type": "update", "data": []})
    desk.take_report([], is_snapshot=False)
    assert (desk.tops["L1/USD"].bid, desk.tops["L1/USD"].fresh) == (9_600, False)
    assert not desk.fresh & {Part.QUOTES, Part.ORDERS, Part.FILLS}
    desk.take_ticker(ticker("L1/USD", "snapshot", bid="96.50", bid_qty="10.00"))
    assert desk.tops["L1/USD"].fresh, "a snapshot is of the next connection"


def test_old_rows_look_old(desk: Desk) -> None:
    desk.list_loan(loan("L1/USD"))
    desk.take_ticker(ticker("L1/USD", bid="97.00", bid_qty="10.00"))
    assert all("italic" not in str(cell.style) for cell in market_rows(desk, ["L1/USD"])["L1/USD"])
    desk.lose()
    assert all("italic" in str(cell.style) for cell in market_rows(desk, ["L1/USD"])["L1/USD"])
    assert working_rows(desk, fresh=False) == {}


def test_a_loan_is_new_once_and_tells_that_it_is_halted(desk: Desk) -> None:
    assert desk.list_loan(loan("L1/USD"))
    assert not desk.list_loan(loan("L1/USD", halted=True))
    assert desk.tops["L1/USD"].status == "halted"


def test_fills_are_known_by_their_number_and_the_oldest_go(desk: Desk) -> None:
    [row] = [row for report in told("order_of_things", "executions") for row in report["data"] if "trade_id" in row]
    for n in range(FILLS_MAX + 5):
        assert desk.take_report([{**row, "trade_id": f"T-{n}"}], is_snapshot=False)
        assert not desk.take_report([{**row, "trade_id": f"T-{n}"}], is_snapshot=False)
    assert (len(desk.fills), desk.fills[0].trade_id) == (FILLS_MAX, "T-5")


def test_figures_are_shown_in_the_words_of_people() -> None:
    assert [amount(-123_456_78), amount(5), amount(None)] == ["-123,456.78", "0.05", ""]
    assert [grouped("1234.50"), price(9_705), percent("0.128412")] == ["1,234.50", "97.05", "12.84%"]
