"""Statistics for everybody: of the market by grade and discount, and of one loan."""

from typing import Any

from aiohttp import web

from gateway.answers.statistics import LoanStatistics, MarketStatistics
from gateway.reads.statistics import PAR, By, Figures, Tally, discount_step, figures_of
from gateway.rest.api import Access, Call, Doc, Route, reply
from gateway.wire import minor_text, time_text
from market.ids import LoanId


def figures_object(figures: Figures) -> dict[str, Any]:
    """last: of the last 30 days."""
    return {
        "currency": figures.currency,
        "last": None if figures.last is None else minor_text(figures.last[0]),
        "last_at": None if figures.last is None else time_text(figures.last[1]),
        "windows": [
            {
                "days": each.days,
                "trades": each.trades,
                "face": minor_text(each.face),
                "vwap": None if each.vwap is None else minor_text(each.vwap),
                "discount": None if each.vwap is None else minor_text(PAR - each.vwap),
            }
            for each in figures.traded
        ],
        "time_to_sell": {
            "fills": figures.sold.fills,
            "face": minor_text(figures.sold.face),
            "p50_s": figures.sold.p50_s,
            "p90_s": figures.sold.p90_s,
        },
    }


def row_object(figures: Figures) -> dict[str, Any]:
    begin, end = (None, None) if figures.discount is None else discount_step(figures.discount)
    return {
        "grade": figures.grade,
        "discount_from": None if begin is None else minor_text(begin),
        "discount_to": None if end is None else minor_text(end),
        **figures_object(figures),
    }


async def of_market(call: Call) -> web.Response:
    """By grade unless `by` says otherwise. What was not traded in the last 30 days has no row."""
    by, currency = call.query.words("by", By) or frozenset({By.GRADE}), call.query.text("currency")
    snapshot = await call.api.statistics.of_market()
    items = [row_object(row) for row in snapshot.rows[by] if currency in (None, row.currency)]
    return reply({"computed_at": time_text(snapshot.at), "items": items, "next_cursor": None})


async def of_loan(call: Call) -> web.Response:
    loan = call.api.views.loan(LoanId(call.path("loan_id")))
    snapshot = await call.api.statistics.of_loan(loan.loan_id)
    terms = loan.state.terms
    found = snapshot.rows[frozenset({By.GRADE})]
    whole = found[0] if found else figures_of(terms.currency, terms.grade, None, Tally())
    about = {"loan_id": loan.loan_id, "symbol": loan.symbol, "grade": terms.grade}
    by_discount = [row_object(row) for row in snapshot.rows[frozenset(By)]]
    figures = {**figures_object(whole), "by_discount": by_discount}
    return reply({**about, "computed_at": time_text(snapshot.at), **figures})


ROUTES = (
    Route(
        "GET",
        "/v1/statistics",
        Access.PUBLIC,
        of_market,
        frozenset({"by", "currency"}),
        doc=Doc(
            summary="What was traded, and how long claims waited for a buyer: by grade, discount or both",
            answers={200: MarketStatistics},
        ),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/statistics",
        Access.PUBLIC,
        of_loan,
        doc=Doc(
            summary="What was traded in one loan, and how long its claims waited for a buyer",
            answers={200: LoanStatistics},
        ),
    ),
)
