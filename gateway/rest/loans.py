"""Loans for everybody: the board with its filters, one loan, its schedule, its book, its trades."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from aiohttp import web

from gateway.answers import Book, Loan, Page, Payment, PublicTrade, Quote, ScheduleRow
from gateway.history import NEVER
from gateway.quote import Asked, quote
from gateway.rest.api import Access, Call, Doc, Query, Route, cursor_of, page, reply
from gateway.rest.orders import PAGE, SPAN
from gateway.schemas import board_item, book_object, payment_row, remaining_months, schedule_rows
from gateway.views import PAR, LoanView
from gateway.ws.rows import trade_row
from market.claims.loan import LIVE_STATUSES, ClaimType, GuaranteeKind, LoanStatus
from market.errors import BelowMinimum, InvalidArguments, InvalidPrice, InvalidQuantity, LoanClosed, PriceOutOfBand
from market.ids import Face, LoanId, PriceBp
from market.orderbook.order import Side

PPM = 1_000_000
Number = Callable[[LoanView], int | None]
Test = Callable[[LoanView], bool]


class Depth(StrEnum):
    """The depths that the book's feed has, and so this route."""

    TEN = "10"
    TWENTY_FIVE = "25"
    HUNDRED = "100"
    FIVE_HUNDRED = "500"


def _ytm_ppm(loan: LoanView) -> int | None:
    ytm = None if loan.best_ask is None else loan.ytm_at(loan.best_ask[0])
    return None if ytm is None else round(ytm * PPM)


def _price(loan: LoanView) -> int | None:
    return None if loan.best_ask is None else loan.best_ask[0]


def _discount(loan: LoanView) -> int | None:
    return None if loan.best_ask is None else PAR - loan.best_ask[0]


def _available(loan: LoanView) -> int | None:
    return None if loan.best_ask is None else loan.best_ask[1]


def _rate(loan: LoanView) -> int:
    return loan.state.terms.annual_rate_ppm


# What a buyer looks for: figures of the best offer and of the loan; name: (figure, decimal places).
FIGURES: dict[str, tuple[Number, int]] = {
    "ytm": (_ytm_ppm, 6),
    "price": (_price, 2),
    "discount": (_discount, 2),
    "remaining_months": (remaining_months, 0),
    "rate": (_rate, 6),
    "available": (_available, 2),
}
BOUNDS = frozenset(f"{end}_{name}" for end in ("min", "max") for name in FIGURES)
FILTERS = frozenset({"q", "grade", "status", "claim_type", "guarantee", "originator", "currency", "never_late", "sort"})


async def board(call: Call) -> web.Response:
    """Live loans unless `status` says otherwise, in order of id unless `sort` says otherwise.

    What a figure does not exist for (a yield where nothing is offered) comes last, whichever way it is sorted.
    """
    query, views = call.query, call.api.views
    tests, key = _tests(query), _sort_key(query.text("sort"))
    limit = query.limit()
    after = query.cursor(int, int, str)
    found = sorted(key(loan) for loan in views.loans.values() if all(test(loan) for test in tests))
    rest = found if after is None else [each for each in found if each > tuple(after)]
    items = [board_item(views.loans[LoanId(each[2])], views.business_date) for each in rest[:limit]]
    return page(items, cursor_of(*rest[limit - 1]) if len(rest) > limit else None)


def _sort_key(text: str | None) -> Callable[[LoanView], tuple[int, int, str]]:
    """Return what loans are ordered by: (1 if there is no figure, the figure, the id)."""
    if text is None:
        return lambda loan: (0, 0, loan.loan_id)
    name = text.removeprefix("-")
    if name not in FIGURES:
        raise InvalidArguments(f"sort: must be of {', '.join(FIGURES)}, with - before it for descending", field="sort")
    figure, sign = FIGURES[name][0], -1 if text.startswith("-") else 1

    def key(loan: LoanView) -> tuple[int, int, str]:
        value = figure(loan)
        return (1, 0, loan.loan_id) if value is None else (0, sign * value, loan.loan_id)

    return key


def _tests(query: Query) -> list[Test]:
    """Return what a loan must pass, the cheap tests first."""
    tests: list[Test] = []
    if (statuses := _statuses(query)) is not None:
        tests.append(lambda loan: loan.state.status in statuses)
    if (currency := query.text("currency")) is not None:
        tests.append(lambda loan: loan.state.terms.currency == currency)
    if (originator := query.text("originator")) is not None:
        tests.append(lambda loan: loan.state.terms.originator == originator)
    if (grades := query.text("grade")) is not None:
        wanted_grades = frozenset(grades.split(","))
        tests.append(lambda loan: loan.state.terms.grade in wanted_grades)
    if (claim_types := query.words("claim_type", ClaimType)) is not None:
        tests.append(lambda loan: loan.state.terms.claim_type in claim_types)
    if (guarantees := query.words("guarantee", GuaranteeKind)) is not None:
        tests.append(lambda loan: loan.state.terms.guarantee.kind in guarantees)
    if (never_late := query.flag("never_late")) is not None:
        tests.append(lambda loan: loan.state.terms.never_late is never_late)
    if (text := query.text("q")) is not None:
        tests.append(_mentions(text))
    return tests + [test for name in FIGURES for test in _bounds(query, name)]


def _statuses(query: Query) -> frozenset[LoanStatus] | None:
    if query.text("status") == "all":
        return None
    statuses = query.words("status", LoanStatus)
    return LIVE_STATUSES if statuses is None else statuses


def _mentions(text: str) -> Test:
    """Return a test that finds `text` in what describes a loan, whatever its case."""
    wanted = text.casefold()

    def test(loan: LoanView) -> bool:
        terms = loan.state.terms
        said = (terms.loan_id, terms.originator, terms.purpose, terms.region, terms.grade, terms.borrower_ref)
        return wanted in "\n".join(said).casefold()

    return test


def _bounds(query: Query, name: str) -> list[Test]:
    figure, places = FIGURES[name]
    low, high = query.units(f"min_{name}", places=places), query.units(f"max_{name}", places=places)
    if low is None and high is None:
        return []

    def test(loan: LoanView) -> bool:
        value = figure(loan)
        return value is not None and (low is None or value >= low) and (high is None or value <= high)

    return [test]


async def get(call: Call) -> web.Response:
    return reply(board_item(_loan(call), call.api.views.business_date))


async def schedule(call: Call) -> web.Response:
    return page(schedule_rows(_loan(call), call.api.views.business_date), None)


async def payments(call: Call) -> web.Response:
    """What servicers reported of the loan, oldest first."""
    loan, limit = _loan(call), call.query.limit()
    [after] = call.query.cursor(int) or [0]
    found = await call.api.history.servicing_of_loan(loan.loan_id, after=after, limit=limit)
    items = [payment_row(each, loan.state.terms.original_principal) for each in found]
    return page(items, cursor_of(found[-1].place) if len(found) == limit else None)


async def book(call: Call) -> web.Response:
    """The same view that the feed of this depth shows, with its numbers."""
    loan = _loan(call)
    depths = call.query.words("depth", Depth) or {Depth.TEN}
    if len(depths) != 1:
        raise InvalidArguments("depth: one of 10, 25, 100, 500", field="depth")
    view = loan.book.view(int(next(iter(depths))))
    return reply(book_object(call.api.views, loan, view.snapshot(), call.now))


async def trades(call: Call) -> web.Response:
    """Newest first."""
    loan, limit = _loan(call), call.query.limit()
    [below] = call.query.cursor(int) or [NEVER]
    found = await call.api.history.trades_of_loan(loan.loan_id, span=call.query.span(), below=below, limit=limit)
    items: list[dict[str, Any]] = [trade_row(each.trade, each.at) for each in found]
    return page(items, cursor_of(found[-1].trade.trade_id) if len(found) == limit else None)


async def what_if(call: Call) -> web.Response:
    """What buying or selling `qty` would cost: against the book, or at `price` or `yield`."""
    loan, query = _loan(call), call.query
    sides, quantity = query.words("side", Side), query.units("qty")
    price, yield_ppm = query.units("price"), query.units("yield", places=6)
    if sides is None or len(sides) != 1:
        raise InvalidArguments("side: buy or sell", field="side")
    if quantity is None:
        raise InvalidArguments("qty: must be given", field="qty")
    if price is not None and yield_ppm is not None:
        raise InvalidArguments("price or yield, not both", field="yield")
    limit = None if price is None else PriceBp(price)
    asked = Asked(next(iter(sides)), Face(quantity), limit, yield_ppm)
    return reply(quote(loan, asked, call.api.views.business_date))


def _loan(call: Call) -> LoanView:
    return call.api.views.loan(LoanId(call.path("loan_id")))


ROUTES = (
    Route(
        "GET",
        "/v1/loans",
        Access.PUBLIC,
        board,
        PAGE | FILTERS | BOUNDS,
        doc=Doc(summary="The board: live loans with what is on offer, filtered and sorted", answers={200: Page[Loan]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}",
        Access.PUBLIC,
        get,
        doc=Doc(summary="One loan: terms, status, rules, best prices", answers={200: Loan}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/schedule",
        Access.PUBLIC,
        schedule,
        doc=Doc(summary="Every instalment, past and future", answers={200: Page[ScheduleRow]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/payments",
        Access.PUBLIC,
        payments,
        PAGE,
        doc=Doc(summary="What servicers reported, oldest first", answers={200: Page[Payment]}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/book",
        Access.PUBLIC,
        book,
        frozenset({"depth"}),
        doc=Doc(summary="The order book, with the numbers of its feed", answers={200: Book}),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/quote",
        Access.PUBLIC,
        what_if,
        frozenset({"side", "qty", "price", "yield"}),
        doc=Doc(
            summary="What a trade would cost: against the book, or at a price or yield",
            answers={200: Quote},
            refusals=(LoanClosed, InvalidPrice, PriceOutOfBand, InvalidQuantity, BelowMinimum),
        ),
    ),
    Route(
        "GET",
        "/v1/loans/{loan_id}/trades",
        Access.PUBLIC,
        trades,
        PAGE | (SPAN - {"loan_id"}),
        doc=Doc(summary="Public trades, newest first", answers={200: Page[PublicTrade]}),
    ),
)
